// dsc train FILE, dsc run PLAN, dsc sample DIR, dsc export DIR
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>

#include "compiler/driver/files.h"
#include "compiler/driver/pipeline.h"
#include "compiler/driver/verbs.h"
#include "compiler/plan/plan_json.h"
#include "compiler/plan/verify.h"
#include "runtime/exchange/huggingface.h"
#include "runtime/run.h"

namespace dsc {
namespace {

namespace fs = std::filesystem;

// --out, else the file's `checkpoint ... to` beside the file, else run/<file stem>.
fs::path output_folder(const CommandLine& line, const Plan& plan) {
  if (!line.out.empty()) return line.out;
  const std::string& to = plan.contract.train.checkpoint_to;
  if (!to.empty()) return fs::path(to).is_absolute() ? fs::path(to) : fs::path(plan.source_folder) / to;
  return fs::path("run") / fs::path(plan.sources.front().name).stem();
}

void write_stderr(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

// A run goes on when nobody reads its progress any more.
void outlive_readers() { std::signal(SIGPIPE, SIG_IGN); }

int train_plan(const CommandLine& line, const Plan& plan) {
  TrainOptions options;
  options.out = output_folder(line, plan);
  options.steps = line.steps;
  options.resume = line.resume;
  options.threads = static_cast<int>(line.threads.value_or(0));
  options.profile = line.profile;
  options.sink = {isatty(STDERR_FILENO) != 0, write_stderr};
  Result<TrainOutcome> outcome = train(plan, options);
  if (!outcome) return fail(outcome.error());
  if (outcome->signal != 0) {
    std::fprintf(stderr, "stopped by a signal after step %lld; a checkpoint is written: go on with --resume\n", static_cast<long long>(outcome->last_step));
    return 128 + outcome->signal;
  }
  return 0;
}

Status check_machine(const Plan& plan, const Target& machine) {
  const bool multiplies = plan.target.bf16_products == machine.bf16_products && plan.target.bf16x3 == machine.bf16x3;
  if (plan.target.fingerprint == machine.fingerprint && plan.target.name == machine.name && multiplies) return {};
  return Error{str(Code::other_target), "the plan is for `" + plan.target.name + "`" +
                   (plan.target.name == machine.name ? " with other libraries or instructions" : "") + ", not for this machine",
               "plan again here: dsc plan FILE -o PLAN"};
}

Status check_proved(const Plan& plan) {
  VerifyReport report = verify(plan);
  if (report.ok()) return {};
  return Error{str(Code::plan_rejected), "the plan is wrong: " + str(report.errors.front(), plan), "`dsc verify PLAN` lists all; plan again from the file"};
}

// The plan that a run directory was trained with.
Result<Plan> plan_of_run(const std::string& dir) {
  if (!fs::exists(fs::path(dir) / "plan.json"))
    return Error{str(Code::unreadable_file), "`" + dir + "` is not a run directory: it has no plan.json", "name a directory that `dsc train` wrote"};
  return load_plan((fs::path(dir) / "plan.json").string());
}

}  // namespace

int verb_train(const CommandLine& line) {
  outlive_readers();
  if (line.device == "cuda")
    return fail({str(Code::no_such_device), "--device cuda: this build of dsc runs on the CPU alone", "--device cpu, or --device auto"});
  CheckOptions check = check_options(line);
  Result<Checked> checked = check_file(line.arguments.front(), check);
  if (!checked) return fail(checked.error());
  write_stderr(render(checked->diagnostics, checked->sources));
  if (!checked->program) return 1;
  const CheckedProgram& program = *checked->program;
  if (program.model.ops.empty())
    return fail({str(Code::not_a_program), "`" + line.arguments.front() + "` has no `data` and `train` sections: there is nothing to run",
                 "name the file that uses it"});
  std::int64_t ranks = program.layout.world_size();
  Result<Plan> plan = compile(program, checked->sources, check, machine_target(ranks));
  if (!plan) return fail(plan.error());
  if (Status fits = check_fits(*plan, program, checked->sources, check); !fits) return fail(fits.error());
  if (program.layout_chosen_by_default) std::fprintf(stderr, "layout %s\n", program.layout.name.c_str());
  if (line.gpus) std::fprintf(stderr, "no GPU: running %lld CPU rank%s\n", static_cast<long long>(ranks), ranks == 1 ? "" : "s");
  return train_plan(line, *plan);
}

int verb_run(const CommandLine& line) {
  outlive_readers();
  Result<Plan> plan = load_plan(line.arguments.front());
  if (!plan) return fail(plan.error());
  if (plan->programs.empty() || plan->programs.front().name != "step")
    return fail({str(Code::plan_rejected), "this plan does not train", "plan again: dsc plan FILE -o PLAN"});
  if (Status here = check_machine(*plan, machine_target(plan->contract.layout.world_size())); !here) return fail(here.error());
  if (Status proved = check_proved(*plan); !proved) return fail(proved.error());
  return train_plan(line, *plan);
}

int verb_sample(const CommandLine& line) {
  const std::string& dir = line.arguments.front();
  Result<Plan> trained = plan_of_run(dir);
  if (!trained) return fail(trained.error());
  Result<Plan> plan = compile_sample(*trained, machine_target(1));
  if (!plan) return fail(plan.error());
  SampleOptions options;
  options.prompt = line.prompt;
  options.tokens = line.tokens.value_or(options.tokens);
  options.temperature = line.temperature;
  options.seed = line.seed;
  Result<Sampled> sampled = sample(*plan, dir, options);
  if (!sampled) return fail(sampled.error());
  for (const std::string& note : sampled->lines) std::fprintf(stderr, "%s\n", note.c_str());
  std::fputs(line.prompt.c_str(), stdout);
  bool bytes = plan->contract.data.train.format == TokenFormat::bytes;
  if (!bytes && !line.prompt.empty()) std::fputc(' ', stdout);  // token numbers stand apart
  std::fwrite(sampled->text.data(), 1, sampled->text.size(), stdout);
  std::fputc('\n', stdout);
  return 0;
}

int verb_export(const CommandLine& line) {
  const std::string& dir = line.arguments.front();
  Result<Plan> trained = plan_of_run(dir);
  if (!trained) return fail(trained.error());
  Result<Exported> exported = export_huggingface(trained->contract, dir, line.out);
  if (!exported) return fail(exported.error());
  for (const std::string& note : exported->lines) std::fprintf(stderr, "%s\n", note.c_str());
  std::printf("%s: %lld tensors of step %lld\n", line.out.c_str(), static_cast<long long>(exported->tensors), static_cast<long long>(exported->step));
  return 0;
}

}  // namespace dsc
