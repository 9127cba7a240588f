// The checked model as every later stage and the plan's contract see it: axes, parameters and the unfused forward graph,
// unrolled, with the places where values are rounded explicit (semantics.md, Precision). Plain data.
//
// Forward graph: ops in program order; an op's operands have smaller ids. A value's storage order is the order of
// `axes`. Repeats are unrolled: block[3]'s ops are ops of their own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/ids.h"
#include "compiler/support/source.h"

namespace dsc {

struct Axis {
  std::string path;  // where it was made: "heads", "block.left.hidden", "batch", "seq"
  std::int64_t size = 0;  // `batch`: train.batch, the rows of an optimizer step over the whole machine
  SourceRange source;
  bool vocabulary = false;  // indexed by tokens or targets
  std::vector<std::vector<AxisId>> products;  // each (major, minor, ...) whose product it is declared to be
};

enum class InitKind : std::uint8_t { zeros, ones, normal, uniform };

struct Parameter {
  std::string path;  // "block[3].attn.wq"
  std::vector<AxisId> axes;
  InitKind init = InitKind::zeros;
  double init_value = 0;        // std of normal, bound of uniform
  bool decay = true;            // weight decay applies: `decay` of the optimizer and of the param line, resolved
  bool product_operand = false; // an operand of dot or lookup
  SourceRange source;
};

enum class OpKind : std::uint8_t {
  parameter, tokens, targets, positions, constant,
  // pointwise, broadcasting by name; the result's axes are those of one operand
  add, subtract, multiply, divide, power, negate, exp, log, sqrt, rsqrt, tanh, sigmoid, erf, sin, cos, absolute,
  maximum, minimum, less, less_equal, greater, greater_equal, equal, not_equal, select, to_real,
  // reductions over `over`
  sum, mean, max,
  // shape
  rename, expand, merge, unmerge, slice, concat,
  // identity forward
  stop_gradient,  // no gradient flows
  round,          // to the activation type; a value is stored, if it is stored, after this
  // along named axes
  dot, attend, lookup, rotate, cross_entropy,
};

enum class ValueType : std::uint8_t { real, integer, boolean, loss };
enum class Mask : std::uint8_t { causal, full, window };

// Operands and attributes by kind:
//   parameter      -> parameter
//   tokens/targets -> axes [batch, seq], integer          positions -> axes [along], integer
//   constant       -> number, no axes                     select(p, x, y)
//   sum/mean/max   -> over (the axes reduced)             softmax is expanded by sema
//   rename(x)      -> from, to (equal sizes)              expand(x) -> to, put first
//   merge(x)       -> factors (major..minor) -> to        unmerge(x) -> from -> factors
//   slice(x)       -> from -> to, offset                  concat(x, y) -> from (x's), second (y's) -> to
//   dot(a, b)      -> over (contracted), keep; result: a's axes less over, then b's less over and those a has
//   attend(q,k,v)  -> along, contract, mask, window, scale; result: q's axes, contract replaced by v's own axis
//   lookup(t, ids) -> over {A}; result: ids' axes, then t's less A
//   rotate(x)      -> along, contract (the pairs axis), theta
//   cross_entropy(x, ids) -> over {A}; type loss, no axes: the mean over all of ids' axes
//   mean over axes that include batch -> type loss: an auxiliary term
struct Op {
  OpKind kind = OpKind::constant;
  std::vector<OpId> operands;
  std::vector<AxisId> axes;
  ValueType type = ValueType::real;
  bool rounded = false;  // its numbers are exact in the activation type (a round, a parameter, a view or lookup of one)

  std::optional<ParameterId> parameter;
  double number = 0;
  std::vector<AxisId> over, keep, factors;
  std::optional<AxisId> along, contract, from, second, to;
  std::int64_t offset = 0;
  Mask mask = Mask::full;
  std::int64_t window = 0;
  double scale = 0;  // attend: resolved, 1/sqrt(size of contract) by default
  double theta = 10000;

  int scope = 0;    // indexes Model::scopes: the innermost repeat iteration it belongs to
  int segment = 0;  // instance calls begun by the model's own forward before it: a pipeline cut falls between segments
  std::string name; // for people: "block[3].attn.q"
  SourceRange source;
};

// One iteration of one repeat. Scope 0 is the code outside repeats.
struct Scope {
  int parent = -1;
  int iteration = 0;
};

struct Model {
  std::string name;  // the module: "gpt2"
  std::vector<Axis> axes;
  AxisId batch{0}, seq{1};
  std::vector<Parameter> parameters;
  std::vector<Op> ops;
  std::vector<Scope> scopes;
  OpId loss{0};                  // type loss
  std::optional<OpId> logits;    // first operand of the one cross_entropy on targets: what `sample` computes
  std::string no_logits_reason;  // why there is none
  std::int64_t vocabulary = 0;   // token values are below this; 0: no lookup or cross_entropy bounds them

  const Axis& axis(AxisId id) const { return axes[id.index()]; }
  const Parameter& parameter(ParameterId id) const { return parameters[id.index()]; }
  const Op& op(OpId id) const { return ops[id.index()]; }
};

// The number of elements of a tensor with these axes, `batch` counted as `rows`.
std::int64_t element_count(const Model& model, const std::vector<AxisId>& axes, std::int64_t rows);
// Elements of a parameter (it has no batch axis).
std::int64_t element_count(const Model& model, ParameterId parameter);
const char* name_of(OpKind kind);
std::optional<OpKind> op_kind_named(const std::string& name);

}  // namespace dsc
