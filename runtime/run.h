// A plan in, a trained run directory out; or a plan and a run directory in, text out. What the directory holds:
// plan.json, run.json, metrics.jsonl and checkpoints/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"
#include "runtime/executor/executor.h"
#include "runtime/metrics/progress.h"

namespace dsc {

struct TrainOptions {
  std::filesystem::path out;          // the run directory; made where missing
  std::optional<std::int64_t> steps;  // stops after this many attempts in all, where the file asks for more
  bool resume = false;
  int threads = 0;                    // 0: one per core of the affinity mask
  bool profile = false;
  TextSink sink;
  // For tests of faults, see ExecutorOptions.
  std::function<void(const Instruction&, std::int64_t rank)> before_tile;
};

struct TrainOutcome {
  int signal = 0;  // SIGINT, SIGTERM or SIGHUP stopped the run after a step, with a checkpoint: the exit status is 128 + signal
  std::int64_t first_step = 0, last_step = 0;  // attempts made before and after
  std::optional<double> first_loss, last_loss, validation_loss;
};

// SIGINT, SIGTERM and SIGHUP are held back while it runs and looked at between steps.
Result<TrainOutcome> train(const Plan& plan, const TrainOptions& options);

struct SampleOptions {
  std::string prompt;
  std::int64_t tokens = 200;
  double temperature = 1;  // 0: always the likeliest token
  std::uint64_t seed = 0;
  int threads = 0;
};

struct Sampled {
  std::string text;
  std::vector<std::string> lines;  // damaged checkpoints passed over
};

// `plan` is the sample plan of the model; the newest readable checkpoint in `run_dir` gives the parameters. Tokens are
// bytes where the data are text; else numbers, in the prompt and in the result, separated by spaces.
Result<Sampled> sample(const Plan& plan, const std::filesystem::path& run_dir, const SampleOptions& options);

}  // namespace dsc
