#include "runtime/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <nlohmann/json.hpp>

#include "compiler/support/diagnostic_codes.h"
#include "runtime/checkpoint/durable_file.h"

namespace dsc {
namespace fs = std::filesystem;

Result<RunDirectory> RunDirectory::open(const fs::path& out, bool resume) {
  std::error_code code;
  fs::create_directories(out, code);
  if (!code && !fs::is_directory(out, code)) code = std::make_error_code(std::errc::not_a_directory);
  if (code)
    return Error{str(Code::run_not_writable), "cannot make the output directory " + out.string() + ": " + code.message(),
                 "choose another directory with --out"};
  // The lock goes with the process, however it ends. Where a file system has none, runs go without.
  RunDirectory directory(::open(out.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (::flock(directory.descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return Error{str(Code::run_exists), "another run writes to " + out.string() + " at this moment",
                 "wait for its end, or choose another directory with --out"};
  for (const char* name : {"metrics.jsonl", "run.json", "plan.json", "checkpoints"}) {
    if (resume || !fs::exists(out / name, code)) continue;
    return Error{str(Code::run_exists), out.string() + " holds a run already (" + name + ")",
                 "go on with it by --resume, or choose another directory with --out"};
  }
  return directory;
}

RunDirectory::RunDirectory(RunDirectory&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

RunDirectory::~RunDirectory() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status write_run_json(const fs::path& out, const Plan& plan, const RunFacts& facts) {
  nlohmann::ordered_json json;
  const LayoutSpec& layout = plan.contract.layout;
  json["layout"] = layout.name;
  json["world_size"] = layout.world_size();
  json["mesh"] = nlohmann::ordered_json::object();
  for (const MeshAxis& axis : layout.mesh) json["mesh"][axis.name] = axis.size;
  json["ranks"] = nlohmann::ordered_json::array();
  for (const RankMemory& rank : facts.ranks)
    json["ranks"].push_back({{"device_arena_bytes", rank.device_arena.value},
                             {"host_arena_bytes", rank.host_arena.value},
                             {"storage_bytes", rank.storage.value}});
  json["process_peak_bytes"] = process_peak().value;
  json["outside_arenas"] = {{"image_bytes", facts.rest.image.value},
                            {"mapped_data_bytes", facts.rest.data.value},
                            {"stack_bytes", facts.rest.stacks.value},
                            {"heap_bytes", facts.rest.heap.value}};
  json["data_bytes"] = facts.data_bytes;
  json["threads"] = facts.threads;
  json["target"] = plan.target.name;
  json["plan_hash"] = plan.hash;
  const std::string text = json.dump(2) + "\n";
  const fs::path partial = out / "run.json.partial";
  Result<DurableFile> file = DurableFile::create(partial, Code::run_not_writable);
  if (!file) return file.error();
  if (Status status = file->write(text.data(), text.size()); !status) return status;
  if (Status status = file->close(); !status) return status;
  return rename_durably(partial, out / "run.json", Code::run_not_writable);
}

}  // namespace dsc
