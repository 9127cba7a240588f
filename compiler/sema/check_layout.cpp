// One layout, rule by rule: structure always, sizes where it is the chosen one.
#include <algorithm>
#include <map>
#include <set>

#include "compiler/sema/layout_checker.h"
#include "compiler/sema/layouts.h"
#include "compiler/sema/names.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {

using syntax::Entry;
using syntax::Expr;
using syntax::ExprKind;
using syntax::Rule;
using syntax::RuleKind;

void LayoutChecker::run() {
  spec_.name = layout_.source->name.text;
  spec_.source = layout_.source->name.range;
  for (const Rule& rule : layout_.rules)
    if (rule.kind == RuleKind::mesh) read_mesh(rule);
  if (!mesh_ok_) return;
  if (chosen_ && !fit_mesh()) return;
  for (const Rule& rule : layout_.rules) {
    if (rule.kind == RuleKind::split) split(rule);
    if (rule.kind == RuleKind::wire) spec_.wire_bf16 = input_.reader.choice(rule.values[0], "wire", {"bf16", "fp32"}) == "bf16";
    if (rule.kind == RuleKind::overlap) spec_.overlap = input_.reader.choice(rule.values[0], "overlap", {"on", "off"}) != "off";
    if (rule.kind == RuleKind::offload) offload(rule);
    if (rule.kind == RuleKind::recompute) recompute(rule);
  }
  check_mesh_used();
  check_twice_on_a_tensor();
  for (const Rule& rule : layout_.rules)
    if (rule.kind == RuleKind::zero) zero(rule);
  widest_zero();
  resolve_micro_batch();
  resolve_options();
  if (chosen_) report_not_lowered();
}

// ---- mesh

void LayoutChecker::read_mesh(const Rule& rule) {
  int autos = 0;
  for (const Entry& entry : rule.mesh) {
    mesh_ok_ = check_not_reserved(entry.name, diagnostics_) && mesh_ok_;
    std::int64_t size = 1;
    const bool automatic = entry.value.kind == ExprKind::automatic;
    if (automatic && ++autos > 1) {
      fail(diagnostics_, Code::bad_rule, entry.value.range, "a second `auto` in one mesh", "", "at most one size may be `auto`: it takes what the others leave");
      mesh_ok_ = false;
    }
    if (!automatic) {
      std::optional<std::int64_t> written = input_.reader.whole(entry.value, entry.name.text, 1, 1 << 20);
      mesh_ok_ = mesh_ok_ && written;
      size = written.value_or(1);
    }
    spec_.mesh.push_back({entry.name.text, size, entry.range});
    automatic_.push_back(automatic);
  }
}

bool LayoutChecker::fit_mesh() {
  std::int64_t fixed = 1;
  std::string product;
  for (std::size_t i = 0; i < spec_.mesh.size(); ++i) {
    if (automatic_[i]) continue;
    if (__builtin_mul_overflow(fixed, spec_.mesh[i].size, &fixed)) fixed = INT64_MAX;
    product += (product.empty() ? "" : " x ") + std::to_string(spec_.mesh[i].size);
  }
  const auto it = std::find(automatic_.begin(), automatic_.end(), true);
  const bool has_auto = it != automatic_.end();
  const std::int64_t gpus = input_.gpus.value_or(fixed);
  const bool fits = has_auto ? gpus % fixed == 0 : gpus == fixed;
  if (!fits) {
    const bool several = product.find('x') != std::string::npos;
    const std::string size = spec_.mesh.empty() ? "one rank, since it has no mesh" : (several ? product + " = " : std::string()) + std::to_string(fixed) + (fixed == 1 ? " rank" : " ranks");
    SourceRange range = spec_.source;
    for (const Rule& rule : layout_.rules)
      if (rule.kind == RuleKind::mesh) range = rule.range;
    fail(diagnostics_, Code::mesh_is_not_gpus, range,
         has_auto ? "--gpus is " + std::to_string(gpus) + ", which is no multiple of " + size : "layout " + ticked(spec_.name) + " is for " + size + ", and --gpus is " + std::to_string(gpus), "",
         has_auto ? "give a multiple of " + std::to_string(fixed) : "give `--gpus " + std::to_string(fixed) + "`, change the mesh, or write `auto` for one size");
    return false;
  }
  if (!has_auto) return true;
  MeshAxis& axis = spec_.mesh[static_cast<std::size_t>(it - automatic_.begin())];
  axis.size = gpus / fixed;
  note_auto("mesh." + axis.name, std::to_string(axis.size),
            input_.gpus ? "what --gpus " + std::to_string(gpus) + " leaves" + (product.empty() ? "" : " over " + product) : "1 without --gpus");
  return true;
}

void LayoutChecker::note_auto(const std::string& key, const std::string& value, const std::string& reason) {
  if (chosen_) out_.autos.push_back({"layout." + spec_.name + "." + key, value, reason});
}

std::optional<std::vector<int>> LayoutChecker::mesh_axes(const Rule& rule) {
  std::vector<int> found;
  bool ok = true;
  for (const syntax::Name& name : rule.over) {
    int at = -1;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < spec_.mesh.size(); ++i) {
      names.push_back(spec_.mesh[i].name);
      if (spec_.mesh[i].name == name.text) at = static_cast<int>(i);
    }
    if (at < 0) {
      fail(diagnostics_, Code::unknown_mesh_axis, name.range, "the mesh has no axis " + ticked(name.text), "", names.empty() ? "the layout has no mesh: add `mesh (" + name.text + ": auto)`" : suggestion(name.text, names));
      ok = false;
    }
    found.push_back(at);
  }
  if (!ok) return std::nullopt;
  return found;
}

std::int64_t LayoutChecker::size_of_axes(const std::vector<int>& mesh) const {
  std::int64_t n = 1;
  for (int axis : mesh) n *= spec_.mesh[axis].size;
  return n;
}

std::string LayoutChecker::mesh_text(const std::vector<int>& mesh) const {
  std::string text;
  for (int axis : mesh) text += (text.empty() ? "" : ", ") + ticked(spec_.mesh[axis].name);
  return text;
}

// ---- splits

void LayoutChecker::split(const Rule& rule) {
  std::optional<std::vector<int>> over = mesh_axes(rule);
  const Expr& name = rule.axes[0];
  for (const Entry& entry : rule.options) pipeline_option(rule, entry);
  if (!over) {
    mesh_ok_ = false;
    return;
  }
  const bool batch = name.text == "batch";
  if (batch) {
    spec_.batch_axes = *over;
    spec_.batch_split_source = rule.range;
  } else {
    not_lowered_.push_back({rule.range, rule.elsewhere ? "sequence parallelism" : "splits of other axes than `batch`"});
  }
  for (int axis : *over) used_.insert(axis);
  if (rule.elsewhere && name.text != "seq") {
    fail(diagnostics_, Code::bad_rule, name.range, "`elsewhere` is for `seq`, and this splits " + ticked(name.text), "", "leave `elsewhere` out");
    return;
  }
  if (batch && !rule.options.empty()) fail(diagnostics_, Code::contradictory_option, rule.options[0].name.range, "a split of `batch` has no pipeline, so " + ticked(rule.options[0].name.text) + " has nothing to act on");
  if (!input_.program) return;
  std::optional<AxisId> axis = model_axis(name);
  if (!axis) return;
  splits_.push_back({&rule, *axis, *over});
  if (chosen_) check_divides(splits_.back());
}

std::optional<AxisId> LayoutChecker::model_axis(const Expr& name) {
  const Model& model = input_.program->model;
  std::vector<AxisId> found;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < model.axes.size(); ++i) {
    const std::string& path = model.axes[i].path;
    names.push_back(bare_name(path));
    if (path == name.text) {
      found = {AxisId(i)};
      break;
    }
    if (bare_name(path) == name.text) found.push_back(AxisId(i));
  }
  if (found.empty()) {
    fail(diagnostics_, Code::unknown_axis, name.range, "the model has no axis " + ticked(name.text), "", suggestion(name.text, names));
    return std::nullopt;
  }
  if (found.size() > 1) {
    std::vector<std::string> paths;
    for (AxisId axis : found) paths.push_back(ticked(model.axis(axis).path));
    fail(diagnostics_, Code::ambiguous_axis, name.range, ticked(name.text) + " stands for " + std::to_string(found.size()) + " axes", "", "write " + listed(paths));
    return std::nullopt;
  }
  for (std::size_t i = 0; i < model.axes.size(); ++i)
    for (const std::vector<AxisId>& factors : model.axes[i].products)
      if (std::find(factors.begin(), factors.end(), found[0]) != factors.end()) {
        const std::string whole = bare_name(model.axes[i].path);
        fail(diagnostics_, Code::split_of_a_factor, name.range, ticked(name.text) + " is a factor of " + ticked(whole), "", "split " + ticked(whole) + ": its factors follow");
        return std::nullopt;
      }
  const auto on = [&](const std::vector<AxisId>& axes) { return std::find(axes.begin(), axes.end(), found[0]) != axes.end(); };
  const bool on_tensor = std::any_of(model.ops.begin(), model.ops.end(), [&](const Op& op) { return on(op.axes); });
  const bool on_array = is_array_axis(found[0]);
  if (on_tensor || on_array) return found[0];
  fail(diagnostics_, Code::rule_matches_nothing, name.range, "no tensor has the axis " + ticked(name.text), "", "remove it from the rule", {{"the axis comes from here", model.axis(found[0]).source}});
  return std::nullopt;
}

bool LayoutChecker::is_array_axis(AxisId axis) const {
  for (const Instance& instance : input_.program->instances)
    for (const auto& [name, binding] : instance.names)
      if (binding.kind == Binding::Kind::array && binding.axis == axis) return true;
  return false;
}

void LayoutChecker::check_divides(const Split& split) {
  const Axis& axis = input_.program->model.axis(split.axis);
  std::int64_t parts = size_of_axes(split.over);
  bool uneven = axis.vocabulary;
  for (const Entry& option : split.rule->options) {
    if (option.name.text == "schedule" && option.value.text == "interleaved" && option.value.args.size() == 1) parts *= std::max<std::int64_t>(1, option.value.args[0].value.integer);
    uneven = uneven || option.name.text == "balance" || option.name.text == "cut";
  }
  if (uneven || axis.size % parts == 0) return;
  does_not_divide(split, axis, parts);
}

void LayoutChecker::does_not_divide(const Split& split, const Axis& axis, std::int64_t parts) {
  const Expr& name = split.rule->axes[0];
  const std::string size = std::to_string(axis.size), count = std::to_string(parts);
  std::string help, chunks;
  if (parts == size_of_axes(split.over)) {
    std::vector<std::string> sizes;
    for (std::int64_t n = 1; n <= std::min<std::int64_t>(65536, spec_.world_size()); ++n)
      if (spec_.world_size() % n == 0 && axis.size % n == 0) sizes.push_back(std::to_string(n));
    std::string names;
    for (int mesh : split.over) names += (names.empty() ? "" : " x ") + ticked(spec_.mesh[mesh].name);
    help = "on " + std::to_string(spec_.world_size()) + " GPUs, " + names + " may be " + listed(sizes);
  } else {
    chunks = " x " + std::to_string(parts / size_of_axes(split.over)) + " chunks";
    help = "stages x chunks is " + count + "; an uneven split is stated by `balance: time` or `cut: (...)`";
  }
  fail(diagnostics_, Code::axis_does_not_divide, name.range, "axis " + ticked(name.text) + " (" + size + ") does not divide over " + mesh_text(split.over) + chunks + " (" + count + ")",
       size + " over " + count + " leaves " + std::to_string(axis.size % parts), help, {{ticked(name.text) + " is " + size + " here", axis.source}});
}

void LayoutChecker::check_mesh_used() {
  if (!mesh_ok_) return;
  for (std::size_t i = 0; i < spec_.mesh.size(); ++i)
    if (!used_.contains(static_cast<int>(i)))
      fail(diagnostics_, Code::unused_mesh_axis, spec_.mesh[i].source, "no rule splits anything over " + ticked(spec_.mesh[i].name), "", "add `split batch over " + spec_.mesh[i].name + "`, or remove it from the mesh");
}

void LayoutChecker::check_twice_on_a_tensor() {
  if (!input_.program) return;
  const Model& model = input_.program->model;
  // Axis -> the split that cuts it: its own, or that of the product it is a factor of.
  std::map<AxisId, const Split*> of;
  for (const Split& split : splits_) {
    if (split.rule->elsewhere) continue;
    of[split.axis] = &split;
    for (const std::vector<AxisId>& factors : model.axis(split.axis).products)
      for (AxisId factor : factors) of.try_emplace(factor, &split);
  }
  const auto check = [&](const std::vector<AxisId>& axes, const std::string& what) {
    std::map<int, const Split*> by_mesh;
    for (AxisId axis : axes) {
      auto it = of.find(axis);
      if (it == of.end()) continue;
      for (int mesh : it->second->over) {
        auto [old, fresh] = by_mesh.try_emplace(mesh, it->second);
        if (fresh || old->second == it->second) continue;
        const Split *a = old->second, *b = it->second;
        if (a->rule->axes[0].range.begin > b->rule->axes[0].range.begin) std::swap(a, b);
        fail(diagnostics_, Code::mesh_axis_twice, b->rule->axes[0].range, ticked(spec_.mesh[mesh].name) + " splits both " + ticked(a->rule->axes[0].text) + " and " + ticked(b->rule->axes[0].text) + " of " + what, "",
             "split one of them over another mesh axis", {{ticked(a->rule->axes[0].text) + " is split here", a->rule->axes[0].range}});
      }
    }
  };
  for (const Parameter& parameter : model.parameters) check(parameter.axes, ticked(parameter.path) + ", " + type_text(model, parameter.axes));
  for (const Op& op : model.ops) check(op.axes, (op.name.empty() ? std::string("a tensor") : ticked(op.name)) + ", " + type_text(model, op.axes));
}

// ---- rules that are checked and not lowered

void LayoutChecker::pipeline_option(const Rule& rule, const Entry& entry) {
  const std::string& name = entry.name.text;
  if (name == "schedule") {
    std::optional<std::string> kind = input_.reader.choice(entry.value, "schedule", {"gpipe", "1f1b", "interleaved", "zero_bubble"});
    if (kind == "interleaved") {
      if (entry.value.args.size() == 1) input_.reader.whole(entry.value.args[0].value, "interleaved", 1, 1024);
      else fail(diagnostics_, Code::missing_argument, entry.value.range, "`interleaved` needs the number of chunks a stage", "", "write `interleaved(2)`");
    }
  } else if (name == "balance") {
    input_.reader.choice(entry.value, "balance", {"time"});
    for (const Entry& other : rule.options)
      if (other.name.text == "cut") fail(diagnostics_, Code::contradictory_option, entry.name.range, "`cut` says where stages begin, so `balance` has nothing to act on", "", "keep one of them", {{"`cut` is here", other.name.range}});
  } else if (name == "cut") {
    const std::vector<Expr> one = {entry.value};
    for (const Expr& path : entry.value.kind == ExprKind::tuple ? entry.value.children : one) instance_path(path, true);
  } else {
    fail(diagnostics_, Code::bad_rule, entry.name.range, "`split` has no option " + ticked(name), "", suggestion(name, {"schedule", "balance", "cut"}));
  }
}

void LayoutChecker::offload(const Rule& rule) {
  not_lowered_.push_back({rule.range, "offload"});
  Expr subject;
  subject.kind = ExprKind::name;
  subject.text = rule.subject->text;
  subject.range = rule.subject->range;
  input_.reader.choice(subject, "offload", {"optimizer", "grads", "params", "activations"});
  const Expr& to = rule.values[0];
  std::optional<std::string> place = input_.reader.choice(to, "to", {"cpu", "nvme"});
  if (place == "cpu" && to.kind == ExprKind::call) {
    if (to.args.size() == 1 && !to.args[0].name) input_.reader.choice(to.args[0].value, "cpu", {"pinned"});
    else fail(diagnostics_, Code::too_many_arguments, to.range, "`cpu` takes the one word `pinned`", "", "write `cpu` or `cpu(pinned)`");
  }
  if (place == "nvme" && !(to.kind == ExprKind::call && to.args.size() == 1 && to.args[0].value.kind == ExprKind::string))
    fail(diagnostics_, Code::missing_argument, to.range, "`nvme` needs the folder to write to", "", "write `nvme(\"/scratch\")`");
}

void LayoutChecker::recompute(const Rule& rule) {
  bool none = false;
  for (const Expr& value : rule.values) {
    const bool automatic = value.kind == ExprKind::automatic || (value.kind == ExprKind::name && (value.text == "all" || value.text == "none"));
    none = none || (value.kind == ExprKind::name && value.text == "none");
    if (automatic && rule.values.size() > 1)
      fail(diagnostics_, Code::contradictory_option, value.range, ticked(syntax::print(value)) + " stands beside other values", "", "`all`, `none` and `auto` stand alone");
    if (!automatic) instance_path(value, false);
  }
  if (!none) not_lowered_.push_back({rule.range, "recompute"});
}

// Follows a path of instances from the model; with `indexed`, one instance is meant.
void LayoutChecker::instance_path(const Expr& path, bool indexed) {
  if (!input_.program || input_.program->instances.empty()) return;
  if (path.segments.empty() || path.kind == ExprKind::call) {
    fail(diagnostics_, Code::unknown_path, path.range, ticked(syntax::print(path)) + " is no path of an instance", "", "write one, as in `block[*].attn`");
    return;
  }
  const Instance* at = &input_.program->instances[0];
  for (const syntax::Segment& segment : path.segments) {
    std::vector<std::string> names;
    for (const auto& [name, binding] : at->names)
      if (binding.kind == Binding::Kind::instance || binding.kind == Binding::Kind::array) names.emplace_back(name);
    auto it = at->names.find(segment.name.text);
    if (it == at->names.end() || std::find(names.begin(), names.end(), segment.name.text) == names.end()) {
      fail(diagnostics_, Code::unknown_path, segment.name.range, "there is no instance " + ticked(segment.name.text) + (at->path.empty() ? std::string() : " in " + ticked(at->generic)), "", suggestion(segment.name.text, names));
      return;
    }
    const Binding& binding = it->second;
    const auto count = static_cast<std::int64_t>(binding.instances.size());
    const bool array = binding.kind == Binding::Kind::array;
    bool ok = array || segment.index == syntax::IndexKind::none;
    for (const Expr& bound : segment.bounds) ok = ok && bound.kind == ExprKind::integer && bound.integer >= 0;
    if (segment.index == syntax::IndexKind::integer) ok = ok && segment.bounds[0].integer < count;
    if (segment.index == syntax::IndexKind::range) ok = ok && segment.bounds[0].integer < segment.bounds[1].integer && segment.bounds[1].integer <= count;
    if (segment.index == syntax::IndexKind::axis || segment.index == syntax::IndexKind::expression) ok = false;
    if (indexed && array && segment.index != syntax::IndexKind::integer) ok = false;
    if (!ok) {
      fail(diagnostics_, Code::unknown_path, segment.range, ticked(segment.name.text) + (array ? " has the elements 0 to " + std::to_string(count - 1) : " is no array"), "",
           indexed && array ? "a stage begins at one call: `" + segment.name.text + "[1]`" : "");
      return;
    }
    at = &input_.program->instances[binding.instances[0]];
  }
}

void LayoutChecker::report_not_lowered() {
  if (not_lowered_.empty() || diagnostics_.has_errors()) return;
  std::vector<std::string> kinds, rules;
  std::set<std::uint32_t> seen;
  SourceRange first = not_lowered_[0].range;
  for (const NotLowered& item : not_lowered_) {
    if (std::find(kinds.begin(), kinds.end(), item.kind) == kinds.end()) kinds.push_back(item.kind);
    if (item.range.begin < first.begin) first = item.range;
    if (!seen.insert(item.range.begin).second) continue;
    std::string text = input_.reader.text(item.range);
    text = text.substr(0, text.find_first_of("{\n"));
    while (text.ends_with(' ')) text.pop_back();
    rules.push_back(ticked(text));
  }
  std::vector<std::string> meshes;
  for (int axis : used_)
    if (std::find(spec_.batch_axes.begin(), spec_.batch_axes.end(), axis) == spec_.batch_axes.end()) meshes.push_back(ticked(spec_.mesh[axis].name));
  fail(diagnostics_, Code::not_lowered, first, "layout " + ticked(spec_.name) + " uses " + listed(kinds, "and") + ", which this version does not lower", "",
       "leave out " + listed(rules, "and") + (meshes.empty() ? "" : ", and the mesh " + std::string(meshes.size() > 1 ? "axes " : "axis ") + listed(meshes, "and")));
}

void check_layout(const FlatLayout& layout, const LayoutInput& input, bool chosen, CheckedProgram& out) {
  LayoutChecker checker(layout, input, chosen, out);
  checker.run();
  if (chosen) out.layout = checker.spec();
}

}  // namespace dsc::sema
