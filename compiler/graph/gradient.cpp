// Reverse-mode differentiation on nodes. Each op's rule makes one node for each operand that needs a gradient: its
// contribution, with the operand's axes. A value's gradient is the sum of its contributions in f32 in reverse program order
// (of one op, by operand), added up within each repeat iteration, then over iterations, and rounded after each level where
// the value is one that is rounded.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "compiler/graph/nodes.h"
#include "compiler/support/check.h"

namespace dsc {
namespace {

struct Contribution {
  OpId user;
  int node;
};

struct Backward {
  Nodes& nodes;
  Derivation& d;
  NodeProgram& program;
  const Model& model = nodes.model();
  std::vector<std::vector<Contribution>> contributions{};  // by op, users descending
  std::vector<std::vector<OpId>> parameter_ops{};          // by parameter: its `parameter` ops met so far
  std::vector<std::size_t> parameter_op_count{};
  int fresh_ = 0;                                        // nodes from here on belong to the rule at work

  // ---- Arithmetic shorthands ----
  int number(double x) { return nodes.constant(x); }
  int mul(int a, int b) { return nodes.pointwise(MapOpcode::multiply, {a, b}); }
  int add(int a, int b) { return nodes.pointwise(MapOpcode::add, {a, b}); }
  int sub(int a, int b) { return nodes.pointwise(MapOpcode::subtract, {a, b}); }
  int div(int a, int b) { return nodes.pointwise(MapOpcode::divide, {a, b}); }
  int unary(MapOpcode opcode, int a) { return nodes.pointwise(opcode, {a}); }
  int choose(int p, int a, int b) { return nodes.pointwise(MapOpcode::select, {p, a, b}); }
  int compare(MapOpcode opcode, int a, int b) { return nodes.pointwise(opcode, {a, b}); }

  bool needs(OpId op) const { return d.needs_gradient[op.index()]; }
  int value(OpId op) const { return d.value[op.index()]; }

  void contribute(OpId user, std::size_t operand, int node) {
    OpId of = model.op(user).operands[operand];
    node = nodes.reduce_to(nodes.expand(node, model.op(of).axes), model.op(of).axes);
    Node& made = nodes[node];
    made.marks.push_back({Pass::gradient, user, static_cast<int>(operand)});
    if (node >= fresh_ && made.role == TensorRole::contribution) made.op = of;
    contributions[of.index()].push_back({user, node});
  }

  // ---- Sums ----
  bool is_product(int node) const {
    while (nodes[node].kind == NodeKind::view || nodes[node].kind == NodeKind::copy) node = nodes[node].in[0];
    return nodes[node].kind == NodeKind::dot;
  }

  // p + x: a product's epilogue adds it to what is there, so that one partial sum is alive at a time.
  int add_to(int sum, int x, bool last, const AxisList& axes) {
    int node = nodes.pointwise(MapOpcode::add, {sum, x}, axes);
    if (!last && is_product(x)) {
      nodes[node].root = true;
      nodes[node].role = TensorRole::contribution;
    }
    return node;
  }

  int child_towards(int scope, int ancestor) const {
    while (model.scopes[scope].parent != ancestor) {
      scope = model.scopes[scope].parent;
      DSC_CHECK(scope >= 0, "a scope outside its ancestor");
    }
    return scope;
  }

  // Contributions [begin, end) all lie in `scope` or below it.
  int sum_in_scope(OpId of, const std::vector<Contribution>& list, std::size_t begin, std::size_t end, int scope) {
    std::vector<int> items;
    for (std::size_t i = begin; i < end;) {
      int own = model.op(list[i].user).scope;
      if (own == scope) {
        items.push_back(list[i++].node);
        continue;
      }
      int child = child_towards(own, scope);
      std::size_t j = i + 1;
      auto inside = [&](int s) {
        while (s >= 0 && s != child) s = model.scopes[s].parent;
        return s == child;
      };
      while (j < end && inside(model.op(list[j].user).scope)) ++j;
      items.push_back(sum_in_scope(of, list, i, j, child));
      i = j;
    }
    int sum = items[0];
    for (std::size_t i = 1; i < items.size(); ++i) sum = add_to(sum, items[i], i + 1 == items.size(), model.op(of).axes);
    if (!rounds_gradient(model, of)) return sum;
    return nodes.round(sum);
  }

  int total(OpId of) {
    const auto& list = contributions[of.index()];
    DSC_CHECK(!list.empty(), "no contribution to the gradient of " + of.str());
    nodes.set_op(of, TensorRole::contribution);
    int sum = sum_in_scope(of, list, 0, list.size(), 0);
    Node& made = nodes[sum];
    made.marks.push_back({Pass::total, of, 0});
    if (made.op == of && made.role == TensorRole::contribution) made.role = TensorRole::gradient;
    return sum;
  }

  // ---- Rules ----
  void pointwise(OpId id, const Op& op, int g) {
    auto wants = [&](std::size_t i) { return needs(op.operands[i]) && is_differentiable_operand(op, i); };
    const int y = value(id), a = value(op.operands[0]);
    const int b = op.operands.size() > 1 ? value(op.operands[1]) : -1;
    auto give = [&](std::size_t i, auto make) {
      if (wants(i)) contribute(id, i, make());
    };
    // 1 where x wins, 1/2 where both are equal.
    auto share = [&](MapOpcode wins, int x, int other) {
      return choose(compare(wins, x, other), number(1), choose(compare(MapOpcode::equal, x, other), number(0.5), number(0)));
    };
    switch (op.kind) {
      case OpKind::add:
        give(0, [&] { return g; });
        give(1, [&] { return g; });
        break;
      case OpKind::subtract:
        give(0, [&] { return g; });
        give(1, [&] { return unary(MapOpcode::negate, g); });
        break;
      case OpKind::multiply:
        give(0, [&] { return mul(g, b); });
        give(1, [&] { return mul(g, a); });
        break;
      case OpKind::divide:
        give(0, [&] { return div(g, b); });
        give(1, [&] { return unary(MapOpcode::negate, mul(div(g, b), y)); });
        break;
      case OpKind::power: power(id, op, g); break;
      case OpKind::negate: give(0, [&] { return unary(MapOpcode::negate, g); }); break;
      case OpKind::exp: give(0, [&] { return mul(g, y); }); break;
      case OpKind::log: give(0, [&] { return div(g, a); }); break;
      case OpKind::sqrt: give(0, [&] { return div(mul(g, number(0.5)), y); }); break;
      case OpKind::rsqrt: give(0, [&] { return mul(mul(g, number(-0.5)), mul(y, mul(y, y))); }); break;
      case OpKind::tanh: give(0, [&] { return mul(g, sub(number(1), mul(y, y))); }); break;
      case OpKind::sigmoid: give(0, [&] { return mul(g, mul(y, sub(number(1), y))); }); break;
      case OpKind::erf:
        give(0, [&] {
          int bell = unary(MapOpcode::exp, unary(MapOpcode::negate, mul(a, a)));
          return mul(g, mul(number(2 / std::sqrt(std::numbers::pi)), bell));
        });
        break;
      case OpKind::sin: give(0, [&] { return mul(g, unary(MapOpcode::cos, a)); }); break;
      case OpKind::cos: give(0, [&] { return unary(MapOpcode::negate, mul(g, unary(MapOpcode::sin, a))); }); break;
      case OpKind::absolute:
        give(0, [&] {
          int negative = choose(compare(MapOpcode::less, a, number(0)), unary(MapOpcode::negate, g), number(0));
          return choose(compare(MapOpcode::greater, a, number(0)), g, negative);
        });
        break;
      case OpKind::maximum:
      case OpKind::minimum: {
        MapOpcode wins = op.kind == OpKind::maximum ? MapOpcode::greater : MapOpcode::less;
        give(0, [&] { return mul(g, share(wins, a, b)); });
        give(1, [&] { return mul(g, share(wins, b, a)); });
        break;
      }
      case OpKind::select:
        give(1, [&] { return choose(a, g, number(0)); });
        give(2, [&] { return choose(a, number(0), g); });
        break;
      default: DSC_CHECK(false, std::string("no gradient of ") + name_of(op.kind));
    }
  }

  void power(OpId id, const Op& op, int g) {
    const int y = value(id), a = value(op.operands[0]), b = value(op.operands[1]);
    const Op& exponent = model.op(op.operands[1]);
    if (needs(op.operands[0])) {
      int slope;
      if (exponent.kind == OpKind::constant && exponent.number == 2) {
        slope = mul(number(2), a);
      } else if (exponent.kind == OpKind::constant && exponent.number == 3) {
        slope = mul(number(3), mul(a, a));
      } else {
        slope = mul(b, nodes.pointwise(MapOpcode::power, {a, sub(b, number(1))}));
      }
      contribute(id, 0, mul(g, slope));
    }
    if (needs(op.operands[1])) {
      // Where the base is 0 the exponent does not matter.
      int log = choose(compare(MapOpcode::equal, a, number(0)), number(0), unary(MapOpcode::log, a));
      contribute(id, 1, mul(g, mul(y, log)));
    }
  }

  void reduction(OpId id, const Op& op, int g) {
    if (!needs(op.operands[0])) return;
    const int x = value(op.operands[0]);
    const AxisList& axes = model.op(op.operands[0]).axes;
    if (op.kind == OpKind::sum) {
      contribute(id, 0, nodes.expand(g, axes));
    } else if (op.kind == OpKind::mean) {
      double share = 1;
      for (AxisId axis : op.over) share /= static_cast<double>(model.axis(axis).size);
      contribute(id, 0, nodes.expand(mul(g, number(share)), axes));
    } else {
      // Shared evenly by the elements that are the greatest.
      int is_max = choose(compare(MapOpcode::equal, x, value(id)), number(1), number(0));
      contribute(id, 0, mul(is_max, div(g, nodes.reduce(MapOpcode::inner_sum, is_max, op.over))));
    }
  }

  void loss_mean(OpId id, const Op& op) {
    const LossTerm& term = d.terms[id.index()];
    if (program.seed < 0) program.seed = nodes.leaf(NodeKind::seed, {}, false, false);
    double share = term.factor;
    for (AxisId axis : op.over)
      if (axis != model.batch) share /= static_cast<double>(model.axis(axis).size);
    int g = mul(program.seed, nodes.constant(share, true));
    nodes[g].marks = term.marks;
    contribute(id, 0, nodes.expand(g, model.op(op.operands[0]).axes));
  }

  void shape(OpId id, const Op& op, int g) {
    auto give = [&](std::size_t i, const AxisList& from, const AxisList& to, std::int64_t offset) {
      if (needs(op.operands[i])) contribute(id, i, nodes.view(g, from, to, offset));
    };
    switch (op.kind) {
      case OpKind::expand: contribute(id, 0, g); break;
      case OpKind::rename: give(0, {*op.to}, {*op.from}, 0); break;
      case OpKind::merge: give(0, {*op.to}, op.factors, 0); break;
      case OpKind::unmerge: give(0, op.factors, {*op.from}, 0); break;
      case OpKind::slice: give(0, {*op.to}, {*op.from}, -op.offset); break;
      default:
        give(0, {*op.to}, {*op.from}, 0);
        give(1, {*op.to}, {*op.second}, model.axis(*op.from).size);
    }
  }

  void dot(OpId id, const Op& op) {
    if (!d.loss_gradients[id.index()].empty()) {  // the classifier has done it
      for (std::size_t i : {0, 1})
        contributions[op.operands[i].index()].push_back({id, d.loss_gradients[id.index()][i]});
      return;
    }
    int g = nodes.round(total(id));
    if (nodes[g].op == id) nodes[g].role = TensorRole::gradient;
    const Op &a = model.op(op.operands[0]), &b = model.op(op.operands[1]);
    AxisList batch = common(op.keep, common(a.axes, b.axes));
    // The weight's first: it frees the activation before the input's gradient needs room.
    std::vector<std::size_t> order = {0, 1};
    if (is_parameter_view(model, op.operands[1])) order = {1, 0};
    int made[2] = {-1, -1};
    for (std::size_t i : order) {
      OpId of = op.operands[i], other = op.operands[1 - i];
      if (!needs(of)) continue;
      nodes.set_op(of, TensorRole::contribution);
      AxisList contracted = without(model.op(other).axes, joined(op.over, batch));
      made[i] = nodes.dot(g, nodes.round(value(other)), contracted, batch, nodes[value(of)].axes);
      nodes[made[i]].weight_gradient = is_parameter_view(model, of);
    }
    for (std::size_t i : {0, 1})
      if (made[i] >= 0) contribute(id, i, made[i]);
  }

  void attend(OpId id, const Op& op, int g) {
    // The step reads the output as stored: rounded, where rounding is all that follows it.
    int out = value(id);
    int uses = d.uses[id.index()];
    bool rounded = true;
    for (std::size_t i = id.index() + 1; i < model.ops.size() && uses > 0; ++i) {
      const Op& user = model.ops[i];
      const auto places = std::count(user.operands.begin(), user.operands.end(), id);
      if (!d.needed[i] || places == 0) continue;
      if (user.kind == OpKind::round) out = value(OpId(i));
      else rounded = false;
      uses -= static_cast<int>(places);
    }
    if (!rounded) out = value(id);
    int dout = nodes.round(g);
    if (rounded) {
      dout = nodes.contiguous(dout, op.axes);
    } else {  // both in f32
      dout = nodes.copy(dout, op.axes);
      nodes[dout].root = true;
      nodes[dout].exact = false;
    }
    std::vector<int> in;
    for (OpId operand : op.operands) in.push_back(nodes.whole(value(operand)));
    in.insert(in.end(), {out, d.attend_statistics[id.index()], dout});
    int step = nodes.heavy(StepKind::attend_backward, in, id);
    std::vector<int> parts;
    for (std::size_t i = 0; i < 3; ++i) {
      nodes.set_op(op.operands[i], TensorRole::contribution);
      parts.push_back(nodes.result(step, view_axes(nodes.read(in[i]).view), false, TensorRole::contribution));
    }
    for (std::size_t i = 0; i < 3; ++i)
      if (needs(op.operands[i])) contribute(id, i, parts[i]);
  }

  void lookup(OpId id, const Op& op, int g) {
    OpId table = op.operands[0];
    if (!needs(table)) return;
    const Op& ids = model.op(op.operands[1]);
    const AxisId over = op.over[0];
    if (ids.kind == OpKind::positions) {
      // A sum over rows of a stored gradient: the rows that positions leave out are padded before the sum, not after.
      const Node sum = nodes[g];
      if (sum.kind == NodeKind::reduce && sum.root && !sum.output && nodes[sum.in[0]].root) {
        std::vector<Performed> marks = sum.marks;
        nodes[g].marks.clear();
        int padded = nodes.view(sum.in[0], {*ids.along}, {over}, 0);
        g = nodes.reduce(MapOpcode::inner_sum, padded, sum.over);
        nodes[g].marks = marks;
        contribute(id, 0, g);
        return;
      }
      contribute(id, 0, nodes.view(g, {*ids.along}, {over}, 0));
      return;
    }
    const AxisList rest = without(op.axes, ids.axes);
    AxisList axes = nodes[value(table)].axes;
    if (axes != joined({over}, rest) && axes != joined(rest, {over})) axes = joined({over}, rest);
    int step = nodes.heavy(StepKind::lookup_backward,
                           {nodes.contiguous(g, op.axes), nodes.contiguous(value(op.operands[1]), ids.axes)}, id);
    nodes.set_op(table, TensorRole::contribution);
    contribute(id, 0, nodes.result(step, axes, false, TensorRole::contribution));
  }

  void rotate(OpId id, const Op& op, int g) {
    if (!needs(op.operands[0])) return;
    int step = nodes.heavy(StepKind::rotate, {nodes.plain(g)}, id);
    nodes[step].inverse = true;
    nodes.set_op(op.operands[0], TensorRole::contribution);
    contribute(id, 0, nodes.result(step, op.axes, false, TensorRole::contribution));
  }

  // One tensor for each segment; sites add up in program order.
  void parameter(OpId id) {
    // Several `parameter` ops of one parameter: the first collects for all.
    ParameterId p = *model.op(id).parameter;
    std::vector<OpId>& ops = parameter_ops[p.index()];
    ops.push_back(id);
    if (ops.size() < parameter_op_count[p.index()]) return;
    std::vector<Contribution> list;
    for (auto op = ops.rbegin(); op != ops.rend(); ++op)
      for (const Contribution& c : contributions[op->index()]) list.push_back(c);
    std::stable_sort(list.begin(), list.end(), [](const auto& x, const auto& y) { return x.user < y.user; });
    for (std::size_t i = 0; i < list.size();) {
      int segment = model.op(list[i].user).segment;
      std::vector<int> items;
      std::vector<OpId> users;
      for (; i < list.size() && model.op(list[i].user).segment == segment; ++i) {
        items.push_back(list[i].node);
        users.push_back(list[i].user);
      }
      sum_parameter(p, segment, items, users, ops);
    }
  }

  void sum_parameter(ParameterId p, int segment, const std::vector<int>& items, const std::vector<OpId>& users,
                     const std::vector<OpId>& ops) {
    const AxisList& axes = model.parameter(p).axes;
    nodes.set_op(ops.back(), TensorRole::contribution);
    int sum = items[0];
    for (std::size_t i = 1; i < items.size(); ++i) sum = add_to(sum, items[i], false, axes);
    // A tensor of its own, f32, in the parameter's order.
    const Node& made = nodes[sum];
    const bool own = (made.kind == NodeKind::dot || made.kind == NodeKind::result || made.kind == NodeKind::reduce ||
                      made.kind == NodeKind::pointwise) &&
                     !made.exact && !made.output && made.axes == axes && !made.forward;
    if (!own) {
      sum = nodes.copy(sum, axes);
      nodes[sum].exact = false;
    }
    Node& node = nodes[sum];
    node.root = node.output = true;
    node.role = TensorRole::parameter_gradient;
    node.parameter = p;
    node.op = std::nullopt;
    node.segment = segment;
    node.store_type = DType::f32;
    for (OpId op : ops) {
      const bool has_site = std::any_of(users.begin(), users.end(), [&](OpId user) {
        const auto& operands = model.op(user).operands;
        return std::find(operands.begin(), operands.end(), op) != operands.end();
      });
      if (has_site) node.marks.push_back({Pass::total, op, 0});
    }
    program.parameter_gradients[p.index()].push_back(sum);
  }
  void derive(OpId id) {
    const Op& op = model.op(id);
    fresh_ = nodes.size();
    if (op.kind == OpKind::parameter) return parameter(id);
    if (op.kind == OpKind::cross_entropy) {
      const auto& gradients = d.loss_gradients[id.index()];
      if (!gradients.empty()) {
        int node = gradients[0];
        OpId of = op.operands[0];
        // In the order of the operand's own axes, whatever order the step stores.
        contributions[of.index()].push_back({id, node});
      }
      return;
    }
    if (op.type == ValueType::loss) {
      if (op.kind == OpKind::mean) loss_mean(id, op);
      return;
    }
    if (op.kind == OpKind::dot) return dot(id, op);
    int g = total(id);
    fresh_ = nodes.size();
    nodes.set_op(id, TensorRole::contribution);
    switch (op.kind) {
      case OpKind::round: contribute(id, 0, g); break;
      case OpKind::sum: case OpKind::mean: case OpKind::max: reduction(id, op, g); break;
      case OpKind::rename: case OpKind::expand: case OpKind::merge: case OpKind::unmerge: case OpKind::slice:
      case OpKind::concat: shape(id, op, g); break;
      case OpKind::attend: attend(id, op, g); break;
      case OpKind::lookup: lookup(id, op, g); break;
      case OpKind::rotate: rotate(id, op, g); break;
      default: pointwise(id, op, g);
    }
  }
};

}  // namespace

void build_backward(Nodes& nodes, Derivation& d, NodeProgram& program) {
  const Model& model = nodes.model();
  Backward backward{.nodes = nodes, .d = d, .program = program};
  backward.contributions.resize(model.ops.size());
  backward.parameter_ops.resize(model.parameters.size());
  backward.parameter_op_count.resize(model.parameters.size());
  for (std::size_t i = 0; i < model.ops.size(); ++i)
    if (d.needs_gradient[i] && model.ops[i].parameter) ++backward.parameter_op_count[model.ops[i].parameter->index()];
  nodes.begin_backward();
  for (std::size_t i = model.ops.size(); i-- > 0;)
    if (d.needs_gradient[i]) backward.derive(OpId(i));
}

}  // namespace dsc
