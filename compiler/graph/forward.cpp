// Model ops to nodes, in program order; losses last, since in training a cross entropy is computed together with its
// gradient.
#include <algorithm>
#include <cmath>

#include "compiler/graph/nodes.h"
#include "compiler/support/check.h"

namespace dsc {
namespace {

std::optional<MapOpcode> pointwise_opcode(OpKind kind) {
  switch (kind) {
    case OpKind::add: return MapOpcode::add;
    case OpKind::subtract: return MapOpcode::subtract;
    case OpKind::multiply: return MapOpcode::multiply;
    case OpKind::divide: return MapOpcode::divide;
    case OpKind::power: return MapOpcode::power;
    case OpKind::negate: return MapOpcode::negate;
    case OpKind::exp: return MapOpcode::exp;
    case OpKind::log: return MapOpcode::log;
    case OpKind::sqrt: return MapOpcode::sqrt;
    case OpKind::rsqrt: return MapOpcode::rsqrt;
    case OpKind::tanh: return MapOpcode::tanh;
    case OpKind::sigmoid: return MapOpcode::sigmoid;
    case OpKind::erf: return MapOpcode::erf;
    case OpKind::sin: return MapOpcode::sin;
    case OpKind::cos: return MapOpcode::cos;
    case OpKind::absolute: return MapOpcode::absolute;
    case OpKind::maximum: return MapOpcode::maximum;
    case OpKind::minimum: return MapOpcode::minimum;
    case OpKind::less: return MapOpcode::less;
    case OpKind::less_equal: return MapOpcode::less_equal;
    case OpKind::greater: return MapOpcode::greater;
    case OpKind::greater_equal: return MapOpcode::greater_equal;
    case OpKind::equal: return MapOpcode::equal;
    case OpKind::not_equal: return MapOpcode::not_equal;
    case OpKind::select: return MapOpcode::select;
    default: return std::nullopt;
  }
}

struct Forward {
  Nodes& nodes;
  Derivation& d;
  NodeProgram& program;
  const Model& model = nodes.model();

  int value(OpId op) const { return d.value[op.index()]; }
  int operand(const Op& op, std::size_t i) const { return value(op.operands[i]); }

  // A constant power is products where it is a small one: far cheaper, and as exact.
  std::optional<int> constant_power(const Op& op) {
    const Op& exponent = model.op(op.operands[1]);
    if (exponent.kind != OpKind::constant) return std::nullopt;
    int x = operand(op, 0);
    const AxisList& axes = op.axes;
    if (exponent.number == 2) return nodes.pointwise(MapOpcode::multiply, {x, x}, axes);
    if (exponent.number == 3) {
      int square = nodes.pointwise(MapOpcode::multiply, {x, x}, axes);
      return nodes.pointwise(MapOpcode::multiply, {square, x}, axes);
    }
    if (exponent.number == 0.5) return nodes.pointwise(MapOpcode::sqrt, {x}, axes);
    if (exponent.number == -0.5) return nodes.pointwise(MapOpcode::rsqrt, {x}, axes);
    return std::nullopt;
  }

  int mean(const Op& op) {
    int x = operand(op, 0);
    AxisList counted = without(op.over, {model.batch});
    double share = 1;
    for (AxisId axis : counted) share /= static_cast<double>(model.axis(axis).size);
    if (!contains(op.over, model.batch)) {
      int sum = nodes.reduce(MapOpcode::inner_sum, x, op.over);
      return nodes.pointwise(MapOpcode::multiply, {sum, nodes.constant(share)}, op.axes);
    }
    // Scaled before the sum over rows, which nothing may follow within one map.
    int factor = nodes.constant(share, true);
    int scaled = nodes.pointwise(MapOpcode::multiply, {x, factor}, nodes[x].axes);
    return nodes.reduce(MapOpcode::inner_sum, scaled, op.over);
  }

  int concat(const Op& op) {
    int x = operand(op, 0), y = operand(op, 1);
    int left = nodes.view(x, {*op.from}, {*op.to}, 0);
    int right = nodes.view(y, {*op.second}, {*op.to}, -model.axis(*op.from).size);
    int both = nodes.pointwise(MapOpcode::add, {left, right}, op.axes);
    nodes[both].exact = nodes[x].exact && nodes[y].exact;
    nodes[both].integer = nodes[x].integer;
    return both;
  }

  int lookup(OpId id, const Op& op) {
    int table = operand(op, 0);
    AxisId over = op.over[0];
    const Op& ids = model.op(op.operands[1]);
    if (ids.kind == OpKind::positions) return nodes.view(table, {over}, {*ids.along}, 0);
    AxisList rest = without(op.axes, ids.axes);
    // [over, rest] or [rest, over], possibly a slice: entries and elements at one stride each.
    auto reading = nodes.read(nodes.plain(table));
    if (!collapses(model, strides_of(model, reading.view), rest)) {
      table = nodes.contiguous(table, joined({over}, rest));
    } else {
      table = nodes.plain(table);
    }
    int step = nodes.heavy(StepKind::lookup, {table, nodes.contiguous(operand(op, 1), ids.axes)}, id);
    return nodes.result(step, op.axes, nodes[table].exact, TensorRole::value);
  }

  int attend(OpId id, const Op& op) {
    int step = nodes.heavy(StepKind::attend_forward,
                           {nodes.whole(operand(op, 0)), nodes.whole(operand(op, 1)), nodes.whole(operand(op, 2))}, id);
    int out = nodes.result(step, op.axes, false, TensorRole::value);
    const Op& q = model.op(op.operands[0]);
    AxisList rows = without(without(q.axes, {*op.along}), {*op.contract});
    rows.push_back(*op.along);
    d.attend_statistics[id.index()] = nodes.result(step, rows, false, TensorRole::statistics);
    return out;
  }

  // The classifier takes whole tensors: h as [rows, width], W as [vocab, width] or [width, vocab].
  bool classifies(const Op& dot, const Op& loss) {
    int h = operand(dot, 0), w = operand(dot, 1);
    const AxisList& rows = model.op(loss.operands[1]).axes;
    AxisId vocab = loss.over[0];
    if (!dot.keep.empty()) return false;
    if (contains(nodes[h].axes, vocab)) std::swap(h, w);
    if (nodes[w].axes.size() != dot.over.size() + 1 || !contains(nodes[w].axes, vocab)) return false;
    Reading rh = nodes.read(h), rw = nodes.read(w);
    AxisList width = without(view_axes(rw.view), {vocab});
    if (!is_contiguous(model, rh.view, joined(rows, width))) return false;
    return is_contiguous(model, rw.view, joined({vocab}, width)) || is_contiguous(model, rw.view, joined(width, {vocab}));
  }

  int dot(OpId id, const Op& op) {
    int target = d.classifier[id.index()];
    if (target >= 0) {
      if (classifies(op, model.op(OpId(target)))) return -1;
      d.classifier[id.index()] = -1;
    }
    const Op &a = model.op(op.operands[0]), &b = model.op(op.operands[1]);
    AxisList batch = common(op.keep, common(a.axes, b.axes));
    int node = nodes.dot(nodes.round(operand(op, 0)), nodes.round(operand(op, 1)), op.over, batch, op.axes);
    return node;
  }

  int build(OpId id) {
    const Op& op = model.op(id);
    if (auto opcode = pointwise_opcode(op.kind)) {
      if (op.kind == OpKind::power)
        if (auto node = constant_power(op)) return *node;
      std::vector<int> in;
      for (std::size_t i = 0; i < op.operands.size(); ++i) in.push_back(operand(op, i));
      return nodes.pointwise(*opcode, std::move(in), op.axes);
    }
    switch (op.kind) {
      case OpKind::parameter: {
        int& node = program.parameter_nodes[op.parameter->index()];
        if (node < 0) {
          node = nodes.leaf(NodeKind::parameter, op.axes, true, false);
          nodes[node].parameter = op.parameter;
        }
        return node;
      }
      case OpKind::tokens:
      case OpKind::targets: {
        int& node = op.kind == OpKind::tokens ? program.tokens : program.targets;
        if (node < 0) node = nodes.leaf(op.kind == OpKind::tokens ? NodeKind::tokens : NodeKind::targets, op.axes, true, true);
        return node;
      }
      case OpKind::positions: return nodes.position(*op.along);
      case OpKind::constant: return nodes.constant(op.number);
      case OpKind::to_real: return nodes.pointwise(MapOpcode::add, {operand(op, 0), nodes.constant(0)}, op.axes);
      case OpKind::sum: return nodes.reduce(MapOpcode::inner_sum, operand(op, 0), op.over);
      case OpKind::max: return nodes.reduce(MapOpcode::inner_max, operand(op, 0), op.over);
      case OpKind::mean: return mean(op);
      case OpKind::rename: return nodes.view(operand(op, 0), {*op.from}, {*op.to}, 0);
      case OpKind::expand: return nodes.expand(operand(op, 0), op.axes);
      case OpKind::merge: return nodes.view(operand(op, 0), op.factors, {*op.to}, 0);
      case OpKind::unmerge: return nodes.view(operand(op, 0), {*op.from}, op.factors, 0);
      case OpKind::slice: return nodes.view(operand(op, 0), {*op.from}, {*op.to}, op.offset);
      case OpKind::concat: return concat(op);
      case OpKind::stop_gradient: return operand(op, 0);
      case OpKind::round: return nodes.round(operand(op, 0));
      case OpKind::dot: return dot(id, op);
      case OpKind::attend: return attend(id, op);
      case OpKind::lookup: return lookup(id, op);
      case OpKind::rotate: {
        int step = nodes.heavy(StepKind::rotate, {nodes.plain(operand(op, 0))}, id);
        return nodes.result(step, op.axes, false, TensorRole::value);
      }
      default: break;
    }
    DSC_CHECK(false, std::string("no lowering of ") + name_of(op.kind));
  }

  void mark(OpId id) {
    const Op& op = model.op(id);
    const bool listed = op.kind > OpKind::constant;  // all but parameter, tokens, targets, positions, constant
    if (listed && value(id) >= 0) nodes[value(id)].marks.push_back({Pass::forward, id, 0});
  }

  // One step computes the term and, in training, its gradient.
  void cross_entropy(OpId id, const Op& op) {
    const bool backward = d.purpose == Purpose::train && d.needs_gradient[id.index()];
    const LossTerm& term = d.terms[id.index()];
    const AxisList& rows = model.op(op.operands[1]).axes;
    const OpId source = op.operands[0];
    const bool classifier = value(source) < 0;
    int ids = nodes.contiguous(operand(op, 1), rows);
    std::vector<int> in;
    if (classifier) {
      const Op& dot = model.op(source);
      in = {operand(dot, 0), operand(dot, 1), ids};
      if (contains(nodes[in[0]].axes, op.over[0])) std::swap(in[0], in[1]);
    } else {
      in = {nodes.contiguous(value(source), joined(rows, op.over)), ids};
    }
    if (backward) {
      if (program.seed < 0) program.seed = nodes.leaf(NodeKind::seed, {}, false, false);
      in.push_back(program.seed);
    }
    int step = nodes.heavy(classifier ? StepKind::classifier : StepKind::cross_entropy, in, id);
    Node& node = nodes[step];
    node.backward = backward;
    node.seed_factor = term.factor;
    if (classifier) {
      node.step_dot = source;
      node.marks.push_back({Pass::forward, source, 0});
    }
    if (backward) {
      node.marks.insert(node.marks.end(), term.marks.begin(), term.marks.end());
      node.marks.push_back({Pass::gradient, id, 0});
    }
    d.value[id.index()] = nodes.result(step, {}, false, TensorRole::value);
    if (!backward) return;
    auto gradient_of = [&](int x, OpId of) {
      AxisList axes = view_axes(nodes.read(x).view);
      int result = nodes.result(step, axes, false, TensorRole::contribution);
      nodes[result].op = of;
      nodes[result].forward = false;
      return result;
    };
    std::vector<int>& gradients = d.loss_gradients[(classifier ? source : id).index()];
    if (!classifier) {
      gradients = {gradient_of(in[0], source)};
      return;
    }
    const Op& dot = model.op(source);
    int dh = gradient_of(in[0], dot.operands[0]), dw = gradient_of(in[1], dot.operands[1]);
    gradients = {dh, dw};
    if (in[0] != operand(dot, 0)) {
      gradients = {dw, dh};
      nodes[dw].op = dot.operands[0], nodes[dh].op = dot.operands[1];
    }
    nodes[step].marks.push_back({Pass::total, source, 0});
    nodes[step].marks.push_back({Pass::gradient, source, 0});
    nodes[step].marks.push_back({Pass::gradient, source, 1});
  }
};

}  // namespace

void build_forward(Nodes& nodes, Derivation& d, NodeProgram& program) {
  const Model& model = nodes.model();
  Forward forward{nodes, d, program};
  auto build = [&](std::size_t i) {
    OpId id(i);
    nodes.set_op(id, TensorRole::value);
    d.value[i] = forward.build(id);
    forward.mark(id);
  };
  auto is_loss = [&](const Op& op) { return op.type == ValueType::loss && op.kind != OpKind::mean; };
  for (std::size_t i = 0; i < model.ops.size(); ++i)
    if (d.needed[i] && !is_loss(model.ops[i])) build(i);
  program.backward_begin = nodes.size();
  for (std::size_t i = 0; i < model.ops.size(); ++i) {
    const Op& op = model.ops[i];
    if (!d.needed[i] || !is_loss(op)) continue;
    if (op.kind != OpKind::cross_entropy) {
      build(i);
      continue;
    }
    nodes.set_op(OpId(i), TensorRole::value);
    forward.cross_entropy(OpId(i), op);
    forward.mark(OpId(i));
  }
}

}  // namespace dsc
