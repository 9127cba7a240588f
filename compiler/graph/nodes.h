// The graph before fusion: forward and backward as one list of nodes on whole tensors, operands before users. Backward
// nodes use forward nodes freely: what is not stored is computed again where it is used.
//
// Only the nodes marked `root`, products, results of other steps and leaves are ever stored; everything between them is
// arithmetic inside maps.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/graph/graph.h"
#include "compiler/graph/views.h"

namespace dsc {

enum class NodeKind : std::uint8_t {
  parameter, tokens, targets, seed,  // leaves: stored before the graph begins
  constant, position,
  pointwise,  // opcode over operands, broadcasting by name
  reduce,     // opcode inner_sum or inner_max over `over`
  expand,     // the operand, with further axes along which it does not vary
  copy,       // the operand; stored, if it is stored, in the order of `axes`
  view,       // the operand through `view`
  dot,
  heavy,      // a step of its own kind; its outputs are result nodes
  result,     // output `index` of the heavy operand
};

// What a node reads when it is a view: a stored node and the view of it.
struct Reading {
  int base = -1;
  std::vector<ViewGroup> view;
};

struct Node {
  NodeKind kind = NodeKind::constant;
  MapOpcode opcode = MapOpcode::constant;
  std::vector<int> in;
  AxisList axes;
  bool exact = false;  // its numbers are exact in the activation type
  bool integer = false;
  double number = 0;
  bool per_row = false;
  AxisList over;                // reduce
  std::vector<ViewGroup> view;  // view: groups over in[0]'s axes
  Reading reading;              // view: resolved
  AxisList batch, m, n, k;      // dot
  bool weight_gradient = false;

  StepKind step = StepKind::map;  // heavy
  std::optional<OpId> step_op, step_dot;
  bool inverse = false, backward = false;
  double seed_factor = 1;
  int index = 0;                  // result
  std::vector<int> results;       // heavy

  int absorbed = -1;              // result: the round node that the step computes itself
  bool adds_rows = false;         // reduce, a root: summed over the kernel's reduced outer axes, not within a row

  bool root = false;              // stored if anything outside its own kernel reads it
  bool output = false;            // stored in any case
  bool again = false;             // a forward value that the backward pass computes once more
  bool forward = true;
  std::optional<DType> store_type;
  TensorRole role = TensorRole::value;
  std::optional<OpId> op;         // whose value or gradient this is
  std::optional<ParameterId> parameter;
  int segment = 0;
  std::vector<Performed> marks;
};

class Nodes {
 public:
  Nodes(const Model& model, DType activation) : model_(model), activation_(activation) {}

  const Node& operator[](int id) const { return list_[id]; }
  Node& operator[](int id) { return list_[id]; }
  int size() const { return static_cast<int>(list_.size()); }
  const Model& model() const { return model_; }
  DType activation() const { return activation_; }
  // Further nodes belong to the backward pass, and to gradients of this op.
  void begin_backward() { forward_ = false; }
  void set_op(OpId op, TensorRole role) { op_ = op; role_ = role; }

  int leaf(NodeKind kind, const AxisList& axes, bool exact, bool integer);
  int constant(double number, bool per_row = false);
  int position(AxisId axis);
  int pointwise(MapOpcode opcode, std::vector<int> in, AxisList axes);
  // Over the operands' joined axes.
  int pointwise(MapOpcode opcode, std::vector<int> in);
  int round(int x);  // x itself where it is exact
  int reduce(MapOpcode opcode, int x, const AxisList& over);
  int reduce_to(int x, const AxisList& axes);  // sums over what x has beyond these
  int expand(int x, const AxisList& axes);     // x itself where it has them all
  int copy(int x, const AxisList& axes);
  // The group `from` of x's axes read as `to`; makes the axes of `from` adjacent first where they are not.
  int view(int x, const AxisList& from, const AxisList& to, std::int64_t offset);
  int dot(int a, int b, const AxisList& contracted, const AxisList& batch, AxisList result);
  int heavy(StepKind kind, std::vector<int> in, OpId op);
  int result(int heavy, const AxisList& axes, bool exact, TensorRole role);

  // What reading x means: a base that is now marked as stored, and the view of it.
  Reading read(int x);
  // A second node for the root x, of the backward pass; and a node that reads it as `reader` reads x.
  int again(int x);
  int read_again(int reader, int again);
  // x, or a copy of it, that is read as a whole tensor whose storage order is `axes`.
  int contiguous(int x, const AxisList& axes);
  // x, or a copy of it, that is a whole tensor in some order.
  int whole(int x);
  // x, or a copy of it, that reads nothing outside its base and has all its axes there.
  int plain(int x);

 private:
  int add(Node node);
  int copy_once(int x, const AxisList& axes);

  const Model& model_;
  DType activation_;
  std::vector<Node> list_;
  bool forward_ = true;
  std::optional<OpId> op_;
  TensorRole role_ = TensorRole::value;
  std::vector<std::vector<int>> copies_;  // by node: copies of it
};

// Forward, and in train backward; what the graph must store.
struct NodeProgram {
  std::optional<int> loss, logits;
  std::vector<int> parameter_nodes;                   // by ParameterId, -1: not used
  std::vector<std::vector<int>> parameter_gradients;  // by ParameterId, by segment ascending
  int tokens = -1, targets = -1, seed = -1;
  int backward_begin = 0;                             // the first node whose steps are not the forward pass
};
NodeProgram build_program(Nodes& nodes, Purpose purpose);

// ---- Shared by forward.cpp and gradient.cpp -----------------------------------------------------------------------------
struct LossTerm {
  double factor = 0;            // d loss / d term
  std::vector<Performed> marks; // the loss ops between
};
struct Derivation {
  Purpose purpose = Purpose::train;
  std::vector<bool> needed;          // op is an ancestor of the output
  std::vector<bool> needs_gradient;  // by op
  std::vector<int> value;            // by op: node
  std::vector<int> uses;             // by op: operand places among needed ops
  std::vector<LossTerm> terms;       // by op: of type loss that are no combinations
  std::vector<int> classifier;       // by op (dot): the cross_entropy it is fused with, or -1
  std::vector<std::vector<int>> loss_gradients;  // by op: cross_entropy {dx}; classified dot {da, db}
  std::vector<int> attend_statistics;            // by op
};
bool is_differentiable_operand(const Op& op, std::size_t operand);
bool is_parameter_view(const Model& model, OpId op);
// True where the gradient of op's value is rounded.
bool rounds_gradient(const Model& model, OpId op);
void build_forward(Nodes& nodes, Derivation& derivation, NodeProgram& program);
void build_backward(Nodes& nodes, Derivation& derivation, NodeProgram& program);

}  // namespace dsc
