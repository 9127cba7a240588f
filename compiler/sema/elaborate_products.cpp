// Operations along named axes: dot, attend, lookup, rotate, cross_entropy, positions; and their dispatch.
#include <algorithm>
#include <cmath>

#include "compiler/sema/elaborate_call.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {

using syntax::Expr;
using syntax::ExprKind;

namespace {

bool has(const std::vector<AxisId>& axes, AxisId axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

}  // namespace

Value Elaborator::operation(const Operation& core, const Expr& expr, Frame& frame) {
  auto given = match_arguments(expr, core.arguments, core.name, diagnostics_);
  if (!given) return {};
  if (frame.in_function() && core.group == OperationClass::other) {
    fail(diagnostics_, Code::not_in_a_function, expr.callee, ticked(core.name) + " cannot stand in a function", "", "a function holds pointwise operations and reductions; write a module");
    return {};
  }
  const Call call{core, expr, std::move(*given), frame};
  switch (core.kind) {
    case OpKind::minimum: return greater_or_less(call, OpKind::minimum);
    case OpKind::select: return where(call);
    case OpKind::stop_gradient: return stop_gradient(call);
    case OpKind::dot: return dot(call);
    case OpKind::lookup: return lookup_rows(call);
    case OpKind::positions: return positions(call);
    case OpKind::cross_entropy: return cross_entropy(call);
    case OpKind::attend: return attend(call);
    case OpKind::rotate: return rotate(call);
    case OpKind::expand: return expand(call);
    case OpKind::concat: return concat(call);
    case OpKind::rename: case OpKind::slice: case OpKind::merge: case OpKind::unmerge: return reshape(call);
    default: break;
  }
  return core.group == OperationClass::reduction ? reduction(call) : function_of_one(call);
}

Value Elaborator::dot(const Call& call) {
  Value a = eval(*call.args[0], call.frame), b = eval(*call.args[1], call.frame);
  const bool a_ok = real_operand(a, *call.args[0], true, call), b_ok = real_operand(b, *call.args[1], true, call);
  if (!a_ok || !b_ok) return {};
  const std::vector<AxisId> x = op(a).axes, w = op(b).axes;
  Op result;
  result.kind = OpKind::dot;
  if (call.args[2]) {
    std::optional<std::vector<AxisId>> keep = axes_of(*call.args[2], call.frame);
    if (!keep) return {};
    for (AxisId axis : *keep) {
      if (has(x, axis) && has(w, axis)) continue;
      fail(diagnostics_, Code::axes_disagree, call.args[2]->range, "`keep` names " + ticked(program_.axis_name(axis)) + ", which the operands do not share",
           describe(a) + " and " + describe(b), "it keeps axes that both operands have");
      return {};
    }
    result.keep = *keep;
  }
  for (AxisId axis : x)
    if (has(w, axis) && !has(result.keep, axis)) result.over.push_back(axis);
  if (result.over.empty()) {
    fail(diagnostics_, Code::nothing_to_contract, call.expr.range, describe(a) + " and " + describe(b) + " share no axis to sum over", "",
         result.keep.empty() ? "a product without a sum is written `expand(...) * ...`" : "remove one of the axes in `keep`");
    return {};
  }
  if (has(result.over, model_.batch)) {
    whole_batch_error(call, model_.batch, "this dot sums over `batch`, which both operands have", "keep it as a batch axis: `keep: (batch)`");
    return {};
  }
  for (AxisId axis : x)
    if (!has(result.over, axis)) result.axes.push_back(axis);
  for (AxisId axis : w)
    if (!has(result.over, axis) && !has(x, axis)) result.axes.push_back(axis);
  result.operands = {*a.op, *b.op};
  return tensor(add(std::move(result), call.expr.range, call.frame), true);
}

// Follows `ids` to where its numbers come from: marks `over` as a vocabulary, or checks it against positions.
bool Elaborator::index_bounds(const Call& call, OpId ids, AxisId over) {
  const Op& source = model_.op(ids);
  Axis& axis = model_.axes[over.index()];
  if (source.kind == OpKind::tokens || source.kind == OpKind::targets) axis.vocabulary = true;
  if (source.kind == OpKind::positions && program_.sizes_known && model_.axis(*source.along).size > axis.size) {
    const Axis& along = model_.axis(*source.along);
    const std::string name = program_.axis_name(*source.along), table = program_.axis_name(over);
    fail(diagnostics_, Code::lookup_out_of_bounds, call.expr.range, "positions of " + ticked(name) + " (" + std::to_string(along.size) + ") reach past the end of " + ticked(table) + " (" + std::to_string(axis.size) + ")",
         "", name == "seq" ? "make `sequence` at most " + std::to_string(axis.size) + ", or " + ticked(table) + " at least " + std::to_string(along.size) : "",
         {{ticked(name) + " is " + std::to_string(along.size) + " here", along.source}, {ticked(table) + " is " + std::to_string(axis.size) + " here", axis.source}});
    return false;
  }
  const std::vector<OpId> operands = source.operands;
  for (OpId operand : operands)
    if (!index_bounds(call, operand, over)) return false;
  return true;
}

Value Elaborator::lookup_rows(const Call& call) {
  Value table = eval(*call.args[0], call.frame), ids = eval(*call.args[1], call.frame);
  std::optional<AxisId> over = axis_of(*call.args[2], call.frame);
  if (!real_operand(table, *call.args[0], true, call) || !integer_operand(ids, *call.args[1], call) || !over) return {};
  if (whole_batch_error(call, *over, "this lookup reads other rows of `batch`", "") || !has_axis(table, *over, *call.args[0], call)) return {};
  Op result;
  result.kind = OpKind::lookup;
  result.operands = {*table.op, *ids.op};
  result.over = {*over};
  result.axes = op(ids).axes;
  result.rounded = op(table).rounded;
  for (AxisId axis : op(table).axes) {
    if (axis == *over) continue;
    if (has(result.axes, axis)) {
      fail(diagnostics_, Code::axis_repeated, call.expr.range, "both the table and the indices have " + ticked(program_.axis_name(axis)), describe(table) + " and " + describe(ids));
      return {};
    }
    result.axes.push_back(axis);
  }
  if (!index_bounds(call, *ids.op, *over)) return {};
  return tensor(add(std::move(result), call.expr.range, call.frame), true);
}

Value Elaborator::positions(const Call& call) {
  std::optional<AxisId> along = axis_of(*call.args[0], call.frame);
  if (!along || whole_batch_error(call, *along, "positions in `batch` depend on which rows are together", "")) return {};
  Op result;
  result.kind = OpKind::positions;
  result.type = ValueType::integer;
  result.along = along;
  result.axes = {*along};
  return tensor(add(std::move(result), call.expr.range, call.frame));
}

Value Elaborator::cross_entropy(const Call& call) {
  Value x = eval(*call.args[0], call.frame), ids = eval(*call.args[1], call.frame);
  std::optional<AxisId> over = axis_of(*call.args[2], call.frame);
  if (bad(x) || !integer_operand(ids, *call.args[1], call) || !over) return {};
  if (is_real_tensor(x)) x.pending = false;  // taken in f32, as it is
  if (!real_operand(x, *call.args[0], false, call) || !has_axis(x, *over, *call.args[0], call)) return {};
  std::vector<AxisId> left;
  for (AxisId axis : op(x).axes)
    if (axis != *over) left.push_back(axis);
  std::vector<AxisId> wanted = op(ids).axes;
  std::sort(left.begin(), left.end());
  std::sort(wanted.begin(), wanted.end());
  if (left != wanted) {
    fail(diagnostics_, Code::axes_disagree, call.expr.range, "cross_entropy of " + describe(x) + " with " + describe(ids) + " over " + ticked(program_.axis_name(*over)), "",
         "the first operand has the axes of the indices, and `over`");
    return {};
  }
  if (!has(wanted, model_.batch)) {
    fail(diagnostics_, Code::batch_mixed, call.expr.range, "this cross_entropy is the same for every row of `batch`", "", "its operands have the axis `batch`");
    return {};
  }
  if (!index_bounds(call, *ids.op, *over)) return {};
  Op result;
  result.kind = OpKind::cross_entropy;
  result.operands = {*x.op, *ids.op};
  result.over = {*over};
  result.type = ValueType::loss;
  return tensor(add(std::move(result), call.expr.range, call.frame));
}

bool Elaborator::attend_mask(const Call& call, Op& result) {
  const Expr& mask = *call.args[5];
  if (mask.kind == ExprKind::name && mask.text == "causal") result.mask = Mask::causal;
  else if (mask.kind == ExprKind::name && mask.text == "full") result.mask = Mask::full;
  else if (mask.kind == ExprKind::call && mask.text == "window") {
    auto given = match_arguments(mask, {{"n"}}, "window", diagnostics_);
    std::optional<Scalar> n = given ? number(*(*given)[0], call.frame, "n") : std::nullopt;
    if (!n) return false;
    if (!n->whole || (n->integer < 1 && program_.sizes_known)) {
      fail(diagnostics_, Code::sizes_do_not_fit, mask.range, "a window of " + str(*n) + " positions", "", "it is a whole number from 1");
      return false;
    }
    result.mask = Mask::window;
    result.window = n->integer;
  } else {
    fail(diagnostics_, Code::unknown_choice, mask.range, ticked(syntax::print(mask)) + " is no mask", "", "it may be `causal`, `full` or `window(n)`");
    return false;
  }
  return true;
}

// Sorts k's or v's axes into those shared with q (its own, or major factors of its own) and the rest.
bool Elaborator::attend_axes(const Value& q, const Value& other, AxisId along, AxisId contract, const Expr& at, bool is_v,
                             std::vector<AxisId>& own, std::vector<AxisId>& shared) {
  std::vector<AxisId> covered;
  for (AxisId axis : op(other).axes) {
    if (axis == along || (!is_v && axis == contract)) continue;
    std::optional<AxisId> of;
    if (has(op(q).axes, axis) && axis != contract) of = axis;
    for (AxisId whole : op(q).axes)
      for (const std::vector<AxisId>& factors : model_.axis(whole).products)
        if (!of && factors[0] == axis) of = whole;
    if (of) {
      covered.push_back(*of);
      shared.push_back(axis);
    } else {
      own.push_back(axis);
    }
  }
  for (AxisId axis : op(q).axes) {
    if (axis == along || axis == contract || has(covered, axis)) continue;
    fail(diagnostics_, Code::axes_disagree, at.range, "q has " + ticked(program_.axis_name(axis)) + ", and this is " + describe(other), "lacks it",
         "k and v have each other axis of q, or its major factor in a `product`");
    return false;
  }
  const std::size_t most = is_v ? 1 : 0;
  if (own.size() == most) return true;
  std::vector<std::string> names;
  for (AxisId axis : own) names.push_back(ticked(program_.axis_name(axis)));
  fail(diagnostics_, Code::axes_disagree, at.range, is_v && own.empty() ? "v has no axis of its own, and this is " + describe(other) : "q, " + describe(q) + ", has no " + listed(names, "and"), "",
       is_v ? "v has one axis that q lacks, or " + ticked(program_.axis_name(contract)) : "k's axes are q's, or the major factor of one of q's in a `product`");
  return false;
}

Value Elaborator::attend(const Call& call) {
  Frame& frame = call.frame;
  Value q = eval(*call.args[0], frame), k = eval(*call.args[1], frame), v = eval(*call.args[2], frame);
  std::optional<AxisId> along = axis_of(*call.args[3], frame), contract = axis_of(*call.args[4], frame);
  const bool ok = real_operand(q, *call.args[0], true, call) & real_operand(k, *call.args[1], true, call) & real_operand(v, *call.args[2], true, call);
  Op result;
  result.kind = OpKind::attend;
  if (!ok || !along || !contract || !attend_mask(call, result)) return {};
  if (whole_batch_error(call, *along, "attend along `batch` mixes its rows", "") || whole_batch_error(call, *contract, "attend sums over `batch`", "")) return {};
  if (*along == *contract) {
    fail(diagnostics_, Code::axes_disagree, call.args[4]->range, "attend works along and contracts the same axis, " + ticked(program_.axis_name(*along)));
    return {};
  }
  if (!has_axis(q, *along, *call.args[0], call) || !has_axis(q, *contract, *call.args[0], call) || !has_axis(k, *along, *call.args[1], call) ||
      !has_axis(k, *contract, *call.args[1], call) || !has_axis(v, *along, *call.args[2], call))
    return {};
  std::vector<AxisId> none, own, k_shared, v_shared;
  if (!attend_axes(q, k, *along, *contract, *call.args[1], false, none, k_shared) ||
      !attend_axes(q, v, *along, *contract, *call.args[2], true, own, v_shared))
    return {};
  std::sort(k_shared.begin(), k_shared.end());
  std::sort(v_shared.begin(), v_shared.end());
  if (k_shared != v_shared) {
    fail(diagnostics_, Code::axes_disagree, call.args[2]->range, "k is " + describe(k) + ", and v is " + describe(v), "", "k and v share all axes but `contract` and v's own");
    return {};
  }
  result.scale = 1 / std::sqrt(static_cast<double>(model_.axis(*contract).size));
  if (call.args[6]) {
    std::optional<Scalar> scale = number(*call.args[6], frame, "scale");
    if (!scale) return {};
    result.scale = scale->number;
  }
  result.along = along;
  result.contract = contract;
  result.operands = {*q.op, *k.op, *v.op};
  result.axes = op(q).axes;
  std::replace(result.axes.begin(), result.axes.end(), *contract, own[0]);
  return tensor(add(std::move(result), call.expr.range, frame), true);
}

Value Elaborator::rotate(const Call& call) {
  Value x = eval(*call.args[0], call.frame);
  std::optional<AxisId> along = axis_of(*call.args[1], call.frame), pairs = axis_of(*call.args[2], call.frame);
  if (!real_operand(x, *call.args[0], false, call) || !along || !pairs) return {};
  if (whole_batch_error(call, *along, "positions in `batch` depend on which rows are together", "") || whole_batch_error(call, *pairs, "rotate mixes rows of `batch`", "")) return {};
  if (!has_axis(x, *along, *call.args[0], call) || !has_axis(x, *pairs, *call.args[0], call)) return {};
  if (*along == *pairs) {
    fail(diagnostics_, Code::axes_disagree, call.args[2]->range, "rotate works along and pairs the same axis, " + ticked(program_.axis_name(*along)));
    return {};
  }
  const Axis& axis = model_.axis(*pairs);
  if (axis.size % 2 != 0 && program_.sizes_known) {
    fail(diagnostics_, Code::sizes_do_not_fit, call.args[2]->range, ticked(program_.axis_name(*pairs)) + " (" + std::to_string(axis.size) + ") is odd, and rotate turns pairs", "", "",
         {{ticked(program_.axis_name(*pairs)) + " is " + std::to_string(axis.size) + " here", axis.source}});
    return {};
  }
  Op result;
  result.kind = OpKind::rotate;
  if (call.args[3]) {
    std::optional<Scalar> theta = number(*call.args[3], call.frame, "theta");
    if (!theta) return {};
    result.theta = theta->number;
  }
  result.operands = {*x.op};
  result.axes = op(x).axes;
  result.along = along;
  result.contract = pairs;
  return tensor(add(std::move(result), call.expr.range, call.frame));
}

}  // namespace dsc::sema
