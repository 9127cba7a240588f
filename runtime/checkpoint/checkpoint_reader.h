// One checkpoint folder opened for reading: its manifest, checked, and its pieces, each verified as it is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>

#include "compiler/support/result.h"
#include "runtime/checkpoint/manifest.h"

namespace dsc {

class CheckpointReader {
 public:
  // An error says what is damaged, without the path.
  static Result<CheckpointReader> open(const CheckpointEntry& entry);
  CheckpointReader(CheckpointReader&& other) noexcept;
  CheckpointReader& operator=(CheckpointReader&&) = delete;
  ~CheckpointReader();

  const Manifest& manifest() const { return manifest_; }
  // Calls `use` with every piece of a slot, in stored order; with `parameter`, of that one alone.
  Status for_each(StateSlot slot, std::optional<std::size_t> parameter,
                  const std::function<void(const ManifestPiece&, std::span<const float>)>& use) const;

 private:
  CheckpointReader(Manifest manifest, int descriptor) : manifest_(std::move(manifest)), descriptor_(descriptor) {}
  Manifest manifest_;
  int descriptor_ = -1;
};

// Why this checkpoint's model is not the contract's, naming the first difference; success where it is.
Status same_model(const Manifest& checkpoint, const Manifest& run);
// "checkpoint step-00000500 is damaged and passed over: its manifest is not JSON".
std::string passed_over(const CheckpointEntry& entry, const Error& error);
Error all_damaged(const std::filesystem::path& run_dir);
Error no_checkpoint(const std::filesystem::path& run_dir);

}  // namespace dsc
