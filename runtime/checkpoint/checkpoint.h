// Checkpoints, independent of layout: DIR/checkpoints/step-00000500/ holds state.bin (f32 pieces of parameters and moments)
// and manifest.json, written last. Writing is atomic: either the whole checkpoint appears or none, and older ones stay.
// Reading trusts nothing: sizes, ranges and checksums are checked, a damaged checkpoint is passed over with one line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compiler/plan/contract.h"
#include "compiler/support/result.h"
#include "compiler/support/state_block.h"
#include "runtime/arena/training_state.h"
#include "runtime/data/batches.h"

namespace dsc {

// What a checkpoint is a checkpoint of. `contract` outlives it.
struct CheckpointIdentity {
  const Contract& contract;
  std::vector<DataFingerprint> train_files, validation_files;
};
// Hashes the data files where that has not been done yet.
Result<CheckpointIdentity> checkpoint_identity(const Contract& contract, Batches& batches);
// A hash of what the model computes: axes (batch without its size), parameters, operations without roundings; hex.
std::string model_hash(const Contract& contract);

struct CheckpointEntry {
  std::int64_t step = 0;  // attempts made
  std::filesystem::path path;
};
// Those of a run directory, newest first, whether or not they can be read. An error where the folder is there and cannot
// be listed: taking that for none would begin the run again.
Result<std::vector<CheckpointEntry>> list_checkpoints(const std::filesystem::path& run_dir);
// Renames those of later steps, which a resume passed over, to step-XXXXXXXX.damaged: they no longer count among those kept.
void set_aside_after(const std::filesystem::path& run_dir, std::int64_t step);

// Writes the state at step state.block().attempts, of which `consumed` sequences were read so far in all, then deletes
// the oldest but contract.train.checkpoint_keep (0: none). An error leaves the older ones untouched.
Status write_checkpoint(const std::filesystem::path& run_dir, const CheckpointIdentity& identity,
                        const TrainingState& state, std::int64_t consumed);

struct Resumed {
  std::int64_t step = 0;           // attempts made: the next attempt is number `step` (from 0)
  DataPosition position;           // where its data begins
  std::vector<std::string> lines;  // for the user: damaged checkpoints passed over, settings that changed
};
// Loads the newest checkpoint that can be read into every rank, state block included. std::nullopt: there is none yet.
// Refused (an error): another model, data, sequence, seed or kind of optimizer; or all checkpoints are damaged.
Result<std::optional<Resumed>> resume(const std::filesystem::path& run_dir, const CheckpointIdentity& identity,
                                      TrainingState& state);

// The parameters alone, for `sample`: no data is compared. An error where there is no checkpoint.
Result<Resumed> load_parameters(const std::filesystem::path& run_dir, const Contract& contract, TrainingState& state);

}  // namespace dsc
