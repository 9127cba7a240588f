#include "compiler/sema/layouts.h"

#include <algorithm>
#include <map>

#include "compiler/sema/names.h"
#include "compiler/sema/text.h"

namespace dsc::sema {
namespace {

using syntax::Rule;
using syntax::RuleKind;

std::vector<std::string> texts(const std::vector<syntax::Name>& names) {
  std::vector<std::string> out;
  for (const syntax::Name& name : names) out.push_back(name.text);
  return out;
}

// Whether the two say the same kind of thing about the same subject, so that the later replaces the earlier.
bool same_subject(const Rule& a, const Rule& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == RuleKind::split) return a.axes[0].text == b.axes[0].text;
  if (a.kind == RuleKind::zero) return texts(a.over) == texts(b.over);
  if (a.kind == RuleKind::offload) return a.subject->text == b.subject->text;
  return true;
}

class Flattener {
 public:
  Flattener(const syntax::File& file, Diagnostics& diagnostics) : file_(file), diagnostics_(diagnostics) {
    for (const syntax::Layout& layout : file.layouts) {
      auto [old, fresh] = by_name_.try_emplace(layout.name.text, &layout);
      check_not_reserved(layout.name, diagnostics);
      if (!fresh) fail(diagnostics, Code::rule_given_twice, layout.name.range, "a second layout " + ticked(layout.name.text), "", "choose another name", {{"the first is here", old->second->name.range}});
    }
  }

  std::optional<std::vector<Rule>> run(const syntax::Layout& layout) {
    std::vector<const syntax::Layout*> chain = {&layout};
    while (chain.back()->base) {
      const syntax::Name& base = *chain.back()->base;
      auto it = by_name_.find(base.text);
      if (it == by_name_.end()) {
        std::vector<std::string> names;
        for (const auto& [name, other] : by_name_) names.push_back(name);
        fail(diagnostics_, Code::unknown_layout, base.range, "there is no layout " + ticked(base.text), "", suggestion(base.text, names));
        return std::nullopt;
      }
      if (std::find(chain.begin(), chain.end(), it->second) != chain.end()) {
        fail(diagnostics_, Code::layout_from_itself, base.range, "layout " + ticked(chain.back()->name.text) + " derives from itself", "", "end the chain in a layout without `= ...`");
        return std::nullopt;
      }
      chain.push_back(it->second);
    }
    std::vector<Rule> rules;
    for (std::size_t i = chain.size(); i-- > 0;) apply(*chain[i], rules);
    return rules;
  }

 private:
  // The rules of `layout` on top of its base's.
  void apply(const syntax::Layout& layout, std::vector<Rule>& rules) {
    for (const Rule& rule : layout.rules)
      if (rule.kind == RuleKind::drop) drop(layout, rule, rules);
    std::vector<Rule> own;
    for (const Rule& rule : layout.rules) {
      if (rule.kind == RuleKind::drop) continue;
      if (rule.kind != RuleKind::split) {
        add(rule, own);
        continue;
      }
      for (const syntax::Expr& axis : rule.axes) {
        Rule one = rule;
        one.axes = {axis};
        add(std::move(one), own);
      }
    }
    for (Rule& rule : own) {
      std::erase_if(rules, [&](const Rule& old) { return same_subject(old, rule); });
      rules.push_back(std::move(rule));
    }
  }

  static SourceRange place(const Rule& rule) { return rule.kind == RuleKind::split ? rule.axes[0].range : rule.word; }

  void add(Rule rule, std::vector<Rule>& own) {
    for (const Rule& old : own)
      if (same_subject(old, rule)) {
        const std::string what = rule.kind == RuleKind::split ? "a second split of " + ticked(rule.axes[0].text) : "a second rule of this kind";
        fail(diagnostics_, Code::rule_given_twice, place(rule), what + " in one layout", "", "keep one", {{"the first is here", place(old)}});
        return;
      }
    own.push_back(std::move(rule));
  }

  void drop(const syntax::Layout& layout, const Rule& rule, std::vector<Rule>& rules) {
    const auto remove = [&](SourceRange range, const std::string& what, const auto& matches) {
      if (std::erase_if(rules, matches) > 0) return;
      fail(diagnostics_, Code::rule_matches_nothing, range, "there is no " + what + " to drop", "", layout.base ? "layout " + ticked(layout.base->text) + " has none" : "this layout derives from none");
    };
    if (rule.dropped == RuleKind::split) {
      for (const syntax::Expr& axis : rule.axes)
        remove(axis.range, "split of " + ticked(axis.text), [&](const Rule& old) { return old.kind == RuleKind::split && old.axes[0].text == axis.text; });
    } else if (rule.dropped == RuleKind::zero) {
      remove(rule.range, "zero over " + listed(ticked_all(texts(rule.over)), "and"), [&](const Rule& old) { return old.kind == RuleKind::zero && texts(old.over) == texts(rule.over); });
    } else if (rule.dropped == RuleKind::offload) {
      remove(rule.range, "offload of " + ticked(rule.subject->text), [&](const Rule& old) { return old.kind == RuleKind::offload && old.subject->text == rule.subject->text; });
    } else {
      remove(rule.range, "recompute", [](const Rule& old) { return old.kind == RuleKind::recompute; });
    }
  }

  const syntax::File& file_;
  Diagnostics& diagnostics_;
  std::map<std::string, const syntax::Layout*> by_name_;
};

void unreached(const LayoutSetting& setting, const std::string& help, Diagnostics& diagnostics) {
  fail(diagnostics, Code::set_reaches_nothing, setting.value.range, "--set " + setting.text + " reaches nothing", "", help);
}

bool set_entry(std::vector<syntax::Entry>& entries, const std::string& name, const syntax::Expr& value, bool add) {
  for (syntax::Entry& entry : entries)
    if (entry.name.text == name) {
      entry.value = value;
      return true;
    }
  if (add) entries.push_back({{name, value.range}, {}, value, value.range});
  return add;
}

void apply_setting(const LayoutSetting& setting, std::vector<Rule>& rules, Diagnostics& diagnostics) {
  static const std::map<std::string, RuleKind> single = {
      {"micro_batch", RuleKind::micro_batch}, {"wire", RuleKind::wire}, {"overlap", RuleKind::overlap}, {"recompute", RuleKind::recompute}};
  const std::string& first = setting.key[0];
  if (auto kind = single.find(first); kind != single.end() && setting.key.size() == 1) {
    Rule rule;
    rule.kind = kind->second;
    rule.range = rule.word = setting.value.range;
    rule.values = {setting.value};
    std::erase_if(rules, [&](const Rule& old) { return old.kind == rule.kind; });
    rules.push_back(std::move(rule));
    return;
  }
  if (setting.key.size() == 2 && (first == "mesh" || first == "zero")) {
    const RuleKind kind = first == "mesh" ? RuleKind::mesh : RuleKind::zero;
    Rule* rule = nullptr;
    int count = 0;
    for (Rule& candidate : rules)
      if (candidate.kind == kind) rule = &candidate, ++count;
    if (count == 0) return unreached(setting, "layout " + ticked(setting.layout) + " has no " + ticked(first) + " rule", diagnostics);
    if (count > 1) return unreached(setting, "layout " + ticked(setting.layout) + " has several " + ticked(first) + " rules; edit the file", diagnostics);
    if (kind == RuleKind::zero && setting.key[1] == "stage") rule->values = {setting.value};
    else if (!set_entry(kind == RuleKind::mesh ? rule->mesh : rule->options, setting.key[1], setting.value, kind == RuleKind::zero))
      unreached(setting, "the mesh has no axis " + ticked(setting.key[1]), diagnostics);
    return;
  }
  unreached(setting, "in a layout it may be `micro_batch`, `wire`, `overlap`, `recompute`, `mesh.AXIS`, `zero.stage` or `zero.OPTION`", diagnostics);
}

// The product of the written sizes, and whether there is an `auto`; nothing where a size is not a number.
struct MeshSize {
  std::int64_t fixed = 1;
  bool automatic = false;
};

std::optional<MeshSize> mesh_size(const FlatLayout& layout) {
  MeshSize size;
  for (const Rule& rule : layout.rules) {
    if (rule.kind != RuleKind::mesh) continue;
    for (const syntax::Entry& entry : rule.mesh) {
      if (entry.value.kind == syntax::ExprKind::automatic) size.automatic = true;
      else if (entry.value.kind != syntax::ExprKind::integer || entry.value.integer < 1 || __builtin_mul_overflow(size.fixed, entry.value.integer, &size.fixed)) return std::nullopt;
    }
  }
  return size;
}

bool satisfies(const FlatLayout& layout, std::int64_t gpus) {
  std::optional<MeshSize> size = mesh_size(layout);
  return size && (size->automatic ? gpus % size->fixed == 0 : gpus == size->fixed);
}

void none_fits(const std::vector<FlatLayout>& layouts, std::int64_t gpus, Diagnostics& diagnostics) {
  std::vector<std::string> sizes;
  for (const FlatLayout& layout : layouts) {
    std::optional<MeshSize> size = mesh_size(layout);
    if (size) sizes.push_back(ticked(layout.source->name.text) + " for " + (size->automatic ? "multiples of " : "") + std::to_string(size->fixed));
  }
  fail(diagnostics, Code::no_layout_fits, layouts[0].source->name.range, "no layout is for " + std::to_string(gpus) + " ranks", "", "the file has " + listed(sizes, "and"));
}

}  // namespace

std::vector<FlatLayout> flatten_layouts(const syntax::File& file, const std::vector<LayoutSetting>& settings, Diagnostics& diagnostics) {
  std::vector<FlatLayout> flat;
  Flattener flattener(file, diagnostics);
  for (const syntax::Layout& layout : file.layouts) {
    std::optional<std::vector<Rule>> rules = flattener.run(layout);
    if (!rules) continue;
    for (const LayoutSetting& setting : settings)
      if (setting.layout == layout.name.text) apply_setting(setting, *rules, diagnostics);
    flat.push_back({&layout, std::move(*rules)});
  }
  std::vector<std::string> names;
  for (const syntax::Layout& layout : file.layouts) names.push_back(layout.name.text);
  for (const LayoutSetting& setting : settings)
    if (std::find(names.begin(), names.end(), setting.layout) == names.end()) unreached(setting, "the file has no layout " + ticked(setting.layout), diagnostics);
  return flat;
}

void choose_layout(const syntax::File& file, const std::vector<FlatLayout>& layouts, const LayoutInput& input, CheckedProgram& out) {
  Diagnostics& diagnostics = input.reader.diagnostics();
  for (const syntax::Layout& layout : file.layouts) out.layout_names.push_back(layout.name.text);
  const FlatLayout* chosen = nullptr;
  if (!input.name.empty()) {
    if (std::find(out.layout_names.begin(), out.layout_names.end(), input.name) == out.layout_names.end())
      fail(diagnostics, Code::unknown_layout, {}, "--layout names " + ticked(input.name) + ", and the file has no such layout", "",
           out.layout_names.empty() ? "the file has no layouts; leave `--layout` out" : suggestion(input.name, out.layout_names));
    for (const FlatLayout& layout : layouts)
      if (!chosen && layout.source->name.text == input.name) chosen = &layout;
  } else if (file.layouts.empty()) {
    default_layout(input, out);
  } else if (input.gpus) {
    for (const FlatLayout& layout : layouts)
      if (!chosen && satisfies(layout, *input.gpus)) chosen = &layout;
    if (!chosen && !layouts.empty()) none_fits(layouts, *input.gpus, diagnostics);
  } else if (!layouts.empty()) {
    chosen = &layouts[0];
  }
  out.layout_chosen_by_default = input.name.empty() && chosen;
  for (const FlatLayout& layout : layouts) check_layout(layout, input, &layout == chosen, out);
}

}  // namespace dsc::sema
