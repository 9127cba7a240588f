#include "compiler/sema/elaborate.h"

#include <algorithm>
#include <utility>

#include "compiler/sema/elaborator.h"
#include "compiler/sema/text.h"

namespace dsc::sema {

using syntax::Expr;
using syntax::Statement;
using syntax::StatementKind;

namespace {

std::string label_of(const std::string& prefix, const std::string& name) { return prefix.empty() ? name : prefix + "." + name; }

std::vector<Value> errors(std::size_t count) { return std::vector<Value>(count); }

std::vector<AxisId> without(const std::vector<AxisId>& axes, const std::vector<AxisId>& remove) {
  std::vector<AxisId> left;
  for (AxisId axis : axes)
    if (std::find(remove.begin(), remove.end(), axis) == remove.end()) left.push_back(axis);
  return left;
}

bool same_set(std::vector<AxisId> a, std::vector<AxisId> b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
}

}  // namespace

// ---- signatures

std::optional<std::vector<AxisId>> Elaborator::declared_axes(const Instance& instance, const syntax::Type& type) {
  std::vector<AxisId> axes;
  for (const syntax::Name& name : type.axes) {
    const Binding* binding = nullptr;
    if (auto it = instance.names.find(name.text); it != instance.names.end()) binding = &it->second;
    else if (auto builtin = program_.builtins.find(name.text); builtin != program_.builtins.end()) binding = &builtin->second;
    if (!binding || binding->kind != Binding::Kind::axis) {
      std::vector<std::string> candidates = {"batch", "seq"};
      for (const auto& [text, candidate] : instance.names)
        if (candidate.kind == Binding::Kind::axis) candidates.emplace_back(text);
      fail(diagnostics_, Code::unknown_axis, name.range, ticked(name.text) + " is no axis here", "", suggestion(name.text, candidates));
      return std::nullopt;
    }
    if (std::find(axes.begin(), axes.end(), *binding->axis) != axes.end()) {
      fail(diagnostics_, Code::axis_repeated, name.range, ticked(name.text) + " stands twice in this type", "", "",
           {{"the axis comes from here", model_.axis(*binding->axis).source}});
      return std::nullopt;
    }
    axes.push_back(*binding->axis);
  }
  return axes;
}

bool Elaborator::check_axes(const std::vector<AxisId>& declared, bool open, const std::vector<AxisId>& actual, Others& others,
                            std::string& complaint) const {
  const std::vector<AxisId> missing = without(declared, actual), extra = without(actual, declared);
  const auto names = [&](const std::vector<AxisId>& axes) {
    std::vector<std::string> texts;
    for (AxisId axis : axes) texts.push_back(ticked(program_.axis_name(axis)));
    return listed(texts, "and");
  };
  if (!missing.empty()) complaint = "lacks " + names(missing);
  if (!extra.empty() && !open) complaint += (complaint.empty() ? "also has " : ", also has ") + names(extra);
  if (!complaint.empty()) return false;
  if (!open) return true;
  if (others.axes && !same_set(*others.axes, extra)) {
    complaint = "`...` is " + type_text(model_, *others.axes) + " elsewhere in this signature";
    return false;
  }
  others.axes = extra;
  return true;
}

namespace {

const char* word(syntax::TypeKind kind) {
  return kind == syntax::TypeKind::real ? "real" : kind == syntax::TypeKind::integer ? "int" : "loss";
}

ValueType type_of(syntax::TypeKind kind) {
  return kind == syntax::TypeKind::real ? ValueType::real : kind == syntax::TypeKind::integer ? ValueType::integer : ValueType::loss;
}

std::string declared_text(const syntax::Type& type, const std::vector<AxisId>& axes, const Model& model) {
  if (!type.tensor) return word(type.kind);
  std::string text = type_text(model, axes);
  if (type.others) {
    std::string inner = text.substr(1, text.size() - 2);
    text = inner.empty() ? "[...]" : *type.others == 0 ? "[..., " + inner + "]" : "[" + inner + ", ...]";
  }
  return (type.kind == syntax::TypeKind::integer ? "int" : "") + text;
}

}  // namespace

Value Elaborator::checked_input(const Frame& frame, const syntax::Input& input, const Value& given, SourceRange place, Others& others) {
  const Instance& instance = program_.instances[frame.instance];
  std::optional<std::vector<AxisId>> declared = declared_axes(instance, input.type);
  if (!declared || bad(given)) return {};
  Value value = given;
  if (value.kind == Value::Kind::scalar && input.type.kind == syntax::TypeKind::real && declared->empty() && !input.type.others)
    value = rounded(constant(value.scalar.number, place, frame), place, frame);
  const std::string wanted = declared_text(input.type, *declared, model_);
  if (value.kind != Value::Kind::tensor || op(value).type != type_of(input.type.kind)) {
    fail(diagnostics_, Code::wrong_type, place, ticked(input.name.text) + " of " + ticked(instance.module->name.text) + " is " + wanted + ", and this is " + describe(value),
         "", input.type.kind == syntax::TypeKind::real && value.kind == Value::Kind::tensor && op(value).type == ValueType::integer ? "`real(...)` makes it real" : "", {{"declared here", input.range}});
    return {};
  }
  std::string complaint;
  if (!check_axes(*declared, input.type.others.has_value(), op(value).axes, others, complaint)) {
    fail(diagnostics_, Code::axes_disagree, place, ticked(input.name.text) + " of " + ticked(instance.module->name.text) + " is " + wanted + ", and this is " + describe(value),
         complaint, "", {{"declared here", input.range}});
    return {};
  }
  return value;
}

Value Elaborator::checked_result(const Frame& frame, const syntax::Type& type, const Value& given, SourceRange place, Others& others) {
  const Instance& instance = program_.instances[frame.instance];
  std::optional<std::vector<AxisId>> declared = declared_axes(instance, type);
  if (!declared) return {};
  for (std::size_t i = 0; i < declared->size(); ++i)
    if (std::find(instance.made.begin(), instance.made.end(), (*declared)[i]) != instance.made.end()) {
      fail(diagnostics_, Code::made_axis_in_result, type.axes[i].range, "axis " + ticked(type.axes[i].text) + " belongs to the instance, and stands in its result",
           "", "take it as a formal, `axis " + type.axes[i].text + "`, so that the caller has it too", {{"made here", model_.axis((*declared)[i]).source}});
      return {};
    }
  if (bad(given)) return {};
  Value value = given;
  const std::string wanted = declared_text(type, *declared, model_);
  const bool scalar_result = value.kind == Value::Kind::scalar && !type.tensor && type.kind == syntax::TypeKind::real;
  if (scalar_result) value = constant(value.scalar.number, place, frame);
  if (value.kind != Value::Kind::tensor || op(value).type != type_of(type.kind)) {
    fail(diagnostics_, Code::wrong_type, place, "forward of " + ticked(instance.module->name.text) + " returns " + wanted + ", and this is " + describe(value), "", "",
         {{"declared here", type.range}});
    return {};
  }
  std::string complaint;
  if (!check_axes(*declared, type.others.has_value(), op(value).axes, others, complaint)) {
    fail(diagnostics_, Code::axes_disagree, place, "forward of " + ticked(instance.module->name.text) + " returns " + wanted + ", and this is " + describe(value), complaint, "",
         {{"declared here", type.range}});
    return {};
  }
  return rounded(value, place, frame);
}

// ---- bodies

std::vector<Value> Elaborator::run_instance(int index, const std::vector<Value>& arguments, const std::vector<SourceRange>& places) {
  const Instance& instance = program_.instances[index];
  if (instance.module->forwards.empty()) return errors(1);
  const syntax::Forward& forward = instance.module->forwards[0];
  Frame frame;
  frame.instance = index;
  frame.file = instance.file;
  frame.prefix = instance.path;
  Others others;
  for (std::size_t i = 0; i < forward.inputs.size(); ++i) {
    Binding binding;
    binding.value = checked_input(frame, forward.inputs[i], arguments[i], places[i], others);
    frame.locals.insert_or_assign(forward.inputs[i].name.text, binding);
  }
  std::vector<Value> results;
  std::vector<SourceRange> ranges;
  run_body(forward.body, frame, results, ranges);
  if (results.empty()) return errors(forward.results.size());
  if (results.size() != forward.results.size()) {
    fail(diagnostics_, Code::result_count, forward.body.back().range,
         "this returns " + counted(static_cast<std::int64_t>(results.size()), "value") + ", and forward declares " + std::to_string(forward.results.size()), "", "",
         {{"declared here", forward.signature}});
    return errors(forward.results.size());
  }
  for (std::size_t i = 0; i < results.size(); ++i) results[i] = checked_result(frame, forward.results[i], results[i], ranges[i], others);
  return results;
}

void Elaborator::run_body(const std::vector<Statement>& body, Frame& frame, std::vector<Value>& results, std::vector<SourceRange>& places) {
  for (const Statement& statement : body) {
    if (statement.kind == StatementKind::assign) assign(statement, frame);
    if (statement.kind == StatementKind::repeat) repeat(statement, frame);
    if (statement.kind != StatementKind::give) continue;
    if (!frame.in_function()) frame.label = frame.prefix.empty() ? "loss" : frame.prefix;
    for (const Expr& value : statement.values)
      for (const Value& result : eval_all(value, frame)) {
        results.push_back(result);
        places.push_back(value.range);
      }
    return;
  }
}

void Elaborator::assign(const Statement& statement, Frame& frame) {
  const Expr& expr = statement.values[0];
  if (!frame.in_function()) frame.label = label_of(frame.prefix, statement.targets[0].text);
  std::vector<Value> values = eval_all(expr, frame);
  if (values.size() != statement.targets.size()) {
    fail(diagnostics_, Code::result_count, expr.range,
         "this gives " + counted(static_cast<std::int64_t>(values.size()), "value") + ", and " + counted(static_cast<std::int64_t>(statement.targets.size()), "name") +
             (statement.targets.size() == 1 ? " is" : " are") + " assigned");
    values = errors(statement.targets.size());
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    Binding binding;
    binding.value = values[i];
    const bool truth = values[i].kind == Value::Kind::truth || (values[i].kind == Value::Kind::tensor && op(values[i]).type == ValueType::boolean);
    if (truth) {
      fail(diagnostics_, Code::wrong_type, expr.range, "a comparison may stand only in `where` and `require`", "", "write it inside `where(...)`");
      binding.value = {};
    } else if (!frame.in_function()) {
      frame.label = label_of(frame.prefix, statement.targets[i].text);
      binding.value = rounded(values[i], expr.range, frame);
    }
    frame.locals.insert_or_assign(statement.targets[i].text, binding);
  }
}

void Elaborator::repeat(const Statement& statement, Frame& frame) {
  if (frame.in_function()) {
    fail(diagnostics_, Code::not_in_a_function, statement.range, "a function cannot hold `repeat`", "", "write a module");
    return;
  }
  std::vector<Binding> arrays;
  for (const syntax::Name& name : statement.arrays) {
    const Binding* binding = lookup(frame, name.text);
    if (!binding) {
      fail(diagnostics_, Code::unknown_name, name.range, ticked(name.text) + " stands for nothing here", "", suggestion(name.text, visible(frame)));
      return;
    }
    if (binding->kind != Binding::Kind::array) {
      fail(diagnostics_, Code::wrong_kind_of_name, name.range, ticked(name.text) + " is no array of instances", "", "declare it with `sub " + name.text + "[axis] = ...`");
      return;
    }
    if (!arrays.empty() && arrays[0].axis != binding->axis) {
      fail(diagnostics_, Code::arrays_differ, name.range, ticked(name.text) + " is over " + ticked(program_.axis_name(*binding->axis)) + ", and " +
               ticked(statement.arrays[0].text) + " over " + ticked(program_.axis_name(*arrays[0].axis)));
      return;
    }
    arrays.push_back(*binding);
  }
  const int outer = scope;
  const std::size_t reported = diagnostics_.list().size();
  ++depth_;
  for (std::size_t i = 0; i < arrays[0].instances.size() && may_expand(statement.range); ++i) {
    scope = static_cast<int>(model_.scopes.size());
    model_.scopes.push_back({outer, static_cast<int>(i)});
    const Names before = i == 0 ? frame.locals : Names();
    for (std::size_t k = 0; k < arrays.size(); ++k) {
      Binding binding;
      binding.kind = Binding::Kind::instance;
      binding.instances = {arrays[k].instances[i]};
      frame.locals.insert_or_assign(statement.targets[k].text, binding);
    }
    std::vector<Value> none;
    std::vector<SourceRange> nowhere;
    run_body(statement.body, frame, none, nowhere);
    if (i == 0) check_carries(statement.body, before, frame);
    if (diagnostics_.list().size() != reported) break;
  }
  --depth_;
  for (const syntax::Name& target : statement.targets) frame.locals.erase(target.text);
  scope = outer;
}

void Elaborator::check_carries(const std::vector<Statement>& body, const Names& before, const Frame& frame) {
  for (const Statement& statement : body) {
    if (statement.kind == StatementKind::repeat) check_carries(statement.body, before, frame);
    if (statement.kind != StatementKind::assign) continue;
    for (const syntax::Name& target : statement.targets) {
      auto old = before.find(target.text);
      if (old == before.end() || old->second.kind != Binding::Kind::value) continue;
      const Value& was = old->second.value;
      const Value& is = frame.locals.at(target.text).value;
      if (bad(was) || bad(is)) continue;
      const bool from_zero = was.kind == Value::Kind::scalar && was.scalar.number == 0 && is_loss(is);
      const bool both_scalars = was.kind == Value::Kind::scalar && is.kind == Value::Kind::scalar;
      const bool same = was.kind == Value::Kind::tensor && is.kind == Value::Kind::tensor && op(was).type == op(is).type && same_set(op(was).axes, op(is).axes);
      if (from_zero || both_scalars || same) continue;
      fail(diagnostics_, Code::carry_changes, target.range, ticked(target.text) + " is " + describe(was) + " when an iteration begins, and " + describe(is) + " when it ends", "",
           "what a `repeat` carries keeps its type; name the result differently, or bring it back to the same axes");
    }
  }
}

// ---- calls

bool Elaborator::too_large(SourceRange at, const char* what, const char* help) {
  if (!std::exchange(program_.work.spent, true)) fail(diagnostics_, Code::too_large, at, what, "", help);
  return false;
}

bool Elaborator::may_expand(SourceRange at) {
  if (!program_.goes_on()) return false;
  if (++program_.work.calls <= 100'000) return true;
  return too_large(at, "the model expands to more than 100,000 calls", "functions and instances are expanded wherever they are called");
}

bool Elaborator::may_evaluate(SourceRange at) {
  constexpr const char* help = "functions and instances are expanded wherever they are called, and `repeat` for every element";
  if (!program_.goes_on()) return false;
  if (depth_ >= 400) return too_large(at, "the model expands to expressions that are more than 400 deep in each other", help);
  if (++program_.work.expressions > 10'000'000) return too_large(at, "the model expands to more than 10,000,000 expressions", help);
  if (program_.work.operations > 1'000'000) return too_large(at, "the model expands to more than 1,000,000 operations", help);
  return true;
}

std::vector<Value> Elaborator::call_instance(int index, const Expr& call, Frame& frame) {
  const Instance& instance = program_.instances[index];
  if (instance.module->forwards.empty()) return errors(1);
  const syntax::Forward& forward = instance.module->forwards[0];
  std::vector<ArgumentSpec> specs;
  for (const syntax::Input& input : forward.inputs) specs.push_back({input.name.text});
  auto given = match_arguments(call, specs, call.text, diagnostics_);
  if (!given || !may_expand(call.range)) return errors(forward.results.size());
  std::vector<Value> values;
  std::vector<SourceRange> places;
  for (const Expr* argument : *given) {
    values.push_back(rounded(eval(*argument, frame), argument->range, frame));
    places.push_back(argument->range);
  }
  if (frame.instance == 0) ++segment;
  return run_instance(index, values, places);
}

std::vector<Value> Elaborator::run_function(const syntax::Function& function, std::size_t file, const Expr& call, Frame& caller) {
  if (std::find(active_.begin(), active_.end(), &function) != active_.end()) {
    fail(diagnostics_, Code::endless_recursion, call.callee, "function " + ticked(function.name.text) + " calls itself", "", "functions are expanded, so none may contain itself",
         {{"declared here", function.name.range}});
    return errors(1);
  }
  std::vector<ArgumentSpec> specs;
  for (const syntax::Formal& formal : function.formals) specs.push_back({formal.name.text, !formal.fallback});
  auto given = match_arguments(call, specs, function.name.text, diagnostics_);
  if (!given || !may_expand(call.range)) return errors(1);
  program_.called.insert(&function);
  Frame frame;
  frame.file = file;
  frame.label = caller.label;
  bool ok = true;
  for (std::size_t i = 0; i < function.formals.size(); ++i) {
    const syntax::Formal& formal = function.formals[i];
    const Expr& expr = (*given)[i] ? *(*given)[i] : *formal.fallback;
    Frame& where = (*given)[i] ? caller : frame;
    Binding binding;
    if (formal.kind == syntax::FormalKind::axis) {
      binding.kind = Binding::Kind::axis;
      binding.axis = axis_of(expr, where);
      if (!binding.axis) return errors(1);
    } else {
      Value value = eval(expr, where);
      if (formal.kind == syntax::FormalKind::tensor) {
        binding.value = caller.in_function() ? value : rounded(value, expr.range, caller);
        ok = ok && !bad(value);
      } else {
        binding.kind = Binding::Kind::scalar;
        binding.scalar = formal.kind == syntax::FormalKind::real ? Scalar::of(value.scalar.number) : value.scalar;
        const bool fits = value.kind == Value::Kind::scalar && (formal.kind == syntax::FormalKind::real || value.scalar.whole);
        if (!fits && !bad(value))
          fail(diagnostics_, Code::wrong_type, expr.range, ticked(formal.name.text) + " of " + ticked(function.name.text) + " is " +
                   (formal.kind == syntax::FormalKind::real ? "a real" : "an int") + ", and this is " + describe(value), "", "", {{"declared here", formal.range}});
        ok = ok && fits;
      }
    }
    frame.locals.insert_or_assign(formal.name.text, binding);
  }
  if (!ok) return errors(1);
  active_.push_back(&function);
  std::vector<Value> results;
  std::vector<SourceRange> places;
  run_body(function.body, frame, results, places);
  active_.pop_back();
  return results.empty() ? errors(1) : results;
}

// ---- modules and functions by themselves

Value Elaborator::made_up_input(const Instance& instance, const syntax::Input& input) {
  std::optional<std::vector<AxisId>> axes = declared_axes(instance, input.type);
  if (!axes) return {};
  if (input.type.others)
    for (AxisId axis : {model_.seq, model_.batch})
      if (std::find(axes->begin(), axes->end(), axis) == axes->end()) axes->insert(axes->begin(), axis);
  Frame frame;
  Op op;
  op.kind = input.type.kind == syntax::TypeKind::real ? OpKind::round : input.type.kind == syntax::TypeKind::integer ? OpKind::tokens : OpKind::cross_entropy;
  op.type = type_of(input.type.kind);
  op.rounded = op.type == ValueType::real;
  op.axes = *axes;
  return tensor(add(op, input.range, frame));
}

void Elaborator::run_function_alone(const syntax::Function& function, std::size_t file) {
  Frame frame;
  frame.file = file;
  std::vector<AxisId> axes = {model_.batch, model_.seq};
  for (const syntax::Formal& formal : function.formals) {
    if (formal.kind != syntax::FormalKind::axis) continue;
    Binding binding;
    binding.kind = Binding::Kind::axis;
    binding.axis = AxisId(model_.axes.size());
    model_.axes.push_back({formal.name.text, 1, formal.range, false, {}});
    axes.push_back(*binding.axis);
    frame.locals.insert_or_assign(formal.name.text, binding);
  }
  for (const syntax::Formal& formal : function.formals) {
    if (formal.kind == syntax::FormalKind::axis) continue;
    Binding binding;
    if (formal.kind == syntax::FormalKind::tensor) {
      Op op;
      op.kind = OpKind::round;
      op.axes = axes;
      binding.value = tensor(add(op, formal.range, frame));
    } else {
      binding.kind = Binding::Kind::scalar;
      binding.scalar = formal.kind == syntax::FormalKind::real ? Scalar::of(1.0) : Scalar::of(std::int64_t{1});
    }
    frame.locals.insert_or_assign(formal.name.text, binding);
  }
  active_.push_back(&function);
  std::vector<Value> results;
  std::vector<SourceRange> places;
  run_body(function.body, frame, results, places);
  active_.pop_back();
}

}  // namespace dsc::sema
