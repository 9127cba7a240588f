#include "compiler/plan/graph_facts.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace dsc::verifying {

bool is_view(OpKind kind) { return kind >= OpKind::rename && kind <= OpKind::round; }

bool is_identity(OpKind kind) {
  return kind == OpKind::rename || kind == OpKind::merge || kind == OpKind::unmerge || kind == OpKind::round || kind == OpKind::stop_gradient;
}

bool is_differentiable(const Model& model, const Op& op, std::size_t operand) {
  if (op.type == ValueType::integer || op.type == ValueType::boolean || op.kind == OpKind::stop_gradient) return false;
  if (op.kind >= OpKind::less && op.kind <= OpKind::not_equal) return false;
  if (op.kind == OpKind::select && operand == 0) return false;
  if ((op.kind == OpKind::lookup || op.kind == OpKind::cross_entropy) && operand == 1) return false;
  ValueType type = model.op(op.operands[operand]).type;
  return type == ValueType::real || type == ValueType::loss;
}

bool gradient_moves_nothing(const Model& model, const Op& op, std::size_t operand) {
  bool same_axes = model.op(op.operands[operand]).axes.size() == op.axes.size();
  if (op.type == ValueType::loss && op.kind >= OpKind::add && op.kind <= OpKind::negate) return true;
  switch (op.kind) {
    case OpKind::rename: case OpKind::merge: case OpKind::unmerge: case OpKind::slice: case OpKind::concat: case OpKind::round:
    case OpKind::sum: case OpKind::mean: return true;
    case OpKind::add: return same_axes;
    case OpKind::subtract: return same_axes && operand == 0;
    default: return false;
  }
}

std::vector<std::vector<OpId>> gradient_reads(const Op& op, OpId self, std::size_t operand) {
  auto of = [&](std::size_t i) { return op.operands[i]; };
  switch (op.kind) {
    case OpKind::multiply: return {{of(1 - operand)}};
    case OpKind::divide:
      if (operand == 0) return {{of(1)}};
      return {{of(1)}, {of(0), self}};
    case OpKind::power:
      if (operand == 0) return {{of(0)}, {of(1)}};
      return {{of(0)}, {of(1), self}};
    case OpKind::exp: case OpKind::sqrt: case OpKind::rsqrt: case OpKind::tanh: case OpKind::sigmoid: return {{self, of(0)}};
    case OpKind::log: case OpKind::erf: case OpKind::sin: case OpKind::cos: case OpKind::absolute: case OpKind::max: return {{of(0)}};
    case OpKind::maximum: case OpKind::minimum: return {{of(0)}, {of(1)}};
    case OpKind::select: return {{of(0)}};
    case OpKind::dot: return {{of(1 - operand)}};
    case OpKind::attend: return {{of(0)}, {of(1)}, {of(2)}, {self}};
    case OpKind::lookup: return {{of(1)}};
    case OpKind::cross_entropy: return {{of(0)}, {of(1)}};
    default: return {};
  }
}

namespace {

// The numbers of constants and of what is computed from constants alone.
std::vector<std::optional<double>> constants(const Model& model) {
  std::vector<std::optional<double>> value(model.ops.size());
  for (std::size_t i = 0; i < model.ops.size(); ++i) {
    const Op& op = model.ops[i];
    if (op.kind == OpKind::constant) { value[i] = op.number; continue; }
    std::optional<double> a, b;
    if (!op.operands.empty()) a = value[op.operands[0].index()];
    if (op.operands.size() > 1) b = value[op.operands[1].index()];
    if (!a || (op.operands.size() > 1 && !b)) continue;
    switch (op.kind) {
      case OpKind::add: value[i] = *a + *b; break;
      case OpKind::subtract: value[i] = *a - *b; break;
      case OpKind::multiply: value[i] = *a * *b; break;
      case OpKind::divide: value[i] = *a / *b; break;
      case OpKind::power: value[i] = std::pow(*a, *b); break;
      case OpKind::negate: value[i] = -*a; break;
      case OpKind::sqrt: value[i] = std::sqrt(*a); break;
      case OpKind::to_real: case OpKind::round: case OpKind::stop_gradient: value[i] = *a; break;
      default: break;
    }
  }
  return value;
}

// The derivative of the model's loss by each loss value: a loss is a sum of terms with constant factors.
std::vector<double> loss_factors(const Model& model, OpId loss) {
  std::vector<double> factor(model.ops.size(), 0);
  std::vector<std::optional<double>> number = constants(model);
  factor[loss.index()] = 1;
  for (std::size_t i = loss.index() + 1; i-- > 0;) {
    const Op& op = model.ops[i];
    if (factor[i] == 0) continue;
    auto give = [&](std::size_t operand, double times) {
      if (model.op(op.operands[operand]).type == ValueType::loss) factor[op.operands[operand].index()] += factor[i] * times;
    };
    auto other = [&](std::size_t operand) { return number[op.operands[operand].index()].value_or(0); };
    switch (op.kind) {
      case OpKind::add: give(0, 1); give(1, 1); break;
      case OpKind::subtract: give(0, 1); give(1, -1); break;
      case OpKind::multiply: give(0, other(1)); give(1, other(0)); break;
      case OpKind::divide: give(0, 1 / other(1)); break;
      case OpKind::negate: give(0, -1); break;
      case OpKind::round: case OpKind::rename: give(0, 1); break;
      default: break;
    }
  }
  return factor;
}

}  // namespace

GraphFacts graph_facts(const Model& model, OpId result, bool gradients) {
  std::size_t n = model.ops.size();
  GraphFacts facts;
  facts.needed.assign(n, false);
  facts.differentiated.assign(n, false);
  facts.users.resize(n);
  facts.sites.resize(model.parameters.size());
  facts.segments.resize(model.parameters.size());
  facts.parameter_op.assign(model.parameters.size(), -1);
  facts.column.assign(model.parameters.size(), -1);
  facts.loss_factor = loss_factors(model, model.loss);

  facts.needed[result.index()] = true;
  for (std::size_t i = result.index() + 1; i-- > 0;) {
    if (!facts.needed[i]) continue;
    for (OpId operand : model.ops[i].operands) facts.needed[operand.index()] = true;
    if (model.ops[i].kind == OpKind::tokens) facts.reads_tokens = true;
    if (model.ops[i].kind == OpKind::targets) facts.reads_targets = true;
    if (model.ops[i].kind == OpKind::parameter) facts.parameter_op[model.ops[i].parameter->index()] = static_cast<int>(i);
  }
  for (std::size_t i = 0; i < n; ++i)
    facts.same_value.push_back(is_identity(model.ops[i].kind) ? facts.same_value[model.ops[i].operands[0].index()] : static_cast<int>(i));
  if (!gradients) return facts;

  // A parameter reaches it, and it reaches the loss, along differentiable operands.
  std::vector<bool> from_parameter(n, false), to_loss(n, false);
  for (std::size_t i = 0; i < n; ++i) {
    const Op& op = model.ops[i];
    from_parameter[i] = op.kind == OpKind::parameter;
    for (std::size_t j = 0; j < op.operands.size(); ++j)
      if (from_parameter[op.operands[j].index()] && is_differentiable(model, op, j)) from_parameter[i] = true;
  }
  to_loss[result.index()] = true;
  for (std::size_t i = result.index() + 1; i-- > 0;) {
    if (!to_loss[i]) continue;
    for (std::size_t j = 0; j < model.ops[i].operands.size(); ++j)
      if (is_differentiable(model, model.ops[i], j)) to_loss[model.ops[i].operands[j].index()] = true;
  }
  for (std::size_t i = 0; i < n; ++i) facts.differentiated[i] = facts.needed[i] && from_parameter[i] && to_loss[i];
  for (std::size_t i = 0; i < n; ++i) {
    if (!facts.differentiated[i]) continue;
    for (std::size_t j = 0; j < model.ops[i].operands.size(); ++j) {
      std::size_t operand = model.ops[i].operands[j].index();
      if (facts.differentiated[operand] && is_differentiable(model, model.ops[i], j))
        facts.users[operand].push_back({static_cast<int>(i), static_cast<int>(j)});
    }
  }

  for (std::size_t i = 0; i < n; ++i) {
    const Op& op = model.ops[i];
    if (op.kind != OpKind::parameter || !facts.differentiated[i]) continue;
    std::size_t p = op.parameter->index();
    for (const OperandOf& use : facts.users[i]) {
      facts.sites[p].push_back({use, model.ops[use.op].segment});
      facts.segments[p].push_back(model.ops[use.op].segment);
    }
    std::sort(facts.segments[p].begin(), facts.segments[p].end());
    facts.segments[p].erase(std::unique(facts.segments[p].begin(), facts.segments[p].end()), facts.segments[p].end());
  }
  for (std::size_t p = 0; p < model.parameters.size(); ++p)
    if (!facts.segments[p].empty()) facts.column[p] = facts.columns++;
  return facts;
}

}  // namespace dsc::verifying
