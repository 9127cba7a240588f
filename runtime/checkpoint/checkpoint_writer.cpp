#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>

#include "compiler/support/diagnostic_codes.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/durable_file.h"
#include "runtime/checkpoint/manifest.h"

namespace dsc {
namespace {

namespace fs = std::filesystem;
constexpr Code kCode = Code::checkpoint_unwritable;
constexpr const char* kTemporary = ".writing";  // a checkpoint not complete
constexpr const char* kDiscarded = ".discarded";  // one being deleted

std::string folder_name(std::int64_t step) {
  char text[40];
  std::snprintf(text, sizeof text, "step-%08lld", static_cast<long long>(step));
  return text;
}

void remove_quietly(const fs::path& path) {
  std::error_code trouble;
  fs::remove_all(path, trouble);
}

// Renamed first, so that a crash half-way leaves no torn checkpoint under a valid name.
void discard(const fs::path& checkpoints, const fs::path& path) {
  std::error_code trouble;
  fs::path aside = checkpoints / kDiscarded;
  remove_quietly(aside);
  fs::rename(path, aside, trouble);
  remove_quietly(aside);
}

Status write_pieces(const fs::path& path, const Contract& contract, const TrainingState& state, Manifest& manifest) {
  Result<DurableFile> file = DurableFile::create(path, kCode);
  if (!file) return file.error();
  for (StateSlot slot : {StateSlot::master, StateSlot::moment1, StateSlot::moment2}) {
    if (!state.has(slot)) continue;
    for (std::size_t p = 0; p < contract.model.parameters.size(); ++p) {
      for (std::int64_t d = 0; d < contract.layout.data_ranks(); ++d) {
        std::int64_t first = state.piece_begin(ParameterId(p), d), last = state.piece_end(ParameterId(p), d);
        if (first >= last) continue;
        const float* values = state.get(ParameterId(p), slot, d).data();
        for (std::int64_t begin = first; begin < last; begin += kPieceElements) {
          std::int64_t end = std::min(last, begin + kPieceElements);
          const float* at = values + (begin - first);
          std::size_t bytes = static_cast<std::size_t>(end - begin) * 4;
          if (Status status = file->write(at, bytes); !status) return status;
          manifest.pieces.push_back({p, slot, begin, end, manifest.data_bytes, checksum(at, bytes)});
          manifest.data_bytes += static_cast<std::int64_t>(bytes);
        }
      }
    }
  }
  return file->close();
}

Status write_manifest(const fs::path& path, const Manifest& manifest) {
  std::string text = to_json(manifest);
  Result<DurableFile> file = DurableFile::create(path, kCode);
  if (!file) return file.error();
  if (Status status = file->write(text.data(), text.size()); !status) return status;
  return file->close();
}

// Gives the complete folder its name. A checkpoint of the same step (a damaged one that a resume passed over, or the last
// periodic one) is exchanged for it, so that at no instant there is none.
Status publish(const fs::path& checkpoints, const fs::path& temporary, const fs::path& name) {
  std::error_code trouble;
  if (!fs::exists(name, trouble)) return rename_durably(temporary, name, kCode);
  constexpr unsigned exchange = 2;  // RENAME_EXCHANGE
  if (syscall(SYS_renameat2, AT_FDCWD, temporary.c_str(), AT_FDCWD, name.c_str(), exchange) == 0) {
    if (Status status = sync_folder(checkpoints, kCode); !status) return status;
    discard(checkpoints, temporary);
    return {};
  }
  discard(checkpoints, name);
  return rename_durably(temporary, name, kCode);
}

void delete_oldest(const fs::path& run_dir, std::int64_t step, std::int64_t keep) {
  if (keep <= 0) return;
  std::int64_t seen = 0;
  Result<std::vector<CheckpointEntry>> entries = list_checkpoints(run_dir);
  if (!entries) return;  // all the more are kept
  for (const CheckpointEntry& entry : *entries) {
    if (entry.step > step) continue;  // passed over, and could not be set aside
    if (++seen > keep) discard(run_dir / "checkpoints", entry.path);
  }
}

}  // namespace

Result<std::vector<CheckpointEntry>> list_checkpoints(const fs::path& run_dir) {
  std::vector<CheckpointEntry> entries;
  std::error_code trouble;
  fs::directory_iterator it(run_dir / "checkpoints", trouble);
  if (trouble == std::errc::no_such_file_or_directory) return entries;
  for (; !trouble && it != fs::directory_iterator(); it.increment(trouble)) {
    std::string name = it->path().filename().string();
    std::int64_t step = 0;
    if (name.rfind("step-", 0) != 0) continue;
    auto [end, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
    if (error == std::errc() && end == name.data() + name.size() && step >= 0 && name == folder_name(step))
      entries.push_back({step, it->path()});
  }
  if (trouble)
    return Error{str(Code::checkpoint_damaged), "cannot list " + (run_dir / "checkpoints").string() + ": " + trouble.message(),
                 "check the folder and its permissions, then try again"};
  std::sort(entries.begin(), entries.end(), [](const CheckpointEntry& a, const CheckpointEntry& b) { return a.step > b.step; });
  return entries;
}

void set_aside_after(const fs::path& run_dir, std::int64_t step) {
  Result<std::vector<CheckpointEntry>> entries = list_checkpoints(run_dir);
  if (!entries) return;
  for (const CheckpointEntry& entry : *entries) {
    if (entry.step <= step) continue;
    std::error_code trouble;
    fs::path aside = entry.path.string() + ".damaged";
    remove_quietly(aside);
    fs::rename(entry.path, aside, trouble);
  }
}

Status write_checkpoint(const fs::path& run_dir, const CheckpointIdentity& identity, const TrainingState& state,
                        std::int64_t consumed) {
  fs::path checkpoints = run_dir / "checkpoints", temporary = checkpoints / kTemporary;
  if (Status status = make_folder(checkpoints, kCode); !status) return status;
  remove_quietly(temporary);
  remove_quietly(checkpoints / kDiscarded);
  Manifest manifest = describe(identity);
  manifest.block = state.block();
  manifest.step = manifest.block.attempts;
  manifest.consumed = consumed;
  auto write = [&]() -> Status {
    if (Status status = make_folder(temporary, kCode); !status) return status;
    if (Status status = write_pieces(temporary / "state.bin", identity.contract, state, manifest); !status) return status;
    if (Status status = write_manifest(temporary / "manifest.json", manifest); !status) return status;
    if (Status status = sync_folder(temporary, kCode); !status) return status;
    return publish(checkpoints, temporary, checkpoints / folder_name(manifest.step));
  };
  Status status = write();
  if (!status) {
    remove_quietly(temporary);
    return status;
  }
  delete_oldest(run_dir, manifest.step, identity.contract.train.checkpoint_keep);
  return {};
}

}  // namespace dsc
