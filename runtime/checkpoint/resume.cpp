#include <algorithm>
#include <vector>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/units.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/initial_state.h"
#include "runtime/checkpoint/manifest.h"

namespace dsc {
namespace {

bool same_content(const std::vector<DataFingerprint>& a, const std::vector<DataFingerprint>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const DataFingerprint& x, const DataFingerprint& y) {
    return x.bytes == y.bytes && x.sha256 == y.sha256;
  });
}

// Which file is another one, or how many there are; "" where the contents are equal.
std::string file_difference(const std::vector<DataFingerprint>& old_files, const std::vector<DataFingerprint>& new_files) {
  if (same_content(old_files, new_files)) return "";
  if (old_files.size() != new_files.size())
    return std::to_string(new_files.size()) + " files, the checkpoint was written with " + std::to_string(old_files.size());
  for (std::size_t i = 0; i < old_files.size(); ++i) {
    const DataFingerprint &was = old_files[i], &is = new_files[i];
    if (was.bytes != is.bytes)
      return is.path + " has " + with_commas(is.bytes) + " bytes, the checkpoint was written with " + with_commas(was.bytes);
    if (was.sha256 != is.sha256) return is.path + " has other content than when the checkpoint was written";
  }
  return "";
}

Status same_run(const Manifest& was, const Manifest& is) {
  std::string data;
  // Before the model, whose operations have its size in them.
  if (was.sequence != is.sequence)
    data = "sequence is " + with_commas(is.sequence) + ", the checkpoint was written with " + with_commas(was.sequence);
  if (data.empty())
    if (Status status = same_model(was, is); !status) return status;
  if (data.empty() && was.data_order != is.data_order)
    data = is.data_order + "; the checkpoint was written with " + was.data_order;
  if (data.empty()) data = file_difference(was.train_files, is.train_files);
  if (data.empty()) {
    data = file_difference(was.validation_files, is.validation_files);
    if (!data.empty()) data = "validation: " + data;
  }
  if (!data.empty())
    return Error{str(Code::resume_data_changed), "the data changed: " + data, "restore the data, or start a new run with --out"};
  if (was.seed != is.seed)
    return Error{str(Code::resume_seed_changed),
                 "seed is " + std::to_string(is.seed) + ", the checkpoint was written with " + std::to_string(was.seed),
                 "restore the seed, or start a new run with --out"};
  if (was.optimizer != is.optimizer)
    return Error{str(Code::resume_optimizer_changed),
                 "the optimizer is " + is.optimizer + ", the checkpoint was written with " + was.optimizer,
                 "restore the optimizer, or start a new run with --out"};
  return {};
}

// "resumed at step 500; changed since: batch 512 -> 256, steps 2000 -> 4000"; empty where nothing changed.
std::string changes(const Manifest& was, const Manifest& is) {
  std::string text;
  for (const auto& [key, value] : is.settings)
    for (const auto& [old_key, old_value] : was.settings)
      if (key == old_key && value != old_value) text += (text.empty() ? "" : ", ") + key + " " + old_value + " -> " + value;
  return text.empty() ? "" : "changed since the checkpoint of step " + std::to_string(was.step) + ": " + text;
}

// A dynamic loss scale goes on where it was only if the run still has one in the same precision.
StateBlock resumed_block(const Manifest& was, const Manifest& is, const TrainSpec& train) {
  StateBlock block = was.block, first = initial_block(train);
  bool goes_on = was.dynamic_scale && is.dynamic_scale && was.precision == is.precision;
  if (goes_on) {
    block.hysteresis = std::min(block.hysteresis, train.loss_scale.hysteresis);
    return block;
  }
  block.loss_scale = first.loss_scale;
  block.next_loss_scale = first.next_loss_scale;
  block.hysteresis = first.hysteresis;
  block.clean = 0;
  return block;
}

Status load_slot(const CheckpointReader& reader, StateSlot slot, TrainingState& state) {
  return reader.for_each(slot, std::nullopt, [&](const ManifestPiece& piece, std::span<const float> values) {
    state.set(ParameterId(piece.parameter), slot, piece.begin, values);
  });
}

void zero_slot(const Manifest& manifest, StateSlot slot, TrainingState& state) {
  std::vector<float> zeros;
  for (std::size_t p = 0; p < manifest.parameters.size(); ++p)
    for (std::int64_t begin = 0, n = manifest.parameters[p].second; begin < n; begin += kPieceElements) {
      zeros.assign(static_cast<std::size_t>(std::min(kPieceElements, n - begin)), 0.0f);
      state.set(ParameterId(p), slot, begin, zeros);
    }
}

// All that `state` keeps. A slot that the checkpoint lacks (momentum was 0) begins at zero; one that the run lacks is
// verified all the same, so that whether a checkpoint counts as damaged does not depend on who reads it.
Status load_all(const CheckpointReader& reader, TrainingState& state) {
  for (StateSlot slot : {StateSlot::master, StateSlot::moment1, StateSlot::moment2}) {
    if (!state.has(slot)) {
      if (Status status = reader.for_each(slot, std::nullopt, [](const ManifestPiece&, std::span<const float>) {}); !status)
        return status;
    } else if (reader.manifest().has(slot)) {
      if (Status status = load_slot(reader, slot, state); !status) return status;
    } else {
      zero_slot(reader.manifest(), slot, state);
    }
  }
  return {};
}

}  // namespace

Result<std::optional<Resumed>> resume(const std::filesystem::path& run_dir, const CheckpointIdentity& identity,
                                      TrainingState& state) {
  Result<std::vector<CheckpointEntry>> entries = list_checkpoints(run_dir);
  if (!entries) return entries.error();
  if (entries->empty()) return std::optional<Resumed>();
  Resumed resumed;
  Manifest is = describe(identity);
  for (const CheckpointEntry& entry : *entries) {
    Result<CheckpointReader> reader = CheckpointReader::open(entry);
    if (!reader) {
      resumed.lines.push_back(passed_over(entry, reader.error()));
      continue;
    }
    const Manifest& was = reader->manifest();
    if (Status same = same_run(was, is); !same) return same.error();
    if (Status loaded = load_all(*reader, state); !loaded) {
      resumed.lines.push_back(passed_over(entry, loaded.error()));
      continue;
    }
    state.set_block(resumed_block(was, is, identity.contract.train));
    resumed.step = was.step;
    resumed.position = {was.step, was.consumed};
    if (std::string line = changes(was, is); !line.empty()) resumed.lines.push_back(line);
    return std::optional<Resumed>(std::move(resumed));
  }
  Error error = all_damaged(run_dir);
  error.message += ": " + resumed.lines.front();
  return error;
}

Result<Resumed> load_parameters(const std::filesystem::path& run_dir, const Contract& contract, TrainingState& state) {
  Result<std::vector<CheckpointEntry>> entries = list_checkpoints(run_dir);
  if (!entries) return entries.error();
  if (entries->empty()) return no_checkpoint(run_dir);
  Resumed resumed;
  Manifest is = describe({contract, {}, {}});
  for (const CheckpointEntry& entry : *entries) {
    Result<CheckpointReader> reader = CheckpointReader::open(entry);
    Status loaded = reader ? same_model(reader->manifest(), is) : Status(reader.error());
    if (reader && !loaded) return loaded.error();
    if (loaded) loaded = load_slot(*reader, StateSlot::master, state);
    if (!loaded) {
      resumed.lines.push_back(passed_over(entry, loaded.error()));
      continue;
    }
    resumed.step = reader->manifest().step;
    resumed.position = {resumed.step, reader->manifest().consumed};
    return resumed;
  }
  return all_damaged(run_dir);
}

}  // namespace dsc
