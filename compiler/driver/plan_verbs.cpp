// dsc explain FILE, dsc plan FILE, dsc verify PLAN
#include <cstdio>

#include "compiler/driver/files.h"
#include "compiler/driver/pipeline.h"
#include "compiler/driver/verbs.h"
#include "compiler/explain/explain.h"
#include "compiler/plan/plan_json.h"
#include "compiler/plan/verify.h"
#include "compiler/sema/print.h"
#include "compiler/syntax/parse.h"
#include "compiler/syntax/print.h"

namespace dsc {
namespace {

// The target of a command: the named device, or this machine.
Result<Target> target_of(const CommandLine& line, std::int64_t ranks) {
  return line.target.empty() ? Result<Target>(machine_target(ranks)) : target_named(line.target);
}

// Checks the file and prints what is wrong; a program to lower, or nothing (the exit status is then 1).
std::optional<Checked> checked_program(const CommandLine& line, const CheckOptions& options) {
  Result<Checked> checked = check_file(line.arguments.front(), options);
  if (!checked) {
    fail(checked.error());
    return std::nullopt;
  }
  std::fputs(render(checked->diagnostics, checked->sources).c_str(), stderr);
  if (!checked->program) return std::nullopt;
  if (checked->program->model.ops.empty()) {
    fail({str(Code::not_a_program), "`" + line.arguments.front() + "` has no `data` and `train` sections: there is nothing to run",
          "name the file that uses it"});
    return std::nullopt;
  }
  return std::move(*checked);
}

std::optional<Explanation> explain_layout(const CommandLine& line, const CheckOptions& options) {
  std::optional<Checked> checked = checked_program(line, options);
  if (!checked) return std::nullopt;
  Result<Target> target = target_of(line, checked->program->layout.world_size());
  if (!target) return fail(target.error()), std::nullopt;
  Result<Plan> plan = compile(*checked->program, checked->sources, options, *target);
  if (!plan) return fail(plan.error()), std::nullopt;
  if (!line.target.empty())
    if (Status fits = check_fits(*plan, *checked->program, checked->sources, options); !fits) return fail(fits.error()), std::nullopt;
  return explain(*plan);
}

}  // namespace

int verb_explain(const CommandLine& line) {
  CheckOptions options = check_options(line);
  std::vector<Explanation> explanations;
  if (!line.all) {
    std::optional<Explanation> one = explain_layout(line, options);
    if (!one) return 1;
    explanations.push_back(std::move(*one));
  } else {
    std::optional<Checked> first = checked_program(line, options);
    if (!first) return 1;
    for (const std::string& name : first->program->layout_names) {
      CheckOptions each = options;
      each.layout = name;
      // A layout that this number of ranks does not satisfy is left out; what is wrong with it, `dsc check` tells.
      Result<Checked> fits = check_file(line.arguments.front(), each);
      if (!fits || !fits->program) continue;
      std::optional<Explanation> one = explain_layout(line, each);
      if (!one) return 1;
      explanations.push_back(std::move(*one));
    }
    if (first->program->layout_names.empty())
      if (std::optional<Explanation> one = explain_layout(line, options)) explanations.push_back(std::move(*one));
  }
  if (line.json) {
    std::fputs(to_json(explanations, line.all).c_str(), stdout);
    return 0;
  }
  for (std::size_t i = 0; i < explanations.size(); ++i) std::printf("%s%s", i ? "\n" : "", to_text(explanations[i]).c_str());
  return 0;
}

int verb_plan(const CommandLine& line) {
  const std::string& path = line.arguments.front();
  CheckOptions options = check_options(line);
  if (line.emit == "ast") {
    Result<std::string> text = read_file(path);
    if (!text) return fail(text.error());
    SourceMap sources;
    Diagnostics diagnostics;
    std::optional<syntax::File> tree = syntax::parse(sources.add({path, *text}), sources, diagnostics);
    std::fputs(render(diagnostics, sources).c_str(), stderr);
    if (!tree) return 1;
    std::fputs(syntax::print(*tree).c_str(), stdout);
    return 0;
  }
  std::optional<Checked> checked = checked_program(line, options);
  if (!checked) return 1;
  if (line.emit == "model") {
    std::fputs(print(*checked->program).c_str(), stdout);
    return 0;
  }
  Result<Target> target = target_of(line, checked->program->layout.world_size());
  if (!target) return fail(target.error());
  Emit emit{line.emit, ""};
  Result<Plan> plan = compile(*checked->program, checked->sources, options, *target, &emit);
  if (!plan) return fail(plan.error());
  if (Status fits = check_fits(*plan, *checked->program, checked->sources, options); !fits) return fail(fits.error());
  std::fputs(emit.text.c_str(), stdout);
  if (line.out.empty()) {
    if (line.emit.empty()) std::printf("%s\n", to_json(*plan).c_str());
    return 0;
  }
  if (Status saved = save_plan(*plan, line.out); !saved) return fail(saved.error());
  return 0;
}

int verb_verify(const CommandLine& line) {
  Result<Plan> plan = load_plan(line.arguments.front());
  if (!plan) return fail(plan.error());
  VerifyReport report = verify(*plan);
  for (const VerifyError& error : report.errors) std::fprintf(stderr, "error[%s]: %s\n", name_of(error.kind), str(error, *plan).c_str());
  if (!report.ok()) {
    std::fprintf(stderr, "the plan is wrong in %zu places; plan again with `dsc plan`\n", report.errors.size());
    return 1;
  }
  std::printf("%s: proved; %s instructions, peak %s B, lower bound %s B\n", line.arguments.front().c_str(),
              with_commas(report.instructions).c_str(), with_commas(report.peak.value).c_str(), with_commas(report.lower_bound.value).c_str());
  return 0;
}

}  // namespace dsc
