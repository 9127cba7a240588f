#include "compiler/sema/check.h"

#include "compiler/sema/elaborate.h"
#include "compiler/sema/exports.h"
#include "compiler/sema/files.h"
#include "compiler/sema/layouts.h"
#include "compiler/sema/names.h"
#include "compiler/sema/program.h"
#include "compiler/sema/sections.h"
#include "compiler/sema/settings.h"

namespace dsc {
namespace {

using namespace sema;

void check_all_names(const Files& files, Diagnostics& diagnostics) {
  for (const LoadedFile& file : files.files) {
    for (const syntax::Module& module : file.tree.modules) check_names(module, diagnostics);
    for (const syntax::Function& function : file.tree.functions) check_names(function, diagnostics);
  }
}

// The names that `sub` lines of a file call.
std::set<std::string> sub_callees(const syntax::File& file) {
  std::set<std::string> names;
  for (const syntax::Module& module : file.modules)
    for (const syntax::Sub& sub : module.subs) names.insert(sub.module.text);
  return names;
}

// The main file's modules that the model does not use, and its functions that nothing calls, each by itself with made-up
// sizes. A module that another uses is checked through that one, which may say more of its axes.
void check_alone(const Files& files, std::set<const syntax::Module*> used, std::set<const syntax::Function*> called, const SourceMap& sources,
                 Work& work, Diagnostics& diagnostics) {
  const LoadedFile& main = files.files[0];
  const std::set<std::string> inner = sub_callees(main.tree);
  std::vector<const syntax::Module*> modules;
  for (const bool by_others : {false, true})
    for (const syntax::Module& module : main.tree.modules)
      if (inner.contains(module.name.text) == by_others) modules.push_back(&module);
  for (const syntax::Module* next : modules) {
    const syntax::Module& module = *next;
    if (used.contains(&module)) continue;
    Program program = make_program(sources, diagnostics, files, work, 1, module.name.range, 1, module.name.range);
    program.sizes_known = false;
    const bool complete = instantiate_alone(program, module, 0).has_value();
    if (complete) elaborate_alone(program);
    if (complete) expand_exports(program);
    used.merge(program.used);
    called.merge(program.called);
  }
  for (const syntax::Function& function : main.tree.functions) {
    if (called.contains(&function)) continue;
    Program program = make_program(sources, diagnostics, files, work, 1, function.name.range, 1, function.name.range);
    program.sizes_known = false;
    elaborate_alone(program, function, 0);
    called.merge(program.called);
  }
}

// Weight decay of each parameter: its own line first, then what the optimizer says.
void resolve_decay(Program& program, bool products) {
  for (std::size_t i = 0; i < program.model.parameters.size(); ++i) {
    Parameter& parameter = program.model.parameters[i];
    parameter.decay = program.origins[i].decays && (!products || parameter.product_operand);
  }
}

// The model and its export; false where it has mistakes.
bool build_model(Program& program, const Sections& sections, CheckedProgram& out) {
  if (!sections.model) return false;
  Diagnostics& diagnostics = program.diagnostics;
  const std::size_t reported = diagnostics.list().size();
  if (!instantiate_model(program, *sections.model)) return false;
  elaborate_model(program, sections.model->range);
  out.exports = expand_exports(program);
  resolve_decay(program, sections.decay_products);
  return diagnostics.list().size() == reported;
}

}  // namespace

std::optional<CheckedProgram> check(std::uint32_t main_file, SourceMap& sources, const CheckOptions& options, Diagnostics& diagnostics) {
  Files files;
  if (!load_files(main_file, options.folder, sources, diagnostics, files)) return std::nullopt;
  declare_names(files, diagnostics);
  std::vector<LayoutSetting> layout_settings;
  apply_settings(options.sets, files, sources, diagnostics, layout_settings);
  check_all_names(files, diagnostics);

  const ValueReader reader(sources, diagnostics);
  const syntax::File& main = files.files[0].tree;
  CheckedProgram out;
  Work work;
  std::optional<Sections> sections = read_sections(main, options.folder, reader);
  if (!sections) {
    check_alone(files, {}, {}, sources, work, diagnostics);
    if (diagnostics.has_errors()) return std::nullopt;
    return out;
  }
  Program program = make_program(sources, diagnostics, files, work, sections->batch_for_check, sections->batch_source, sections->sequence_for_check, sections->sequence_source);
  const bool complete = build_model(program, *sections, out);
  check_alone(files, program.used, program.called, sources, work, diagnostics);

  const std::vector<FlatLayout> layouts = flatten_layouts(main, layout_settings, diagnostics);
  choose_layout(main, layouts, {complete ? &program : nullptr, *sections, reader, options.gpus, options.layout}, out);
  if (diagnostics.has_errors()) return std::nullopt;
  out.model = std::move(program.model);
  out.data = std::move(sections->data);
  out.train = std::move(sections->train);
  return out;
}

}  // namespace dsc
