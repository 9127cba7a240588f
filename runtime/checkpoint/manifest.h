// The manifest of a checkpoint: everything but the numbers themselves. As JSON it carries its own checksum; reading it
// back checks every field, so that what follows can trust ranges and offsets.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "compiler/support/result.h"
#include "compiler/support/state_block.h"
#include "runtime/arena/training_state.h"
#include "runtime/checkpoint/checkpoint.h"

namespace dsc {

// No piece is longer: what a reader must hold at once.
constexpr std::int64_t kPieceElements = std::int64_t{1} << 22;

// Elements [begin, end) of a flattened parameter, f32, at `offset` in state.bin.
struct ManifestPiece {
  std::size_t parameter = 0;
  StateSlot slot = StateSlot::master;
  std::int64_t begin = 0, end = 0, offset = 0;
  std::uint64_t checksum = 0;
};

using NamedSize = std::pair<std::string, std::int64_t>;

struct Manifest {
  std::int64_t step = 0, consumed = 0;
  std::string model_hash;
  std::vector<NamedSize> axes;        // path and size; batch and seq left out
  std::vector<NamedSize> parameters;  // path and elements
  std::uint64_t seed = 0;
  std::string optimizer;   // "adamw", "sgd"
  std::int64_t sequence = 0;
  std::string data_order;  // "u16, shuffled, validation split(5/100)"
  std::vector<DataFingerprint> train_files, validation_files;
  std::string precision;   // "fp32", "bf16", "fp16"
  bool dynamic_scale = false;
  std::vector<std::pair<std::string, std::string>> settings;  // what may change, for people: "batch" -> "512"
  StateBlock block;
  std::int64_t data_bytes = 0;  // of state.bin
  std::vector<ManifestPiece> pieces;

  bool has(StateSlot slot) const;
};

// All of it but step, consumed, block and pieces.
Manifest describe(const CheckpointIdentity& identity);
std::string to_json(const Manifest& manifest);
// Checks form, checksum, ranges, and that the pieces of each slot tile every parameter.
Result<Manifest> manifest_from_json(const std::string& text);

}  // namespace dsc
