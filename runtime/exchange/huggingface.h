// Hugging Face folders, through the model's own `export huggingface` map: the newest checkpoint written as one, and one
// read as initial weights. No model name is known here.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "compiler/plan/contract.h"
#include "compiler/support/result.h"
#include "runtime/arena/training_state.h"

namespace dsc {

struct Exported {
  std::int64_t step = 0;           // of the checkpoint
  std::int64_t tensors = 0;
  std::vector<std::string> lines;  // damaged checkpoints passed over
};
// Writes model.safetensors (f32) and config.json into `out_dir` from the newest readable checkpoint in `run_dir`.
Result<Exported> export_huggingface(const Contract& contract, const std::filesystem::path& run_dir,
                                    const std::filesystem::path& out_dir);

// Reads contract.train.init_pretrained into every rank, after initialise(). Checks every shape, that no tensor is missing
// or unexpected, and the config. Out: notes for the user (config entries that the folder does not state).
Result<std::vector<std::string>> import_pretrained(const Contract& contract, TrainingState& state);

}  // namespace dsc
