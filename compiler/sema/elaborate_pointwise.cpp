// Arithmetic, comparisons and reductions: values folded where they are numbers, losses kept apart, pending sums rounded.
#include <algorithm>

#include "compiler/sema/elaborate_call.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {

using syntax::Expr;

namespace {

OpKind arithmetic(const std::string& op) {
  if (op == "+") return OpKind::add;
  if (op == "-") return OpKind::subtract;
  if (op == "*") return OpKind::multiply;
  return op == "/" ? OpKind::divide : OpKind::power;
}

OpKind comparison(const std::string& op) {
  if (op == "<") return OpKind::less;
  if (op == "<=") return OpKind::less_equal;
  if (op == ">") return OpKind::greater;
  if (op == ">=") return OpKind::greater_equal;
  return op == "==" ? OpKind::equal : OpKind::not_equal;
}

bool has_all(const std::vector<AxisId>& axes, const std::vector<AxisId>& wanted) {
  return std::all_of(wanted.begin(), wanted.end(), [&](AxisId a) { return std::find(axes.begin(), axes.end(), a) != axes.end(); });
}

}  // namespace

// ---- operands

bool Elaborator::real_operand(Value& value, const Expr& at, bool round, const Call& call) {
  if (bad(value)) return false;
  if (!is_real_tensor(value)) {
    const bool integer = value.kind == Value::Kind::tensor && op(value).type == ValueType::integer;
    fail(diagnostics_, is_loss(value) ? Code::loss_arithmetic : Code::wrong_type, at.range, ticked(call.operation.name) + " wants a real tensor, and this is " + describe(value), "",
         integer ? "`real(...)` makes it real" : "");
    return false;
  }
  value = round ? rounded(value, at.range, call.frame) : settled(value, at.range, call.frame);
  return true;
}

bool Elaborator::integer_operand(const Value& value, const Expr& at, const Call& call) {
  if (bad(value)) return false;
  if (value.kind == Value::Kind::tensor && op(value).type == ValueType::integer) return true;
  fail(diagnostics_, Code::wrong_type, at.range, ticked(call.operation.name) + " wants indices, an int tensor, and this is " + describe(value));
  return false;
}

bool Elaborator::has_axis(const Value& value, AxisId axis, const Expr& at, const Call& call) {
  const std::vector<AxisId>& axes = op(value).axes;
  if (std::find(axes.begin(), axes.end(), axis) != axes.end()) return true;
  fail(diagnostics_, Code::axes_disagree, at.range, ticked(call.operation.name) + " works along " + ticked(program_.axis_name(axis)) + ", and this is " + describe(value),
       "lacks " + ticked(program_.axis_name(axis)));
  return false;
}

std::optional<Scalar> Elaborator::number(const Expr& expr, Frame& frame, const char* what) {
  Value value = eval(expr, frame);
  if (bad(value)) return std::nullopt;
  if (value.kind == Value::Kind::scalar) return value.scalar;
  fail(diagnostics_, Code::wrong_type, expr.range, ticked(what) + " is a number known when the file is checked, and this is " + describe(value));
  return std::nullopt;
}

bool Elaborator::whole_batch_error(const Call& call, AxisId axis, const std::string& what, const std::string& help) {
  if (axis != model_.batch) return false;
  fail(diagnostics_, Code::batch_mixed, call.expr.range, what, "micro-batches and data splits would change it", help);
  return true;
}

// ---- pointwise

Value Elaborator::pointwise(OpKind kind, std::vector<Value> operands, const Expr& expr, const Frame& frame, bool pending) {
  std::optional<std::size_t> widest;
  for (Value& value : operands)
    if (value.kind == Value::Kind::scalar) value = constant(value.scalar.number, expr.range, frame);
  for (std::size_t i = 0; i < operands.size() && !widest; ++i)
    if (std::all_of(operands.begin(), operands.end(), [&](const Value& other) { return has_all(op(operands[i]).axes, op(other).axes); })) widest = i;
  if (!widest) {
    std::vector<std::string> types;
    for (const Value& value : operands) types.push_back(describe(value));
    std::string missing;
    for (const Value& value : operands)
      for (AxisId axis : op(value).axes)
        if (!has_all(op(operands[0]).axes, {axis})) missing = program_.axis_name(axis);
    fail(diagnostics_, Code::needs_expand, expr.range, "the result of " + listed(types, "and") + " would have the axes of " + (operands.size() == 2 ? "neither" : "none of them"), "",
         missing.empty() ? "" : "where the larger tensor is meant, write `expand(..., " + missing + ")`");
    return {};
  }
  Op result;
  result.kind = kind;
  for (const Value& value : operands) result.operands.push_back(*value.op);
  result.axes = op(operands[*widest]).axes;
  return tensor(add(std::move(result), expr.range, frame), pending);
}

Value Elaborator::unary(OpKind kind, const Value& x, SourceRange at, const Frame& frame) {
  if (bad(x)) return x;
  const bool loss = is_loss(x);
  if (!is_real_tensor(x) && !(loss && kind == OpKind::negate)) {
    fail(diagnostics_, loss ? Code::loss_arithmetic : Code::wrong_type, at, std::string("this wants a real tensor, and has ") + describe(x), "",
         loss ? "a loss may be added to others and multiplied by numbers alone" : "");
    return {};
  }
  Op result;
  result.kind = kind;
  result.operands = {*x.op};
  result.axes = op(x).axes;
  result.type = op(x).type;
  return tensor(add(std::move(result), at, frame));
}

Value Elaborator::loss_sum(const std::string& op, const Value& a, const Value& b, const Expr& expr, const Frame& frame) {
  const bool sum = op == "+" || op == "-";
  const auto is_zero = [](const Value& v) { return v.kind == Value::Kind::scalar && v.scalar.number == 0; };
  if (sum && is_loss(a) && is_zero(b)) return a;
  if (sum && is_loss(b) && is_zero(a)) return op == "+" ? b : unary(OpKind::negate, b, expr.range, frame);
  const bool both = sum && is_loss(a) && is_loss(b);
  const bool factor = (op == "*" && (a.kind == Value::Kind::scalar || b.kind == Value::Kind::scalar)) || (op == "/" && b.kind == Value::Kind::scalar);
  if (!both && !factor) {
    fail(diagnostics_, Code::loss_arithmetic, expr.range, "this combines " + describe(a) + " and " + describe(b) + " by " + ticked(op), "",
         "a loss is a sum of loss terms with constant factors");
    return {};
  }
  Op result;
  result.kind = arithmetic(op);
  result.type = ValueType::loss;
  for (const Value* value : {&a, &b})
    result.operands.push_back(value->kind == Value::Kind::scalar ? *constant(value->scalar.number, expr.range, frame).op : *value->op);
  return tensor(add(std::move(result), expr.range, frame));
}

Value Elaborator::binary(const std::string& text, const Value& a, const Value& b, const Expr& expr, const Frame& frame) {
  if (bad(a) || bad(b)) return {};
  if (a.kind == Value::Kind::scalar && b.kind == Value::Kind::scalar) {
    std::optional<Scalar> value = fold(program_.folding(), text, a.scalar, b.scalar, expr.range);
    return value ? scalar(*value) : Value();
  }
  if (is_loss(a) || is_loss(b)) return loss_sum(text, a, b, expr, frame);
  for (std::size_t i = 0; i < 2; ++i) {
    const Value& x = i == 0 ? a : b;
    if (x.kind == Value::Kind::scalar || is_real_tensor(x)) continue;
    const bool integer = x.kind == Value::Kind::tensor && op(x).type == ValueType::integer;
    fail(diagnostics_, Code::wrong_type, expr.children[i].range, ticked(text) + " wants real operands, and this is " + describe(x), "",
         integer ? "`real(...)` makes it real" : "a comparison may stand only in `where` and `require`");
    return {};
  }
  const bool additive = text == "+" || text == "-";
  if (additive) return pointwise(arithmetic(text), {a, b}, expr, frame, a.pending || b.pending);
  return pointwise(arithmetic(text), {settled(a, expr.children[0].range, frame), settled(b, expr.children[1].range, frame)}, expr, frame, false);
}

Value Elaborator::compared(const std::string& text, const Value& a, const Value& b, const Expr& expr, const Frame& frame) {
  if (bad(a) || bad(b)) return {};
  if (a.kind == Value::Kind::scalar && b.kind == Value::Kind::scalar) {
    Value value;
    value.kind = Value::Kind::truth;
    value.truth = compare(text, a.scalar, b.scalar);
    return value;
  }
  std::vector<Value> operands = {a, b};
  for (std::size_t i = 0; i < 2; ++i) {
    Value& x = operands[i];
    if (x.kind == Value::Kind::scalar) continue;
    if (x.kind == Value::Kind::tensor && op(x).type == ValueType::integer) x = to_real(x, expr.range, frame);
    else if (is_real_tensor(x)) x = settled(x, expr.children[i].range, frame);
    else {
      fail(diagnostics_, is_loss(x) ? Code::loss_arithmetic : Code::wrong_type, expr.children[i].range, ticked(text) + " compares real tensors, and this is " + describe(x));
      return {};
    }
  }
  Value result = pointwise(comparison(text), operands, expr, frame, false);
  if (!bad(result)) model_.ops[result.op->index()].type = ValueType::boolean;
  return result;
}

Value Elaborator::to_real(const Value& x, SourceRange at, const Frame& frame) {
  Op result;
  result.kind = OpKind::to_real;
  result.operands = {*x.op};
  result.axes = op(x).axes;
  return tensor(add(std::move(result), at, frame));
}

Value Elaborator::where(const Call& call) {
  Value p = eval(*call.args[0], call.frame), x = eval(*call.args[1], call.frame), y = eval(*call.args[2], call.frame);
  if (bad(p) || bad(x) || bad(y)) return {};
  if (p.kind == Value::Kind::truth) return p.truth ? x : y;
  if (p.kind != Value::Kind::tensor || op(p).type != ValueType::boolean) {
    fail(diagnostics_, Code::wrong_type, call.args[0]->range, "the first operand of `where` is a comparison, and this is " + describe(p));
    return {};
  }
  for (std::size_t i = 1; i < 3; ++i) {
    Value& v = i == 1 ? x : y;
    if (v.kind != Value::Kind::scalar && !real_operand(v, *call.args[i], false, call)) return {};
  }
  return pointwise(OpKind::select, {p, x, y}, call.expr, call.frame, false);
}

Value Elaborator::stop_gradient(const Call& call) {
  Value x = eval(*call.args[0], call.frame);
  if (x.kind == Value::Kind::scalar) return x;
  if (!real_operand(x, *call.args[0], false, call)) return {};
  return view(OpKind::stop_gradient, x, op(x).axes, call, {});
}

Value Elaborator::function_of_one(const Call& call) {
  Value x = eval(*call.args[0], call.frame);
  if (bad(x)) return x;
  if (x.kind == Value::Kind::scalar) return scalar(*fold_function(call.operation.name, {x.scalar}));
  const bool integer = x.kind == Value::Kind::tensor && op(x).type == ValueType::integer;
  if (call.operation.kind == OpKind::to_real && integer) return to_real(x, call.expr.range, call.frame);
  if (!real_operand(x, *call.args[0], false, call)) return {};
  if (call.operation.kind == OpKind::to_real) return x;
  return unary(call.operation.kind, x, call.expr.range, call.frame);
}

Value Elaborator::greater_or_less(const Call& call, OpKind kind) {
  Value x = eval(*call.args[0], call.frame), y = eval(*call.args[1], call.frame);
  if (bad(x) || bad(y)) return {};
  if (x.kind == Value::Kind::scalar && y.kind == Value::Kind::scalar) return scalar(*fold_function(call.operation.name, {x.scalar, y.scalar}));
  for (std::size_t i = 0; i < 2; ++i) {
    Value& v = i == 0 ? x : y;
    if (v.kind != Value::Kind::scalar && !real_operand(v, *call.args[i], false, call)) return {};
  }
  return pointwise(kind, {x, y}, call.expr, call.frame, false);
}

// ---- reductions

Value Elaborator::reduce(OpKind kind, const Value& x, const std::vector<AxisId>& over, SourceRange at, const Frame& frame) {
  Op result;
  result.kind = kind;
  result.operands = {*x.op};
  result.over = over;
  for (AxisId axis : op(x).axes)
    if (std::find(over.begin(), over.end(), axis) == over.end()) result.axes.push_back(axis);
  return tensor(add(std::move(result), at, frame));
}

Value Elaborator::softmax(const Call& call, Value x, const std::vector<AxisId>& over) {
  const SourceRange at = call.expr.range;
  Value greatest = reduce(OpKind::max, x, over, at, call.frame);
  Value still = view(OpKind::stop_gradient, greatest, op(greatest).axes, call, {});
  Value shifted = pointwise(OpKind::subtract, {x, still}, call.expr, call.frame, false);
  Value powers = unary(OpKind::exp, shifted, at, call.frame);
  Value total = reduce(OpKind::sum, powers, over, at, call.frame);
  return pointwise(OpKind::divide, {powers, total}, call.expr, call.frame, false);
}

Value Elaborator::reduction(const Call& call) {
  const bool is_max = call.operation.kind == OpKind::max;
  const Expr* over_expr = is_max ? call.args[2] : call.args[1];
  if (is_max && call.args[1] && over_expr) {
    fail(diagnostics_, Code::too_many_arguments, call.args[1]->range, "`max` has either a second operand or `over`", "", "max(x, y) is pointwise, max(x, over: A) a reduction");
    return {};
  }
  if (is_max && call.args[1]) return greater_or_less(call, OpKind::maximum);
  if (!over_expr) {
    fail(diagnostics_, Code::missing_argument, call.expr.range, "`max` needs `over` or a second operand");
    return {};
  }
  Value x = eval(*call.args[0], call.frame);
  std::optional<std::vector<AxisId>> over = axes_of(*over_expr, call.frame);
  if (!real_operand(x, *call.args[0], false, call) || !over) return {};
  for (std::size_t i = 0; i < over->size(); ++i) {
    if (!has_axis(x, (*over)[i], *call.args[0], call)) return {};
    if (std::find(over->begin(), over->begin() + static_cast<std::ptrdiff_t>(i), (*over)[i]) == over->begin() + static_cast<std::ptrdiff_t>(i)) continue;
    fail(diagnostics_, Code::axis_repeated, over_expr->range, ticked(program_.axis_name((*over)[i])) + " stands twice in `over`");
    return {};
  }
  const bool batch = std::find(over->begin(), over->end(), model_.batch) != over->end();
  const bool mean = call.operation.kind == OpKind::mean;
  if (batch && !(mean && over->size() == op(x).axes.size())) {
    std::vector<std::string> all;
    for (AxisId axis : op(x).axes) all.push_back(program_.axis_name(axis));
    std::string axes;
    for (const std::string& name : all) axes += (axes.empty() ? "" : ", ") + name;
    whole_batch_error(call, model_.batch, ticked(call.operation.name) + " over `batch` mixes its rows", "only a loss term may: `mean(..., over: (" + axes + "))`");
    return {};
  }
  if (std::string_view(call.operation.name) == "softmax") return softmax(call, x, *over);
  Value result = reduce(call.operation.kind, x, *over, call.expr.range, call.frame);
  if (batch) model_.ops[result.op->index()].type = ValueType::loss;
  return result;
}

}  // namespace dsc::sema
