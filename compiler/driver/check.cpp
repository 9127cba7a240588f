// dsc check FILE, dsc fmt FILE
#include <cstdio>

#include "compiler/driver/files.h"
#include "compiler/driver/pipeline.h"
#include "compiler/driver/verbs.h"
#include "compiler/syntax/format.h"
#include "compiler/syntax/parse.h"

namespace dsc {

int verb_check(const CommandLine& line) {
  CheckOptions options = check_options(line);
  Result<Checked> checked = check_file(line.arguments.front(), options);
  if (!checked) return fail(checked.error());
  std::fputs(render(checked->diagnostics, checked->sources).c_str(), stderr);
  if (!checked->program) return 1;
  if (!line.target.empty() && !checked->program->model.ops.empty()) {
    Result<Target> target = target_named(line.target);
    if (!target) return fail(target.error());
    Result<Plan> plan = compile(*checked->program, checked->sources, options, *target);
    if (!plan) return fail(plan.error());
    if (Status fits = check_fits(*plan, *checked->program, checked->sources, options); !fits) return fail(fits.error());
  }
  std::printf("%s: no mistakes\n", line.arguments.front().c_str());
  return 0;
}

int verb_fmt(const CommandLine& line) {
  Result<std::string> text = read_file(line.arguments.front());
  if (!text) return fail(text.error());
  SourceMap sources;
  Diagnostics diagnostics;
  std::uint32_t file = sources.add({line.arguments.front(), *text});
  std::optional<syntax::File> tree = syntax::parse(file, sources, diagnostics);
  std::fputs(render(diagnostics, sources).c_str(), stderr);
  if (!tree) return 1;
  std::fputs(syntax::format(*tree, sources).c_str(), stdout);
  return 0;
}

}  // namespace dsc
