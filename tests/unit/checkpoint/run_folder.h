// A run folder with one data file and a plan made by hand, as the tests of checkpoints use it.
#pragma once

#include <algorithm>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/initial_state.h"
#include "tests/unit/checkpoint/hand_plan.h"
#include "tests/unit/data/temporary_folder.h"

namespace dsc {

struct RunFolder {
  TemporaryFolder dir;
  std::vector<DataFingerprint> train_files = {{"corpus.txt", 1000, std::string(64, 'a')}};
  std::vector<DataFingerprint> validation_files;

  std::filesystem::path run() const { return dir.path() / "run"; }
  std::filesystem::path step(int n) const { return run() / "checkpoints" / ("step-" + std::string(8 - std::to_string(n).size(), '0') + std::to_string(n)); }
  CheckpointIdentity identity(HandPlan& plan) const { return {plan.contract(), train_files, validation_files}; }
  // Fills the plan with numbers of its own for this step and writes them.
  Status write(HandPlan& plan, std::int64_t step) {
    plan.scribble(static_cast<std::uint64_t>(step));
    StateBlock block = initial_block(plan.contract().train);
    block.attempts = step;
    block.applied = step;
    plan.state().set_block(block);
    return write_checkpoint(run(), identity(plan), plan.state(), step * plan.contract().train.batch);
  }
  Result<std::optional<Resumed>> read(HandPlan& plan) { return resume(run(), identity(plan), plan.state()); }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> list;
    const Result<std::vector<CheckpointEntry>> entries = list_checkpoints(run());
    for (const CheckpointEntry& entry : *entries) list.push_back(entry.step);
    return list;
  }
  // Names in the checkpoints folder, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& entry : std::filesystem::directory_iterator(run() / "checkpoints")) list.push_back(entry.path().filename());
    std::sort(list.begin(), list.end());
    return list;
  }
};

}  // namespace dsc
