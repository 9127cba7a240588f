// The files of a run directory but for metrics and checkpoints.
#pragma once

#include <filesystem>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"
#include "runtime/metrics/process_memory.h"

namespace dsc {

// Makes `out` where it is missing. An error where it holds a run already and `resume` is not set, or cannot be written.
Status open_run_directory(const std::filesystem::path& out, bool resume);

struct RankMemory {
  Bytes device_arena{0}, host_arena{0}, storage{0};  // as mapped
};
struct RunFacts {
  std::vector<RankMemory> ranks;
  int threads = 0;
  ResidentRest rest;           // after start-up
  std::int64_t data_bytes = 0; // mapped data files
};
// run.json: those facts, the process's peak so far, and which plan ran.
Status write_run_json(const std::filesystem::path& out, const Plan& plan, const RunFacts& facts);

}  // namespace dsc
