#include <algorithm>
#include <utility>

#include "compiler/sema/arguments.h"
#include "compiler/sema/program.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {
namespace {

using syntax::Expr;
using syntax::ExprKind;
using syntax::FormalKind;

constexpr std::int64_t kMaxAxis = (std::int64_t{1} << 31) - 1;
constexpr std::int64_t kMaxInstances = 65536;
constexpr std::size_t kMaxDepth = 256;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 62;

class Instantiator {
 public:
  explicit Instantiator(Program& program) : program_(program), diagnostics_(program.diagnostics) {}

  // `call` null: every formal gets a made-up value.
  std::optional<int> run(const syntax::Module& module, std::size_t file, const Expr* call, int caller, const std::string& path,
                         const std::string& generic) {
    if (std::find(active_.begin(), active_.end(), &module) != active_.end()) {
      fail(diagnostics_, Code::endless_recursion, call->callee, "module " + ticked(module.name.text) + " contains itself", "",
           "an instance holds its own instances, so the chain of modules must end", {{"declared here", module.name.range}});
      return std::nullopt;
    }
    if (active_.size() >= kMaxDepth) return too_large(call->range, "instances stand in each other more than 256 deep", "let fewer modules contain each other");
    if (program_.work.instances >= kMaxInstances) return too_large(call ? call->range : module.name.range, "the model has more than 65,536 instances", "make the array over a shorter axis");
    ++program_.work.instances;
    const int index = static_cast<int>(program_.instances.size());
    Instance& instance = program_.instances.emplace_back();
    instance.module = &module;
    instance.file = file;
    instance.path = path;
    instance.generic = generic;
    program_.used.insert(&module);
    active_.push_back(&module);
    bool ok = call ? bind_formals(index, *call, caller) : make_up_formals(index);
    if (ok) ok = declare_items(index);
    active_.pop_back();
    return ok ? std::optional<int>(index) : std::nullopt;
  }

 private:
  std::nullopt_t too_large(SourceRange range, const char* what, const char* help) {
    if (!std::exchange(program_.work.spent, true)) fail(diagnostics_, Code::too_large, range, what, "", help);
    return std::nullopt;
  }

  static std::string join(const std::string& path, const std::string& name) { return path.empty() ? name : path + "." + name; }

  std::optional<AxisId> make_axis(Instance& instance, const std::string& name, const Scalar& size, SourceRange source, bool internal) {
    const std::string path = join(instance.generic, name);
    std::optional<AxisId> axis;
    if (auto old = program_.made.find(path); old != program_.made.end()) {
      axis = old->second;
    } else {
      const bool made_up = !program_.sizes_known && size.whole;
      if (!made_up && (!size.whole || size.integer < 1 || size.integer > kMaxAxis)) {
        fail(diagnostics_, Code::bad_axis_size, source, "axis " + ticked(name) + " cannot have the size " + str(size), "",
             "a size is a whole number from 1 to 2,147,483,647");
        return std::nullopt;
      }
      axis = AxisId(program_.model.axes.size());
      program_.model.axes.push_back({path, made_up ? 1 : size.integer, source, false, {}});
      program_.made.emplace(path, *axis);
    }
    if (internal) instance.made.push_back(*axis);
    return axis;
  }

  bool bind_axis(int index, const syntax::Formal& formal, const Expr& value, int where, bool fallback) {
    Instance& instance = program_.instances[index];
    Binding binding;
    binding.kind = Binding::Kind::axis;
    if (!fallback && value.kind == ExprKind::name && where >= 0) {
      if (const Binding* given = program_.find(where, value.text); given && given->kind == Binding::Kind::axis) binding.axis = given->axis;
    }
    if (!binding.axis) {
      std::optional<Scalar> size = evaluate(value, scalar_names(program_, where), program_.folding());
      if (size) binding.axis = make_axis(instance, formal.name.text, *size, value.range, index != 0);
    }
    if (!binding.axis) return false;
    instance.names.insert_or_assign(formal.name.text, binding);
    return true;
  }

  bool bind_scalar(int index, const syntax::Formal& formal, const Expr& value, int where) {
    std::optional<Scalar> number = evaluate(value, scalar_names(program_, where), program_.folding());
    if (!number) return false;
    if (formal.kind == FormalKind::integer && !number->whole) {
      fail(diagnostics_, Code::wrong_type, value.range, ticked(formal.name.text) + " is an int, and this is " + str(*number));
      return false;
    }
    Binding binding;
    binding.kind = Binding::Kind::scalar;
    binding.scalar = formal.kind == FormalKind::real ? Scalar::of(number->number) : *number;
    program_.instances[index].names.insert_or_assign(formal.name.text, binding);
    return true;
  }

  bool bind_formals(int index, const Expr& call, int caller) {
    const syntax::Module& module = *program_.instances[index].module;
    std::vector<ArgumentSpec> specs;
    for (const syntax::Formal& formal : module.formals) specs.push_back({formal.name.text, !formal.fallback});
    auto given = match_arguments(call, specs, module.name.text, diagnostics_);
    if (!given) return false;
    bool ok = true;
    for (std::size_t i = 0; i < module.formals.size(); ++i) {
      const syntax::Formal& formal = module.formals[i];
      const bool fallback = !(*given)[i];
      const Expr& value = fallback ? *formal.fallback : *(*given)[i];
      const int where = fallback ? index : caller;
      ok = (formal.kind == FormalKind::axis ? bind_axis(index, formal, value, where, fallback) : bind_scalar(index, formal, value, where)) && ok;
    }
    return ok;
  }

  bool make_up_formals(int index) {
    Instance& instance = program_.instances[index];
    for (const syntax::Formal& formal : instance.module->formals) {
      Binding binding;
      binding.kind = Binding::Kind::scalar;
      binding.scalar = formal.kind == FormalKind::real ? Scalar::of(1.0) : Scalar::of(std::int64_t{1});
      if (formal.kind == FormalKind::axis) {
        binding.kind = Binding::Kind::axis;
        binding.axis = make_axis(instance, formal.name.text, Scalar::of(std::int64_t{1}), formal.name.range, false);
      }
      instance.names.insert_or_assign(formal.name.text, binding);
    }
    return true;
  }

  bool declare_items(int index) {
    const syntax::Module& module = *program_.instances[index].module;
    bool ok = true;
    for (const syntax::Module::Item& item : module.items) {
      using Kind = syntax::Module::ItemKind;
      const std::string* name = nullptr;
      bool fine = true;
      if (item.kind == Kind::axis) fine = declare(index, module.axes[item.index]), name = &module.axes[item.index].name.text;
      if (item.kind == Kind::param) fine = declare(index, module.params[item.index]), name = &module.params[item.index].name.text;
      if (item.kind == Kind::product) fine = declare(index, module.products[item.index]);
      if (item.kind == Kind::sub) fine = declare(index, module.subs[item.index]), name = &module.subs[item.index].name.text;
      if (item.kind == Kind::require) fine = declare(index, module.requirements[item.index]);
      if (!program_.goes_on()) return false;
      if (!fine && name) mark_broken(index, *name);
      ok = ok && fine;
    }
    return ok;
  }

  void mark_broken(int index, const std::string& name) {
    Binding binding;
    binding.kind = Binding::Kind::broken;
    program_.instances[index].names.insert_or_assign(name, binding);
  }

  bool declare(int index, const syntax::AxisItem& item) {
    std::optional<Scalar> size = evaluate(item.size, scalar_names(program_, index), program_.folding());
    if (!size) return false;
    Instance& instance = program_.instances[index];
    Binding binding;
    binding.kind = Binding::Kind::axis;
    binding.axis = make_axis(instance, item.name.text, *size, item.size.range, true);
    if (!binding.axis) return false;
    instance.names.insert_or_assign(item.name.text, binding);
    return true;
  }

  std::optional<AxisId> axis_named(int index, const syntax::Name& name) {
    const Binding* binding = program_.find(index, name.text);
    if (binding && binding->kind == Binding::Kind::axis) return binding->axis;
    if (binding && binding->kind == Binding::Kind::broken) return std::nullopt;
    std::vector<std::string> axes;
    for (const std::string& text : visible_names(program_, index))
      if (program_.find(index, text)->kind == Binding::Kind::axis) axes.push_back(text);
    fail(diagnostics_, Code::unknown_axis, name.range, ticked(name.text) + " is no axis here", "", suggestion(name.text, axes));
    return std::nullopt;
  }

  bool declare(int index, const syntax::Product& item) {
    std::optional<AxisId> whole = axis_named(index, item.whole);
    std::vector<AxisId> factors;
    std::int64_t size = 1;
    std::string sizes;
    for (const syntax::Name& name : item.factors) {
      std::optional<AxisId> factor = axis_named(index, name);
      if (!factor) return false;
      factors.push_back(*factor);
      const std::int64_t n = program_.model.axis(*factor).size;
      if (__builtin_mul_overflow(size, n, &size)) size = 0;
      sizes += (sizes.empty() ? "" : " * ") + std::to_string(n);
    }
    if (!whole) return false;
    Axis& axis = program_.model.axes[whole->index()];
    if (program_.sizes_known && axis.size != size) {
      fail(diagnostics_, Code::not_a_product, item.range, ticked(item.whole.text) + " is " + std::to_string(axis.size) + ", and " + sizes + " is " + std::to_string(size),
           "", "", {{ticked(item.whole.text) + " is " + std::to_string(axis.size) + " here", axis.source}});
      return false;
    }
    if (std::find(axis.products.begin(), axis.products.end(), factors) == axis.products.end()) axis.products.push_back(factors);
    return true;
  }

  bool initialise(int index, const syntax::Param& line, Parameter& parameter) {
    const std::string& word = line.init.text;
    const bool call = line.init.kind == ExprKind::call;
    if (line.init.kind == ExprKind::name && word == "zeros") parameter.init = InitKind::zeros;
    else if (line.init.kind == ExprKind::name && word == "ones") parameter.init = InitKind::ones;
    else if (call && word == "normal") parameter.init = InitKind::normal;
    else if (call && word == "uniform") parameter.init = InitKind::uniform;
    else {
      fail(diagnostics_, Code::bad_parameter, line.init.range, ticked(syntax::print(line.init)) + " is no initialiser", "",
           "it may be `zeros`, `ones`, `normal(std)` or `uniform(bound)`");
      return false;
    }
    if (!call) return true;
    auto given = match_arguments(line.init, {{word == "normal" ? "std" : "bound"}}, word, diagnostics_);
    if (!given) return false;
    std::optional<Scalar> value = evaluate(*(*given)[0], scalar_names(program_, index), program_.folding());
    if (!value) return false;
    if (program_.sizes_known && (!(value->number >= 0) || value->number > 1e30)) {
      fail(diagnostics_, Code::bad_parameter, (*given)[0]->range, ticked(word) + " cannot have the width " + str(*value), "", "it is a number from 0");
      return false;
    }
    parameter.init_value = value->number;
    return true;
  }

  bool parameter_axes(int index, const syntax::Param& line, Parameter& parameter) {
    std::int64_t elements = 1;
    for (const syntax::Name& name : line.type.axes) {
      std::optional<AxisId> axis = axis_named(index, name);
      if (!axis) return false;
      if (*axis == program_.model.batch) {
        fail(diagnostics_, Code::bad_parameter, name.range, "a parameter cannot have the axis `batch`", "", "parameters are the same for every row");
        return false;
      }
      if (std::find(parameter.axes.begin(), parameter.axes.end(), *axis) != parameter.axes.end()) {
        fail(diagnostics_, Code::axis_repeated, name.range, ticked(name.text) + " stands twice in this type", "",
             "make a second axis of the same size: `axis other = " + name.text + "`");
        return false;
      }
      parameter.axes.push_back(*axis);
      if (__builtin_mul_overflow(elements, program_.model.axis(*axis).size, &elements) || elements > kMaxElements) {
        fail(diagnostics_, Code::too_large, line.range, "parameter " + ticked(parameter.path) + " has more than 2^62 elements");
        return false;
      }
    }
    return true;
  }

  bool declare(int index, const syntax::Param& line) {
    Instance& instance = program_.instances[index];
    if (line.type.kind != syntax::TypeKind::real || line.type.others) {
      fail(diagnostics_, Code::bad_parameter, line.type.range, "a parameter is a real tensor over named axes", "", "write its axes, as in `[width, heads]`");
      return false;
    }
    if (line.decay && line.decay->text != "none") {
      fail(diagnostics_, Code::bad_parameter, line.decay->range, ticked(line.decay->text) + " may not follow `decay`", "", "it may be `none`");
      return false;
    }
    Parameter parameter;
    parameter.path = join(instance.path, line.name.text);
    parameter.source = line.range;
    if (!parameter_axes(index, line, parameter) || !initialise(index, line, parameter)) return false;
    Binding binding;
    binding.kind = Binding::Kind::parameter;
    binding.parameter = ParameterId(program_.model.parameters.size());
    program_.model.parameters.push_back(std::move(parameter));
    program_.origins.push_back({&line, index, !line.decay});
    instance.names.insert_or_assign(line.name.text, binding);
    return true;
  }

  bool declare(int index, const syntax::Sub& item) {
    const std::size_t file = program_.instances[index].file;
    std::optional<Callee> callee = find_callee(program_.files, file, item.module, {}, diagnostics_);
    if (!callee) return false;
    if (!callee->module) {
      fail(diagnostics_, Code::wrong_kind_of_name, item.module.callee, ticked(item.module.text) + " is a function, and `sub` wants a module", "",
           "call it in forward", {{"declared here", callee->function->name.range}});
      return false;
    }
    Binding binding;
    binding.kind = item.array ? Binding::Kind::array : Binding::Kind::instance;
    std::int64_t count = 1;
    if (item.array) {
      binding.axis = axis_named(index, *item.array);
      if (!binding.axis) return false;
      count = program_.model.axis(*binding.axis).size;
    }
    const std::string path = join(program_.instances[index].path, item.name.text);
    const std::string generic = join(program_.instances[index].generic, item.name.text);
    for (std::int64_t i = 0; i < count; ++i) {
      std::optional<int> element =
          run(*callee->module, callee->file, &item.module, index, item.array ? path + "[" + std::to_string(i) + "]" : path, generic);
      if (!element) return false;
      binding.instances.push_back(*element);
    }
    program_.instances[index].names.insert_or_assign(item.name.text, binding);
    return true;
  }

  // "`seq` is 1024 here" for each axis named in `expr`.
  void note_sizes(int index, const Expr& expr, std::vector<Note>& notes) {
    if (expr.kind == ExprKind::name) {
      const Binding* binding = program_.find(index, expr.text);
      if (binding && binding->kind == Binding::Kind::axis) {
        const Axis& axis = program_.model.axis(*binding->axis);
        notes.push_back({ticked(expr.text) + " is " + std::to_string(axis.size) + " here", axis.source});
      }
    }
    for (const Expr& child : expr.children) note_sizes(index, child, notes);
  }

  bool declare(int index, const syntax::Require& item) {
    ScalarNames names = scalar_names(program_, index);
    std::optional<Scalar> a = evaluate(item.condition.children[0], names, program_.folding());
    std::optional<Scalar> b = evaluate(item.condition.children[1], names, program_.folding());
    if (!a || !b) return false;
    if (!program_.sizes_known || compare(item.condition.text, *a, *b)) return true;
    std::vector<Note> notes;
    note_sizes(index, item.condition, notes);
    const SourceRange at = item.condition.range;
    const std::string condition = program_.sources.files()[at.file].text.substr(at.begin, at.end - at.begin);
    fail(diagnostics_, Code::requirement_fails, item.range, "module " + ticked(program_.instances[index].module->name.text) + " requires " + condition,
         str(*a) + " " + item.condition.text + " " + str(*b) + " does not hold", "", std::move(notes));
    return false;
  }

  Program& program_;
  Diagnostics& diagnostics_;
  std::vector<const syntax::Module*> active_;
};

}  // namespace

std::string Program::axis_name(AxisId id) const { return name_of_axis(model, id); }

const Binding* Program::find(int instance, std::string_view name) const {
  if (instance >= 0) {
    const Names& names = instances[instance].names;
    if (auto it = names.find(name); it != names.end()) return &it->second;
  }
  auto it = builtins.find(name);
  return it == builtins.end() ? nullptr : &it->second;
}

Program make_program(const SourceMap& sources, Diagnostics& diagnostics, const Files& files, Work& work, std::int64_t batch,
                     SourceRange batch_source, std::int64_t sequence, SourceRange sequence_source) {
  Program program{sources, diagnostics, files, work, true, {}, {}, {}, {}, {}, {}, {}};
  program.model.axes.push_back({"batch", batch, batch_source, false, {}});
  program.model.axes.push_back({"seq", sequence, sequence_source, false, {}});
  for (const char* name : {"batch", "seq"}) {
    Binding binding;
    binding.kind = Binding::Kind::axis;
    binding.axis = AxisId(program.builtins.size());
    program.builtins.emplace(name, binding);
  }
  program.model.scopes.push_back({-1, 0});
  return program;
}

std::vector<std::string> visible_names(const Program& program, int instance) {
  std::vector<std::string> names;
  if (instance >= 0)
    for (const auto& [name, binding] : program.instances[instance].names) names.emplace_back(name);
  for (const auto& [name, binding] : program.builtins) names.emplace_back(name);
  return names;
}

ScalarNames scalar_names(const Program& program, int instance) {
  return [&program, instance](const Expr& name) -> std::optional<Scalar> {
    const Binding* binding = program.find(instance, name.text);
    if (binding && binding->kind == Binding::Kind::axis) return Scalar::of(program.model.axis(*binding->axis).size);
    if (binding && binding->kind == Binding::Kind::scalar) return binding->scalar;
    if (binding && binding->kind == Binding::Kind::broken) return std::nullopt;
    if (binding)
      fail(program.diagnostics, Code::wrong_kind_of_name, name.range, ticked(name.text) + " is no number", "", "sizes are computed from axes, formals and numbers");
    else
      fail(program.diagnostics, Code::unknown_name, name.range, ticked(name.text) + " stands for nothing here", "",
           suggestion(name.text, visible_names(program, instance)));
    return std::nullopt;
  };
}

std::optional<int> instantiate_model(Program& program, const syntax::Expr& call) {
  std::optional<Callee> callee = find_callee(program.files, 0, call, {}, program.diagnostics);
  if (!callee) return std::nullopt;
  if (!callee->module) {
    fail(program.diagnostics, Code::wrong_kind_of_name, call.callee, ticked(call.text) + " is a function, and `train.model` wants a module");
    return std::nullopt;
  }
  return Instantiator(program).run(*callee->module, callee->file, &call, -1, "", "");
}

std::optional<int> instantiate_alone(Program& program, const syntax::Module& module, std::size_t file) {
  return Instantiator(program).run(module, file, nullptr, -1, "", "");
}

}  // namespace dsc::sema
