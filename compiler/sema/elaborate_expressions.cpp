// Expressions of a body: names, arithmetic, calls; and the building of ops with their rounding.
#include <algorithm>
#include <cmath>

#include "compiler/sema/elaborator.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {

using syntax::Expr;
using syntax::ExprKind;

// ---- names

const Binding* Elaborator::lookup(const Frame& frame, std::string_view name) const {
  if (auto it = frame.locals.find(name); it != frame.locals.end()) return &it->second;
  return program_.find(frame.instance, name);
}

std::vector<std::string> Elaborator::visible(const Frame& frame) const {
  std::vector<std::string> names = visible_names(program_, frame.instance);
  for (const auto& [name, binding] : frame.locals) names.emplace_back(name);
  return names;
}

std::optional<AxisId> Elaborator::axis_of(const Expr& expr, const Frame& frame) {
  if (expr.kind == ExprKind::name) {
    const Binding* binding = lookup(frame, expr.text);
    if (binding && binding->kind == Binding::Kind::axis) return binding->axis;
    std::vector<std::string> axes;
    for (const std::string& name : visible(frame))
      if (lookup(frame, name)->kind == Binding::Kind::axis) axes.push_back(name);
    fail(diagnostics_, Code::unknown_axis, expr.range, ticked(expr.text) + " is no axis here", "", suggestion(expr.text, axes));
    return std::nullopt;
  }
  fail(diagnostics_, Code::unknown_axis, expr.range, ticked(syntax::print(expr)) + " is no axis", "", "an axis is given by its name");
  return std::nullopt;
}

std::optional<std::vector<AxisId>> Elaborator::axes_of(const Expr& expr, const Frame& frame) {
  std::vector<AxisId> axes;
  std::vector<const Expr*> items;
  if (expr.kind == ExprKind::tuple || expr.kind == ExprKind::group)
    for (const Expr& child : expr.children) items.push_back(&child);
  else
    items.push_back(&expr);
  for (const Expr* item : items) {
    std::optional<AxisId> axis = axis_of(*item, frame);
    if (!axis) return std::nullopt;
    axes.push_back(*axis);
  }
  return axes;
}

Value Elaborator::named(const Expr& expr, Frame& frame) {
  const Binding* binding = lookup(frame, expr.text);
  if (!binding && expr.text == "pi") return scalar(Scalar::of(M_PI));
  if (!binding) {
    fail(diagnostics_, Code::unknown_name, expr.range, ticked(expr.text) + " stands for nothing here", "", suggestion(expr.text, visible(frame)));
    return {};
  }
  switch (binding->kind) {
    case Binding::Kind::value: return binding->value;
    case Binding::Kind::axis: return scalar(Scalar::of(model_.axis(*binding->axis).size));
    case Binding::Kind::scalar: return scalar(binding->scalar);
    case Binding::Kind::parameter: return parameter(*binding->parameter, expr.range, frame);
    default: break;
  }
  fail(diagnostics_, Code::wrong_kind_of_name, expr.range, ticked(expr.text) + " is " + (binding->kind == Binding::Kind::array ? "an array of instances" : "an instance") + ", not a value", "",
       "call it: `" + expr.text + "(...)`");
  return {};
}

// ---- expressions

Value Elaborator::eval(const Expr& expr, Frame& frame) {
  if (!may_evaluate(expr.range)) return {};
  ++depth_;
  Value value = evaluated(expr, frame);
  --depth_;
  return value;
}

std::vector<Value> Elaborator::eval_all(const Expr& expr, Frame& frame) {
  if (expr.kind != ExprKind::call) return {eval(expr, frame)};
  if (!may_evaluate(expr.range)) return {Value()};
  ++depth_;
  std::vector<Value> values = called(expr, frame);
  --depth_;
  return values;
}

Value Elaborator::evaluated(const Expr& expr, Frame& frame) {
  switch (expr.kind) {
    case ExprKind::integer: return scalar(Scalar::of(expr.integer));
    case ExprKind::real: return scalar(Scalar::of(expr.number));
    case ExprKind::name: return named(expr, frame);
    case ExprKind::quantity:
      fail(diagnostics_, Code::wrong_unit, expr.range, "a plain number is wanted here, without the unit " + ticked(expr.unit));
      return {};
    case ExprKind::call: {
      std::vector<Value> values = eval_all(expr, frame);
      if (values.size() == 1) return values[0];
      fail(diagnostics_, Code::result_count, expr.range, ticked(expr.text) + " returns " + std::to_string(values.size()) + " values, and one is wanted here", "",
           "assign them first: `a, b = " + expr.text + "(...)`");
      return {};
    }
    case ExprKind::unary: {
      Value x = eval(expr.children[0], frame);
      if (x.kind != Value::Kind::scalar) return unary(OpKind::negate, settled(x, expr.range, frame), expr.range, frame);
      std::optional<Scalar> value = fold(program_.folding(), "-", x.scalar.whole ? Scalar::of(std::int64_t{0}) : Scalar::of(-0.0), x.scalar, expr.range);
      return value ? scalar(*value) : Value();
    }
    case ExprKind::binary: {
      Value a = eval(expr.children[0], frame), b = eval(expr.children[1], frame);
      return binary(expr.text, a, b, expr, frame);
    }
    case ExprKind::compare: {
      Value a = eval(expr.children[0], frame), b = eval(expr.children[1], frame);
      return compared(expr.text, a, b, expr, frame);
    }
    case ExprKind::path:
      fail(diagnostics_, Code::wrong_kind_of_name, expr.range, ticked(expr.text) + " is no value here", "", "what belongs to an instance is reached by calling it");
      return {};
    default:
      fail(diagnostics_, Code::wrong_type, expr.range, ticked(syntax::print(expr)) + " is neither a tensor nor a number");
      return {};
  }
}

std::optional<int> Elaborator::element(const Expr& call, const Binding& binding, Frame& frame) {
  const syntax::Segment& segment = call.segments[0];
  if (binding.kind == Binding::Kind::instance && segment.index == syntax::IndexKind::none) return binding.instances[0];
  if (binding.kind == Binding::Kind::array && (segment.index == syntax::IndexKind::integer || segment.index == syntax::IndexKind::expression)) {
    Value index = eval(segment.bounds[0], frame);
    if (bad(index)) return std::nullopt;
    const auto count = static_cast<std::int64_t>(binding.instances.size());
    if (index.kind == Value::Kind::scalar && index.scalar.whole && index.scalar.integer >= 0 && index.scalar.integer < count)
      return binding.instances[index.scalar.integer];
    if (!program_.sizes_known) return binding.instances[0];
    fail(diagnostics_, Code::unknown_path, segment.range, ticked(segment.name.text) + " has the elements 0 to " + std::to_string(count - 1), "");
    return std::nullopt;
  }
  if (binding.kind == Binding::Kind::array)
    fail(diagnostics_, Code::wrong_kind_of_name, call.callee, ticked(segment.name.text) + " is an array of instances", "",
         "walk it with `repeat " + segment.name.text + " as element { ... }`, or index it");
  else
    fail(diagnostics_, Code::wrong_kind_of_name, call.callee, ticked(call.text) + (binding.kind == Binding::Kind::instance ? " is one instance, no array" : " cannot be called"));
  return std::nullopt;
}

std::vector<Value> Elaborator::called(const Expr& expr, Frame& frame) {
  const std::string& first = expr.segments.empty() ? expr.text : expr.segments[0].name.text;
  if (expr.segments.size() <= 1) {
    // Values and callees are two sets of names: `mean = mean(x, over: a)` is no clash.
    const Binding* binding = lookup(frame, first);
    const Operation* core = operation_named(first);
    if (binding && (binding->kind == Binding::Kind::instance || binding->kind == Binding::Kind::array || (!core && !callee_exists(program_.files, frame.file, first)))) {
      std::optional<int> instance = element(expr, *binding, frame);
      if (!instance) return {Value()};
      return call_instance(*instance, expr, frame);
    }
    if (core) return {operation(*core, expr, frame)};
  } else if (const Binding* binding = lookup(frame, first);
             binding && (binding->kind == Binding::Kind::instance || binding->kind == Binding::Kind::array)) {
    fail(diagnostics_, Code::wrong_kind_of_name, expr.callee, ticked(expr.text) + " belongs to another module", "", "call " + ticked(first) + " itself");
    return {Value()};
  }
  const auto more = [&] {
    std::vector<std::string> names;
    for (const Operation& core : operations()) names.emplace_back(core.name);
    for (const std::string& name : visible(frame))
      if (Binding::Kind kind = lookup(frame, name)->kind; kind == Binding::Kind::instance || kind == Binding::Kind::array) names.push_back(name);
    return names;
  };
  std::optional<Callee> callee = find_callee(program_.files, frame.file, expr, more, diagnostics_);
  if (!callee) return {Value()};
  if (callee->module) {
    fail(diagnostics_, Code::wrong_kind_of_name, expr.callee, ticked(expr.text) + " is a module, and is called through an instance", "",
         "declare `sub name = " + expr.text + "(...)`, and call `name(...)`", {{"declared here", callee->module->name.range}});
    return {Value()};
  }
  return run_function(*callee->function, callee->file, expr, frame);
}

// ---- ops and rounding

OpId Elaborator::add(Op op, SourceRange source, const Frame& frame) {
  op.scope = scope;
  op.segment = segment;
  op.source = source;
  if (op.name.empty()) op.name = frame.label;
  ++program_.work.operations;
  model_.ops.push_back(std::move(op));
  return OpId(model_.ops.size() - 1);
}

Value Elaborator::rounded(const Value& value, SourceRange source, const Frame& frame) {
  if (!is_real_tensor(value)) return value;
  if (op(value).rounded) return tensor(*value.op);
  Op round;
  round.kind = OpKind::round;
  round.operands = {*value.op};
  round.axes = op(value).axes;
  round.rounded = true;
  return tensor(add(std::move(round), source, frame));
}

Value Elaborator::parameter(ParameterId id, SourceRange source, const Frame& frame) {
  std::optional<OpId>& known = parameter_ops_[id.index()];
  if (!known) {
    Op op;
    op.kind = OpKind::parameter;
    op.parameter = id;
    op.axes = model_.parameter(id).axes;
    op.rounded = true;
    op.name = model_.parameter(id).path;
    known = add(std::move(op), source, frame);
  }
  return tensor(*known);
}

Value Elaborator::constant(double number, SourceRange source, const Frame& frame) {
  Op op;
  op.kind = OpKind::constant;
  op.number = number;
  return tensor(add(std::move(op), source, frame));
}

std::string Elaborator::describe(const Value& value) const {
  switch (value.kind) {
    case Value::Kind::scalar: return "the number " + str(value.scalar);
    case Value::Kind::truth: return "a comparison";
    case Value::Kind::error: return "unknown";
    case Value::Kind::tensor: break;
  }
  const Op& op = model_.op(*value.op);
  const std::string axes = type_text(model_, op.axes);
  if (op.type == ValueType::loss) return "a loss";
  if (op.type == ValueType::boolean) return "a comparison of " + axes;
  if (op.type == ValueType::integer) return "int" + axes;
  return op.axes.empty() ? "a real" : axes;
}

}  // namespace dsc::sema
