// What is read back from a run's folder or from a pretrained one. An input that begins with `{` is the manifest of a
// checkpoint, whose checksum is made right; the file beside it holds zeros, as many as the manifest says. Any other input
// is a safetensors file. Each is refused or safe to read in full.
#include <nlohmann/json.hpp>

#include "compiler/support/json_limits.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/checksum.h"
#include "runtime/exchange/safetensors.h"
#include "tests/fuzz/entry.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc::fuzz {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kLargest = 1 << 20;  // bytes of state.bin

// A new file each time: writing over an old one makes some file systems wait for the disk.
void put(const fs::path& path, std::string_view bytes, std::int64_t zeros = 0) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
  if (zeros > 0) fs::resize_file(path, bytes.size() + static_cast<std::uintmax_t>(zeros));
}

// As the writer would have ended it.
std::string with_checksum(std::string_view bytes) {
  if (!json_limits_problem(bytes).empty()) return std::string(bytes);
  Json json = Json::parse(bytes, nullptr, false);
  if (!json.is_object()) return std::string(bytes);
  json.erase("checksum");
  std::string body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(checksum(body.data(), body.size())));
  json["checksum"] = hex;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Every piece of a checkpoint whose manifest was accepted lies within its parameter.
void read_pieces(const CheckpointEntry& entry) {
  Result<CheckpointReader> reader = CheckpointReader::open(entry);
  if (!reader) return;
  for (StateSlot slot : {StateSlot::master, StateSlot::moment1, StateSlot::moment2})
    (void)reader->for_each(slot, std::nullopt, [&](const ManifestPiece& piece, std::span<const float> values) {
      DSC_CHECK(piece.begin + static_cast<std::int64_t>(values.size()) == piece.end, "a piece of another length");
      DSC_CHECK(piece.end <= reader->manifest().parameters[piece.parameter].second, "a piece outside its parameter");
    });
}

bool accepts_manifest(std::string_view bytes) {
  static RunFolder folder;
  static HandPlan plan(small_contract(), {3, 3, DType::f32});
  std::string text = with_checksum(bytes);
  Result<Manifest> manifest = manifest_from_json(text);
  std::int64_t step = manifest ? manifest->step : 0, size = manifest ? manifest->data_bytes : 0;
  fs::path step_folder = folder.step(0);
  if (step >= 0 && step < 100'000'000) step_folder = folder.step(static_cast<int>(step));
  fs::create_directories(step_folder);
  put(step_folder / "manifest.json", text);
  put(step_folder / "state.bin", "", std::min(size, kLargest));
  read_pieces({step, step_folder});
  Result<std::optional<Resumed>> resumed = folder.read(plan);
  if (!resumed) DSC_CHECK(resumed.error().code.starts_with("DSM080"), "an error of another kind: " + resumed.error().code);
  if (Result<Resumed> loaded = load_parameters(folder.run(), plan.contract(), plan.state()); !loaded)
    DSC_CHECK(loaded.error().code.starts_with("DSM080"), "an error of another kind: " + loaded.error().code);
  fs::remove_all(step_folder);
  return static_cast<bool>(resumed);
}

bool accepts_safetensors(std::string_view bytes) {
  static TemporaryFolder folder;
  const fs::path path = folder / "model.safetensors";
  put(path, bytes);
  Result<SafetensorsReader> reader = SafetensorsReader::open(path);
  if (!reader) {
    DSC_CHECK(reader.error().code == "DSM0830", "an error of another kind: " + reader.error().code);
    return false;
  }
  for (const StoredTensor& tensor : reader->tensors()) {
    DSC_CHECK(reader->find(tensor.name) == &tensor, "a tensor that is not found by its name");
    DSC_CHECK(tensor.elements() <= static_cast<std::int64_t>(bytes.size()), "a tensor with more elements than bytes");
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    Status status = reader->read(tensor, 0, values);
    DSC_CHECK(status || status.error().code == "DSM0835", "a tensor inside the file cannot be read");
  }
  return true;
}

}  // namespace

bool accepts(std::string_view bytes) { return bytes.starts_with('{') ? accepts_manifest(bytes) : accepts_safetensors(bytes); }

}  // namespace dsc::fuzz
