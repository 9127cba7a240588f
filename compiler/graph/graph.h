// A checked model in, a graph of fused steps out: forward, then backward by this compiler's own reverse-mode
// differentiation. Logical: tensors have axes, not sizes of one rank; nothing here knows of ranks or layouts.
//
// Rounding is semantics.md's: what a step stores is rounded exactly where the model's `round` ops are, and a gradient is
// rounded once after its contributions are added in f32: that of a value with Op::rounded, but not that of a parameter or a
// view of one (rename, slice, ..., a lookup by positions), which stays f32. Contributions add up by descending op, within
// one op by ascending operand; those of a parameter by ascending op within a segment. Where operands of maximum or minimum
// are equal each gets half; the elements that share a max share its gradient evenly.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/support/kernel_spec.h"
#include "compiler/support/model.h"
#include "compiler/support/performed.h"
#include "compiler/support/training.h"

namespace dsc {

struct TensorId : Id<TensorId> { static constexpr char letter = 't'; using Id::Id; };

enum class TensorRole : std::uint8_t {
  parameter,           // as used (activation type); `parameter`
  tokens, targets,     // i32 [batch, seq]
  seed,                // f32 scalar: the loss scale of this attempt
  value,               // the value of `op`, in the activation type where the op is rounded, else f32
  gradient,            // the complete gradient of `op`'s value, in the activation type where that is rounded, else f32
  contribution,        // one contribution to it, f32
  statistics,          // of an attend op: log-sum-exp, f32
  parameter_gradient,  // g of all use sites of `parameter` in `segment`, f32, the parameter's axes
  loss,                // f32 scalar: the value of Model::loss for one micro-batch
};

struct Tensor {
  std::string name;  // "block[3].attn.q", "grad block[3].attn.q"
  TensorRole role = TensorRole::value;
  std::vector<AxisId> axes;  // storage order, row-major, contiguous
  DType type = DType::f32;
  std::optional<OpId> op;
  std::optional<ParameterId> parameter;
  int segment = 0;
  SourceRange source;
};

// A view of a tensor without moving it. Groups cover the tensor's axes in storage order; group by group, the row-major
// flattening of `base` (shifted by `offset`) is read as the row-major flattening of `view`. One axis on each side with
// offset 0 is the identity or a rename; view smaller than base + offset is a slice; several on one side merge or unmerge.
// An index that falls outside the base reads 0 (map inputs alone may do that).
struct ViewGroup {
  std::vector<AxisId> base, view;
  std::int64_t offset = 0;
};
struct Operand {
  TensorId tensor{0};
  std::vector<ViewGroup> groups;
};

enum class StepKind : std::uint8_t {
  map, product, attend_forward, attend_backward, lookup, lookup_backward, cross_entropy, classifier, rotate,
};

// One fused operation. Inputs, outputs and their order are those of the spec of the same name in kernel_spec.h, with
// axes in place of sizes; program registers and slots are final.
struct Step {
  StepKind kind = StepKind::map;
  std::vector<Operand> inputs;
  std::vector<TensorId> outputs;
  std::vector<Performed> performs;
  std::string name;
  SourceRange source;

  // map: the loop. product: outer = result axes of (batch dims, then m), inner = n; `program` is the epilogue, whose
  // slot 0 is the tile and whose slots 1.. are inputs[2..].
  std::vector<AxisId> outer;
  std::vector<bool> reduced;  // one per outer axis (map)
  std::vector<AxisId> inner;
  MapProgram program;
  // product: the axes of A and B by role.
  std::vector<AxisId> batch_axes, m_axes, n_axes, k_axes;

  // attend_*, rotate, lookup*, cross_entropy, classifier: the op they belong to carries axes, mask, scale, theta.
  std::optional<OpId> op;        // attend, rotate, lookup, cross_entropy
  std::optional<OpId> dot;       // classifier: the product
  bool inverse = false;          // rotate: the gradient
  bool backward = false;         // cross_entropy, classifier
  double seed_factor = 1;        // cross_entropy, classifier: constant factor of this term in the loss
  bool weight_gradient = false;  // a product that computes a parameter's gradient
};

struct Graph {
  std::vector<Tensor> tensors;
  std::vector<Step> steps;       // program order: forward, then backward
  std::size_t forward_steps = 0; // steps before this index are the forward pass (of train: a classifier with backward is the first after it)
  TensorId loss{0};              // train, evaluate
  std::optional<TensorId> logits;  // sample: f32 [batch, seq, vocab]
  std::optional<TensorId> tokens, targets, seed;
  std::vector<std::optional<TensorId>> parameters;               // by ParameterId; nullopt: not used in this graph
  std::vector<std::vector<TensorId>> parameter_gradients;        // by ParameterId: one per segment with use sites, ascending
};

enum class Purpose : std::uint8_t { train, evaluate, sample };

// `activation` is the precision's type. Pure: the same model gives the same graph. A model that `check` accepted always lowers.
Graph build_graph(const Model& model, DType activation, Purpose purpose);

// Structural invariants (every read has an earlier write, axes agree, slots exist): the first violation, or "".
std::string verify_graph(const Graph& graph, const Model& model);

// For `--emit graph` and goldens: one line a step.
std::string print(const Graph& graph, const Model& model);

}  // namespace dsc
