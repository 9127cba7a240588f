#include "runtime/run_directory.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include <nlohmann/json.hpp>

#include "compiler/support/diagnostic_codes.h"

namespace dsc {
namespace fs = std::filesystem;

Status open_run_directory(const fs::path& out, bool resume) {
  std::error_code code;
  for (const char* name : {"metrics.jsonl", "run.json", "plan.json", "checkpoints"}) {
    if (resume || !fs::exists(out / name, code)) continue;
    return Error{str(Code::run_exists), out.string() + " holds a run already (" + name + ")",
                 "go on with it by --resume, or choose another directory with --out"};
  }
  fs::create_directories(out, code);
  if (!code && !fs::is_directory(out, code)) code = std::make_error_code(std::errc::not_a_directory);
  if (code)
    return Error{str(Code::run_not_writable), "cannot make the output directory " + out.string() + ": " + code.message(),
                 "choose another directory with --out"};
  return {};
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
  const fs::path partial = out / "run.json.partial";
  {
    std::ofstream file(partial, std::ios::trunc);
    file << json.dump(2) << "\n";
    file.flush();
    if (!file)
      return Error{str(Code::run_not_writable), "cannot write " + (out / "run.json").string() + ": " + std::strerror(errno),
                   "make room or choose another directory with --out; what was written before stays valid"};
  }
  std::error_code code;
  fs::rename(partial, out / "run.json", code);
  if (code)
    return Error{str(Code::run_not_writable), "cannot write " + (out / "run.json").string() + ": " + code.message(),
                 "choose another directory with --out"};
  return {};
}

}  // namespace dsc
