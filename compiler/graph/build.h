// The inner stages of build_graph: nodes to kernels, kernels to steps.
#pragma once

#include <functional>
#include <vector>

#include "compiler/graph/nodes.h"

namespace dsc {

struct FusionOptions {
  bool fuse = true;  // false, for tests: every stored value is a step of its own
};

// One step in the making: the nodes it computes, in order.
struct FusedKernel {
  StepKind kind = StepKind::map;
  int node = -1;           // product: its dot; heavy: its node
  std::vector<int> roots;  // map, product: what it computes that may be stored
  // map
  AxisList loop;
  std::optional<AxisList> inner, reduced;
};

// A forward value that is cheap to compute again (pointwise, norms) from what the backward pass needs anyway, and that is read
// there by products alone: it is not kept from the forward pass.
struct Recomputed {
  int node;                  // its second node
  int beside;                // the backward root that reads the same values: computed in the same kernel where that can be
  std::vector<int> readers;  // the products, which now read `node` and come after it
};
// Changes the readers' operands. `bases` names the stored nodes that a root's arithmetic reads.
std::vector<Recomputed> recompute(Nodes& nodes, const std::vector<bool>& live, const std::function<std::vector<int>(int root)>& bases);

// In program order. Sets `root`, `adds_rows` and `absorbed` of nodes, and `output` of all that is read by another kernel.
std::vector<FusedKernel> fuse(Nodes& nodes, const NodeProgram& program, const FusionOptions& options);

// What `fuse` and `emit_steps` both walk: the arithmetic of one kernel stops at these.
bool is_boundary(const Node& node);

Graph emit_steps(Nodes& nodes, const NodeProgram& program, std::vector<FusedKernel>& kernels);

Graph build_graph(const Model& model, DType activation, Purpose purpose, const FusionOptions& options);

}  // namespace dsc
