#include "compiler/sema/settings.h"

#include <map>

#include "compiler/sema/text.h"
#include "compiler/syntax/parse.h"

namespace dsc::sema {
namespace {

using syntax::Expr;
using syntax::ExprKind;

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts = {""};
  for (char c : text) {
    if (c == '.') parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

class Setter {
 public:
  Setter(Files& files, SourceMap& sources, Diagnostics& diagnostics, std::vector<LayoutSetting>& layouts)
      : files_(files), main_(files.files[0].tree), sources_(sources), diagnostics_(diagnostics), layouts_(layouts) {}

  void set(const std::string& key, const std::string& value) {
    key_ = key;
    source_ = sources_.add({"--set " + key, value.empty() ? " " : value});  // a place to point at
    range_ = {source_, 0, static_cast<std::uint32_t>(sources_.files()[source_].text.size())};
    if (value.empty()) return unreached("it has no value", "KEY=VALUE is needed, as in train.steps=100");
    std::vector<std::string> steps = split(key);
    const std::string section = steps[0];
    steps.erase(steps.begin());
    if (section == "layout" && steps.size() >= 2) {
      std::optional<Expr> parsed = parse();
      if (parsed) layouts_.push_back({steps[0], {steps.begin() + 1, steps.end()}, std::move(*parsed), key});
    } else if (section == "model" && !steps.empty()) {
      steps.insert(steps.begin(), "model");
      in_section(main_.trains, train_entries(), steps, "train");
    } else if (section == "data" && !steps.empty()) {
      in_section(main_.datas, data_entries(), steps, "data");
    } else if (section == "train" && !steps.empty()) {
      train(steps);
    } else {
      unreached("", "a key begins with `model.`, `data.`, `train.` or `layout.NAME.`");
    }
  }

 private:
  void unreached(const std::string& message, const std::string& help) {
    fail(diagnostics_, Code::set_reaches_nothing, range_, "--set " + key_ + (message.empty() ? " reaches nothing" : ": " + message), "", help);
  }

  std::optional<Expr> parse() { return syntax::parse_value(source_, sources_, diagnostics_); }

  Expr string() {
    Expr expr;
    expr.kind = ExprKind::string;
    expr.range = range_;
    expr.text = sources_.files()[source_].text;
    return expr;
  }

  // Replaces `at` by the value; a string needs no quotes.
  void replace(Expr& at, bool is_string) {
    const std::string& text = sources_.files()[source_].text;
    if ((is_string || at.kind == ExprKind::string) && !text.starts_with('"')) {
      at = string();
      return;
    }
    if (std::optional<Expr> value = parse()) at = std::move(*value);
  }

  void train(const std::vector<std::string>& steps) {
    const bool checkpoint = steps[0] == "checkpoint", evaluate = steps[0] == "evaluate";
    if (!checkpoint && !evaluate) return in_section(main_.trains, train_entries(), steps, "train");
    if (main_.trains.empty()) return unreached("the file has no `train`", "");
    syntax::Train& section = main_.trains[0];
    if (checkpoint ? section.checkpoints.empty() : section.evaluates.empty()) return unreached("`train` has no " + ticked(steps[0]) + " line", "");
    const std::string part = steps.size() == 2 ? steps[1] : "";
    std::vector<std::string> parts = {"every", "to", "keep"};
    if (evaluate) parts = {"every", "batches"};
    if (checkpoint && part == "every") return replace(section.checkpoints[0].every, false);
    if (checkpoint && part == "to") return replace(section.checkpoints[0].to ? *section.checkpoints[0].to : section.checkpoints[0].to.emplace(), true);
    if (checkpoint && part == "keep") return replace(section.checkpoints[0].keep ? *section.checkpoints[0].keep : section.checkpoints[0].keep.emplace(), false);
    if (evaluate && part == "every") return replace(section.evaluates[0].every, false);
    if (evaluate && part == "batches") return replace(section.evaluates[0].batches, false);
    unreached("", "after " + ticked(steps[0]) + " comes " + listed(ticked_all(parts)));
  }

  template <class Section>
  void in_section(std::vector<Section>& sections, const std::vector<std::string>& known, const std::vector<std::string>& steps, const std::string& name) {
    if (sections.empty()) return unreached("the file has no " + ticked(name), "");
    std::vector<syntax::Entry>& entries = sections[0].entries;
    for (syntax::Entry& entry : entries)
      if (entry.name.text == steps[0]) return descend(entry.value, steps, 1);
    bool exists = false;
    for (const std::string& entry : known) exists = exists || entry == steps[0];
    if (!exists) return unreached("`" + name + "` has no entry " + ticked(steps[0]), suggestion(steps[0], known));
    if (steps.size() > 1) return unreached("the file gives no " + ticked(steps[0]), "");
    syntax::Entry entry;
    entry.name = {steps[0], range_};
    entry.range = range_;
    replace(entry.value, false);
    if (entry.value.range.end > 0) entries.push_back(std::move(entry));
  }

  std::vector<ArgumentSpec> signature(const Expr& call) {
    if (const std::vector<ArgumentSpec>* known = call_signature(call.text)) return *known;
    std::vector<ArgumentSpec> specs;
    Diagnostics ignored;  // an unknown model is reported where it is instantiated
    std::optional<Callee> callee = find_callee(files_, 0, call, {}, ignored);
    if (callee && callee->module)
      for (const syntax::Formal& formal : callee->module->formals) specs.push_back({formal.name.text});
    return specs;
  }

  void descend(Expr& at, const std::vector<std::string>& steps, std::size_t i) {
    if (i == steps.size()) {
      const std::string& last = steps.back();
      const bool is_string = last == "path" || at.kind == ExprKind::string;
      if (at.kind == ExprKind::call && last == "model") return unreached("a model is not a number, word or string", "set its arguments: `model.NAME`");
      return replace(at, is_string);
    }
    const std::string& step = steps[i];
    if (at.kind != ExprKind::call) return unreached(ticked(step) + " is in nothing that has parts", "");
    const std::vector<ArgumentSpec> specs = signature(at);
    std::vector<std::string> names;
    for (std::size_t k = 0; k < specs.size(); ++k) {
      names.push_back(specs[k].name);
      if (specs[k].name == step && k < at.args.size() && !at.args[k].name) return descend(at.args[k].value, steps, i + 1);
    }
    for (syntax::Argument& argument : at.args)
      if (argument.name && argument.name->text == step) return descend(argument.value, steps, i + 1);
    bool exists = false;
    for (const std::string& name : names) exists = exists || name == step;
    if (!exists) return unreached(ticked(at.text) + " has no argument " + ticked(step), suggestion(step, names));
    if (i + 1 < steps.size()) return unreached("the file gives no " + ticked(step), "");
    syntax::Argument argument;
    argument.name = syntax::Name{step, range_};
    argument.range = range_;
    replace(argument.value, step == "path");
    if (argument.value.range.end > 0) at.args.push_back(std::move(argument));
  }

  Files& files_;
  syntax::File& main_;
  SourceMap& sources_;
  Diagnostics& diagnostics_;
  std::vector<LayoutSetting>& layouts_;
  std::string key_;
  std::uint32_t source_ = 0;
  SourceRange range_;
};

}  // namespace

const std::vector<ArgumentSpec>* call_signature(std::string_view name) {
  static const std::map<std::string_view, std::vector<ArgumentSpec>> all = {
      {"text", {{"path"}, {"tokenizer"}}},
      {"tokens", {{"path"}, {"type"}}},
      {"split", {{"share"}}},
      {"adamw", {{"lr"}, {"betas", false}, {"eps", false}, {"weight_decay", false}, {"decay", false}}},
      {"sgd", {{"lr"}, {"momentum", false}, {"weight_decay", false}, {"decay", false}}},
      {"constant", {{"peak"}, {"warmup", false}}},
      {"linear", {{"peak"}, {"warmup", false}, {"floor", false}}},
      {"cosine", {{"peak"}, {"warmup", false}, {"floor", false}}},
      {"fp16", {{"loss_scale"}}},
      {"dynamic", {{"init", false}, {"window", false}, {"hysteresis", false}, {"min", false}}},
      {"pretrained", {{"path"}}},
  };
  auto it = all.find(name);
  return it == all.end() ? nullptr : &it->second;
}

const std::vector<std::string>& data_entries() {
  static const std::vector<std::string> all = {"train", "validation", "sequence", "order"};
  return all;
}

const std::vector<std::string>& train_entries() {
  static const std::vector<std::string> all = {"model", "steps", "batch", "optimizer", "precision", "reduce", "clip_norm", "seed", "on_nonfinite", "init"};
  return all;
}

void apply_settings(const std::vector<std::pair<std::string, std::string>>& sets, Files& files, SourceMap& sources, Diagnostics& diagnostics,
                    std::vector<LayoutSetting>& layout_settings) {
  Setter setter(files, sources, diagnostics, layout_settings);
  for (const auto& [key, value] : sets) setter.set(key, value);
}

}  // namespace dsc::sema
