// Changes of shape: rename, slice, merge, unmerge, expand, concat.
#include <algorithm>

#include "compiler/sema/elaborate_call.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {

using syntax::Expr;
using syntax::ExprKind;

namespace {

bool has(const std::vector<AxisId>& axes, AxisId axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

}  // namespace

Value Elaborator::view(OpKind kind, const Value& x, std::vector<AxisId> axes, const Call& call, Op result) {
  result.kind = kind;
  result.operands = {*x.op};
  result.axes = std::move(axes);
  result.type = op(x).type;
  result.rounded = op(x).rounded;
  return tensor(add(std::move(result), call.expr.range, call.frame));
}

Value Elaborator::shape_operand(const Call& call) {
  Value x = eval(*call.args[0], call.frame);
  if (bad(x)) return x;
  if (x.kind != Value::Kind::tensor || (op(x).type != ValueType::real && op(x).type != ValueType::integer)) {
    fail(diagnostics_, Code::wrong_type, call.args[0]->range, ticked(call.operation.name) + " wants a tensor, and this is " + describe(x));
    return {};
  }
  return settled(x, call.args[0]->range, call.frame);
}

bool Elaborator::fresh_axis(const Call& call, const Value& x, AxisId axis, const Expr& at) {
  if (!has(op(x).axes, axis)) return true;
  fail(diagnostics_, Code::axis_repeated, at.range, describe(x) + " has " + ticked(program_.axis_name(axis)) + " already", "", ticked(call.operation.name) + " wants an axis that its operand lacks");
  return false;
}

Value Elaborator::reshape(const Call& call) {
  Value x = shape_operand(call);
  const Expr& arrow = *call.args[1];
  const bool merge_like = call.operation.kind == OpKind::merge, unmerge_like = call.operation.kind == OpKind::unmerge;
  if (arrow.kind != ExprKind::arrow) {
    const char* form = merge_like ? "`(a b) -> c`" : unmerge_like ? "`c -> (a b)`" : "`a -> b`";
    fail(diagnostics_, Code::wrong_type, arrow.range, ticked(call.operation.name) + " wants axes as " + form + ", and this is " + ticked(syntax::print(arrow)));
    return {};
  }
  if (bad(x)) return x;
  std::optional<std::vector<AxisId>> from = axes_of(arrow.children[0], call.frame), to = axes_of(arrow.children[1], call.frame);
  if (!from || !to) return {};
  for (const std::vector<AxisId>* axes : {&*from, &*to})
    for (AxisId axis : *axes)
      if (whole_batch_error(call, axis, ticked(call.operation.name) + " changes the axis `batch`", "")) return {};
  const std::size_t from_count = merge_like ? std::max<std::size_t>(2, from->size()) : 1, to_count = unmerge_like ? std::max<std::size_t>(2, to->size()) : 1;
  if (from->size() != from_count || to->size() != to_count) {
    fail(diagnostics_, Code::wrong_type, arrow.range, ticked(call.operation.name) + " cannot use " + ticked(syntax::print(arrow)), "",
         merge_like ? "write `(a b) -> c`" : unmerge_like ? "write `c -> (a b)`" : "write `a -> b`");
    return {};
  }
  for (std::size_t i = 0; i < from->size(); ++i)
    if (!has_axis(x, (*from)[i], *call.args[0], call)) return {};
  for (AxisId axis : *to)
    if (!fresh_axis(call, x, axis, arrow)) return {};
  if (merge_like) return merge(call, x, *from, (*to)[0]);
  if (unmerge_like) return unmerge(call, x, (*from)[0], *to);
  return rename_or_slice(call, x, (*from)[0], (*to)[0]);
}

Value Elaborator::rename_or_slice(const Call& call, const Value& x, AxisId from, AxisId to) {
  const std::int64_t whole = model_.axis(from).size, part = model_.axis(to).size;
  const std::vector<Note> notes = {{ticked(program_.axis_name(from)) + " is " + std::to_string(whole) + " here", model_.axis(from).source},
                                   {ticked(program_.axis_name(to)) + " is " + std::to_string(part) + " here", model_.axis(to).source}};
  Op result;
  result.from = from;
  result.to = to;
  if (call.operation.kind == OpKind::rename && whole != part && program_.sizes_known) {
    fail(diagnostics_, Code::sizes_do_not_fit, call.args[1]->range, "rename from " + ticked(program_.axis_name(from)) + " (" + std::to_string(whole) + ") to " +
             ticked(program_.axis_name(to)) + " (" + std::to_string(part) + ")", "the sizes differ", "", notes);
    return {};
  }
  if (call.operation.kind == OpKind::slice) {
    std::optional<Scalar> offset = number(*call.args[2], call.frame, "from");
    if (!offset) return {};
    const bool fits = offset->whole && offset->integer >= 0 && offset->integer <= whole - part;
    if (!fits && program_.sizes_known) {
      fail(diagnostics_, Code::sizes_do_not_fit, call.expr.range, "elements " + str(*offset) + " to " + std::to_string((offset->whole ? offset->integer : 0) + part - 1) + " of " +
               ticked(program_.axis_name(from)) + ", which has " + std::to_string(whole), "", "", notes);
      return {};
    }
    result.offset = fits ? offset->integer : 0;
  }
  std::vector<AxisId> axes = op(x).axes;
  std::replace(axes.begin(), axes.end(), from, to);
  return view(call.operation.kind, x, std::move(axes), call, std::move(result));
}

bool Elaborator::declared_product(const Call& call, AxisId whole, const std::vector<AxisId>& factors) {
  const std::vector<std::vector<AxisId>>& products = model_.axis(whole).products;
  if (std::find(products.begin(), products.end(), factors) != products.end()) return true;
  std::string text;
  for (AxisId axis : factors) text += (text.empty() ? "" : " * ") + program_.axis_name(axis);
  fail(diagnostics_, Code::not_a_product, call.args[1]->range, ticked(program_.axis_name(whole)) + " is not declared as the product " + text, "",
       "declare it in the module: `product " + program_.axis_name(whole) + " = " + text + "`");
  return false;
}

Value Elaborator::merge(const Call& call, const Value& x, const std::vector<AxisId>& factors, AxisId to) {
  if (!declared_product(call, to, factors)) return {};
  std::vector<AxisId> axes;
  for (AxisId axis : op(x).axes) {
    if (axis == factors[0]) axes.push_back(to);
    else if (!has(factors, axis)) axes.push_back(axis);
  }
  Op result;
  result.factors = factors;
  result.to = to;
  return view(OpKind::merge, x, std::move(axes), call, std::move(result));
}

Value Elaborator::unmerge(const Call& call, const Value& x, AxisId from, const std::vector<AxisId>& factors) {
  if (!declared_product(call, from, factors)) return {};
  std::vector<AxisId> axes;
  for (AxisId axis : op(x).axes) {
    if (axis == from) axes.insert(axes.end(), factors.begin(), factors.end());
    else axes.push_back(axis);
  }
  Op result;
  result.factors = factors;
  result.from = from;
  return view(OpKind::unmerge, x, std::move(axes), call, std::move(result));
}

Value Elaborator::expand(const Call& call) {
  Value x = eval(*call.args[0], call.frame);
  if (x.kind == Value::Kind::scalar) x = constant(x.scalar.number, call.args[0]->range, call.frame);
  else if (!bad(x) && !real_operand(x, *call.args[0], false, call)) x = {};
  std::optional<AxisId> axis = axis_of(*call.args[1], call.frame);
  if (bad(x) || !axis || !fresh_axis(call, x, *axis, *call.args[1])) return {};
  std::vector<AxisId> axes = {*axis};
  axes.insert(axes.end(), op(x).axes.begin(), op(x).axes.end());
  Op result;
  result.to = axis;
  return view(OpKind::expand, x, std::move(axes), call, std::move(result));
}

Value Elaborator::concat(const Call& call) {
  Value x = eval(*call.args[0], call.frame), y = eval(*call.args[1], call.frame);
  const bool ok = real_operand(x, *call.args[0], false, call) & real_operand(y, *call.args[1], false, call);
  const Expr& arrow = *call.args[2];
  if (arrow.kind != ExprKind::arrow || arrow.children[0].children.size() != 2) {
    fail(diagnostics_, Code::wrong_type, arrow.range, "concat wants axes as `(a b) -> c`, and this is " + ticked(syntax::print(arrow)));
    return {};
  }
  std::optional<std::vector<AxisId>> parts = axes_of(arrow.children[0], call.frame);
  std::optional<AxisId> to = axis_of(arrow.children[1], call.frame);
  if (!ok || !parts || !to) return {};
  const AxisId first = (*parts)[0], second = (*parts)[1];
  for (AxisId axis : {first, second, *to})
    if (whole_batch_error(call, axis, "concat changes the axis `batch`", "")) return {};
  if (!has_axis(x, first, *call.args[0], call) || !has_axis(y, second, *call.args[1], call)) return {};
  std::vector<AxisId> axes = op(x).axes, others = axes, others_y = op(y).axes;
  std::erase(others, first);
  std::erase(others_y, second);
  std::sort(others.begin(), others.end());
  std::sort(others_y.begin(), others_y.end());
  if (others != others_y || has(others, *to)) {
    fail(diagnostics_, Code::axes_disagree, call.expr.range, "concat of " + describe(x) + " and " + describe(y), "", "apart from the axes that are joined, both operands have the same");
    return {};
  }
  const std::int64_t a = model_.axis(first).size, b = model_.axis(second).size, c = model_.axis(*to).size;
  if (a + b != c && program_.sizes_known) {
    fail(diagnostics_, Code::sizes_do_not_fit, arrow.range, ticked(program_.axis_name(*to)) + " is " + std::to_string(c) + ", and " + std::to_string(a) + " + " + std::to_string(b) + " is " + std::to_string(a + b), "", "",
         {{ticked(program_.axis_name(*to)) + " is " + std::to_string(c) + " here", model_.axis(*to).source}});
    return {};
  }
  std::replace(axes.begin(), axes.end(), first, *to);
  Op result;
  result.kind = OpKind::concat;
  result.operands = {*x.op, *y.op};
  result.axes = std::move(axes);
  result.from = first;
  result.second = second;
  result.to = to;
  return tensor(add(std::move(result), call.expr.range, call.frame));
}

}  // namespace dsc::sema
