#include "runtime/checkpoint/checkpoint_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/units.h"
#include "runtime/checkpoint/checksum.h"

namespace dsc {
namespace {

constexpr std::int64_t kManifestLimit = std::int64_t{1} << 30;

Error damaged(std::string what) { return {str(Code::checkpoint_damaged), std::move(what), ""}; }

// Opens a regular file and gives its size; -1 where that fails.
int open_regular(const std::filesystem::path& path, std::int64_t& bytes) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat facts{};
  if (fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode)) {
    bytes = facts.st_size;
    return fd;
  }
  if (fd >= 0) ::close(fd);
  return -1;
}

bool read_exactly(int fd, void* into, std::int64_t bytes, std::int64_t offset) {
  char* at = static_cast<char*>(into);
  while (bytes > 0) {
    ssize_t got = pread(fd, at, static_cast<std::size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    offset += got;
    bytes -= got;
  }
  return true;
}

Result<std::string> read_manifest(const std::filesystem::path& path) {
  std::int64_t bytes = 0;
  int fd = open_regular(path, bytes);
  if (fd < 0) return damaged("it has no readable manifest.json");
  std::string text;
  bool good = bytes <= kManifestLimit;
  if (good) {
    text.resize(static_cast<std::size_t>(bytes));
    good = read_exactly(fd, text.data(), bytes, 0);
  }
  ::close(fd);
  if (!good) return damaged("its manifest.json cannot be read");
  return text;
}

}  // namespace

Result<CheckpointReader> CheckpointReader::open(const CheckpointEntry& entry) {
  Result<std::string> text = read_manifest(entry.path / "manifest.json");
  if (!text) return text.error();
  Result<Manifest> manifest = manifest_from_json(*text);
  if (!manifest) return manifest.error();
  if (manifest->step != entry.step) return damaged("its manifest is of step " + std::to_string(manifest->step));
  std::int64_t bytes = 0;
  int fd = open_regular(entry.path / "state.bin", bytes);
  if (fd < 0) return damaged("it has no readable state.bin");
  CheckpointReader reader(std::move(*manifest), fd);
  if (bytes != reader.manifest_.data_bytes)
    return damaged("its state.bin has " + with_commas(bytes) + " bytes and should have " + with_commas(reader.manifest_.data_bytes));
  return reader;
}

CheckpointReader::CheckpointReader(CheckpointReader&& other) noexcept
    : manifest_(std::move(other.manifest_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

CheckpointReader::~CheckpointReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status CheckpointReader::for_each(StateSlot slot, std::optional<std::size_t> parameter,
                                  const std::function<void(const ManifestPiece&, std::span<const float>)>& use) const {
  std::vector<float> values;
  for (const ManifestPiece& piece : manifest_.pieces) {
    if (piece.slot != slot || (parameter && piece.parameter != *parameter)) continue;
    values.resize(static_cast<std::size_t>(piece.end - piece.begin));
    std::int64_t bytes = (piece.end - piece.begin) * 4;
    std::string place = manifest_.parameters[piece.parameter].first + " at byte " + with_commas(piece.offset) + " of state.bin";
    if (!read_exactly(descriptor_, values.data(), bytes, piece.offset)) return damaged("cannot read " + place);
    if (checksum(values.data(), static_cast<std::size_t>(bytes)) != piece.checksum)
      return damaged("the checksum of " + place + " does not match");
    use(piece, values);
  }
  return {};
}

namespace {

// The first difference of two lists of (name, size), in words; empty where they are equal.
std::string difference(const char* kind, const char* unit, const std::vector<NamedSize>& old_list,
                       const std::vector<NamedSize>& new_list) {
  std::string what = kind;
  for (std::size_t i = 0; i < std::max(old_list.size(), new_list.size()); ++i) {
    if (i >= new_list.size()) return "the checkpoint has " + what + " `" + old_list[i].first + "`, the model has not";
    if (i >= old_list.size()) return "the model has " + what + " `" + new_list[i].first + "`, the checkpoint has not";
    if (old_list[i].first != new_list[i].first)
      return what + " `" + new_list[i].first + "` stands where the checkpoint has `" + old_list[i].first + "`";
    if (old_list[i].second != new_list[i].second)
      return what + " `" + new_list[i].first + "` has " + with_commas(new_list[i].second) + unit + ", the checkpoint's has " +
             with_commas(old_list[i].second);
  }
  return "";
}

}  // namespace

Status same_model(const Manifest& checkpoint, const Manifest& run) {
  std::string what = difference("axis", " elements", checkpoint.axes, run.axes);
  if (what.empty()) what = difference("parameter", " elements", checkpoint.parameters, run.parameters);
  if (what.empty() && checkpoint.model_hash != run.model_hash) what = "its operations are others";
  if (what.empty()) return {};
  return Error{str(Code::resume_model_changed), "the model is not the one of checkpoint step " + std::to_string(checkpoint.step) + ": " + what,
               "restore the model, or start a new run with --out"};
}

std::string passed_over(const CheckpointEntry& entry, const Error& error) {
  return "checkpoint " + entry.path.filename().string() + " is damaged and passed over: " + error.message;
}

Error all_damaged(const std::filesystem::path& run_dir) {
  return {str(Code::checkpoint_damaged), "every checkpoint in " + (run_dir / "checkpoints").string() + " is damaged",
          "restore the folder from a backup, or start a new run with --out"};
}

Error no_checkpoint(const std::filesystem::path& run_dir) {
  return {str(Code::checkpoint_missing), "there is no checkpoint in " + run_dir.string(),
          "name the folder that `dsc train` wrote into"};
}

}  // namespace dsc
