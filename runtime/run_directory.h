// A run directory held by one process at a time, and its files but for metrics and checkpoints.
#pragma once

#include <filesystem>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"
#include "runtime/metrics/process_memory.h"

namespace dsc {

class RunDirectory {
 public:
  // Makes `out` where it is missing, and locks it while the result lives. An error where another run has it, where it holds
  // a run already and `resume` is not set, or where it cannot be made.
  static Result<RunDirectory> open(const std::filesystem::path& out, bool resume);
  RunDirectory(RunDirectory&& other) noexcept;
  RunDirectory& operator=(RunDirectory&&) = delete;
  ~RunDirectory();

 private:
  explicit RunDirectory(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

struct RankMemory {
  Bytes device_arena{0}, host_arena{0}, storage{0};  // as mapped
};
struct RunFacts {
  std::vector<RankMemory> ranks;
  int threads = 0;
  ResidentRest rest;           // after start-up
  std::int64_t data_bytes = 0; // of all data files
};
// run.json: those facts, the process's peak so far, and which plan ran.
Status write_run_json(const std::filesystem::path& out, const Plan& plan, const RunFacts& facts);

}  // namespace dsc
