// The passes of build_graph in order: what is needed, forward nodes, backward nodes, fusion to kernels, steps.
#include "compiler/graph/build.h"

#include <algorithm>
#include <cmath>

#include "compiler/graph/nodes.h"
#include "compiler/support/check.h"

namespace dsc {
namespace {

bool is_view(OpKind kind) {
  switch (kind) {
    case OpKind::rename: case OpKind::expand: case OpKind::merge: case OpKind::unmerge: case OpKind::slice: case OpKind::concat:
    case OpKind::stop_gradient: case OpKind::round: return true;
    default: return false;
  }
}

// Constant arithmetic, as it stands in the factors of loss terms.
std::optional<double> constant_value(const Model& model, OpId id) {
  const Op& op = model.op(id);
  if (op.kind == OpKind::constant) return op.number;
  if (!op.axes.empty() || op.operands.empty()) return std::nullopt;
  std::vector<double> x;
  for (OpId operand : op.operands) {
    auto value = constant_value(model, operand);
    if (!value) return std::nullopt;
    x.push_back(*value);
  }
  switch (op.kind) {
    case OpKind::add: return x[0] + x[1];
    case OpKind::subtract: return x[0] - x[1];
    case OpKind::multiply: return x[0] * x[1];
    case OpKind::divide: return x[0] / x[1];
    case OpKind::power: return std::pow(x[0], x[1]);
    case OpKind::negate: return -x[0];
    case OpKind::sqrt: return std::sqrt(x[0]);
    case OpKind::exp: return std::exp(x[0]);
    case OpKind::log: return std::log(x[0]);
    case OpKind::round: case OpKind::expand: return x[0];
    default: return std::nullopt;
  }
}

// Factors of the loss's terms, and the loss ops on the way to each.
void find_terms(const Model& model, Derivation& d) {
  std::vector<bool> reached(model.ops.size());
  reached[model.loss.index()] = true;
  d.terms[model.loss.index()].factor = 1;
  for (std::size_t i = model.loss.index() + 1; i-- > 0;) {
    const Op& op = model.ops[i];
    if (!reached[i] || op.type != ValueType::loss) continue;
    LossTerm& term = d.terms[i];
    if (d.needs_gradient[i]) term.marks.push_back({Pass::total, OpId(i), 0});
    if (op.kind == OpKind::cross_entropy || op.kind == OpKind::mean) continue;
    auto pass = [&](std::size_t operand, double factor) {
      const std::size_t to = op.operands[operand].index();
      if (model.ops[to].type != ValueType::loss) return;
      reached[to] = true;
      d.terms[to].factor += factor;
      d.terms[to].marks.insert(d.terms[to].marks.end(), term.marks.begin(), term.marks.end());
      if (d.needs_gradient[to]) d.terms[to].marks.push_back({Pass::gradient, OpId(i), static_cast<int>(operand)});
    };
    auto constant = [&](std::size_t operand) {
      auto value = constant_value(model, op.operands[operand]);
      DSC_CHECK(value, "a loss term is scaled by what is no constant: " + OpId(i).str());
      return *value;
    };
    const double f = term.factor;
    switch (op.kind) {
      case OpKind::add: pass(0, f), pass(1, f); break;
      case OpKind::subtract: pass(0, f), pass(1, -f); break;
      case OpKind::negate: pass(0, -f); break;
      case OpKind::multiply:
        if (model.op(op.operands[0]).type == ValueType::loss) pass(0, f * constant(1));
        else pass(1, f * constant(0));
        break;
      case OpKind::divide: pass(0, f / constant(1)); break;
      case OpKind::constant: case OpKind::stop_gradient: break;
      case OpKind::round: pass(0, f); break;
      default: DSC_CHECK(false, std::string("no loss is made by ") + name_of(op.kind));
    }
  }
}

Derivation derive(const Model& model, Purpose purpose) {
  const std::size_t n = model.ops.size();
  Derivation d;
  d.purpose = purpose;
  d.needed.resize(n);
  d.needs_gradient.resize(n);
  d.value.assign(n, -1);
  d.uses.resize(n);
  d.terms.resize(n);
  d.classifier.assign(n, -1);
  d.loss_gradients.resize(n);
  d.attend_statistics.assign(n, -1);
  d.needed[(purpose == Purpose::sample ? *model.logits : model.loss).index()] = true;
  for (std::size_t i = n; i-- > 0;) {
    if (!d.needed[i]) continue;
    for (OpId operand : model.ops[i].operands) {
      d.needed[operand.index()] = true;
      ++d.uses[operand.index()];
    }
  }
  if (purpose == Purpose::sample) return d;

  std::vector<bool> reached(n), reaches(n);
  for (std::size_t i = 0; i < n; ++i) {
    const Op& op = model.ops[i];
    reached[i] = op.kind == OpKind::parameter;
    for (std::size_t j = 0; j < op.operands.size(); ++j)
      if (reached[op.operands[j].index()] && is_differentiable_operand(op, j)) reached[i] = true;
  }
  reaches[model.loss.index()] = true;
  for (std::size_t i = n; i-- > 0;) {
    d.needs_gradient[i] = d.needed[i] && reached[i] && reaches[i] && purpose == Purpose::train;
    if (!reaches[i]) continue;
    for (std::size_t j = 0; j < model.ops[i].operands.size(); ++j)
      if (is_differentiable_operand(model.ops[i], j)) reaches[model.ops[i].operands[j].index()] = true;
  }
  find_terms(model, d);
  for (std::size_t i = 0; i < n; ++i) {
    const Op& op = model.ops[i];
    if (!d.needed[i] || op.kind != OpKind::cross_entropy) continue;
    const OpId x = op.operands[0];
    const Op& dot = model.op(x);
    if (dot.kind != OpKind::dot || d.uses[x.index()] != 1) continue;
    if (purpose == Purpose::train &&
        !(d.needs_gradient[dot.operands[0].index()] && d.needs_gradient[dot.operands[1].index()]))
      continue;
    d.classifier[x.index()] = static_cast<int>(i);
  }
  return d;
}

}  // namespace

bool is_differentiable_operand(const Op& op, std::size_t operand) {
  if (op.type == ValueType::integer || op.type == ValueType::boolean) return false;
  switch (op.kind) {
    case OpKind::parameter: case OpKind::tokens: case OpKind::targets: case OpKind::positions: case OpKind::constant:
    case OpKind::less: case OpKind::less_equal: case OpKind::greater: case OpKind::greater_equal: case OpKind::equal:
    case OpKind::not_equal: case OpKind::stop_gradient: case OpKind::to_real: return false;
    case OpKind::select: return operand > 0;
    case OpKind::lookup: case OpKind::cross_entropy: return operand == 0;
    default: return true;
  }
}

bool is_parameter_view(const Model& model, OpId id) {
  const Op& op = model.op(id);
  if (op.kind == OpKind::parameter) return true;
  if (op.kind == OpKind::lookup) return model.op(op.operands[1]).kind == OpKind::positions && is_parameter_view(model, op.operands[0]);
  if (!is_view(op.kind)) return false;
  return std::all_of(op.operands.begin(), op.operands.end(), [&](OpId x) { return is_parameter_view(model, x); });
}

bool rounds_gradient(const Model& model, OpId id) {
  const Op& op = model.op(id);
  return op.rounded && op.type == ValueType::real && !is_parameter_view(model, id);
}

NodeProgram build_program(Nodes& nodes, Purpose purpose) {
  const Model& model = nodes.model();
  Derivation d = derive(model, purpose);
  NodeProgram program;
  program.parameter_nodes.assign(model.parameters.size(), -1);
  program.parameter_gradients.resize(model.parameters.size());
  build_forward(nodes, d, program);
  if (purpose == Purpose::train) build_backward(nodes, d, program);
  else program.backward_begin = nodes.size();

  // The output is a tensor of its own, in f32.
  OpId result = purpose == Purpose::sample ? *model.logits : model.loss;
  const AxisList& axes = model.op(result).axes;
  int node = d.value[result.index()];
  const bool own = nodes[node].kind == NodeKind::dot || nodes[node].kind == NodeKind::result ||
                   nodes[node].kind == NodeKind::pointwise || nodes[node].kind == NodeKind::reduce;
  if (!own || nodes[node].axes != axes || nodes[node].exact) {
    nodes.set_op(result, TensorRole::value);
    node = nodes.copy(node, axes);
    nodes[node].exact = false;
    nodes[node].forward = true;
  }
  nodes[node].root = nodes[node].output = true;
  nodes[node].store_type = DType::f32;
  if (purpose == Purpose::sample) {
    program.logits = node;
  } else {
    nodes[node].role = TensorRole::loss;
    program.loss = node;
  }
  return program;
}

Graph build_graph(const Model& model, DType activation, Purpose purpose, const FusionOptions& options) {
  Nodes nodes(model, activation);
  NodeProgram program = build_program(nodes, purpose);
  std::vector<FusedKernel> kernels = fuse(nodes, program, options);
  Graph graph = emit_steps(nodes, program, kernels);
  std::string violation = verify_graph(graph, model);
  DSC_CHECK(violation.empty(), violation);
  return graph;
}

Graph build_graph(const Model& model, DType activation, Purpose purpose) {
  return build_graph(model, activation, purpose, FusionOptions{});
}

}  // namespace dsc
