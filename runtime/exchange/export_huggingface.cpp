#include <algorithm>
#include <nlohmann/json.hpp>

#include "compiler/support/diagnostic_codes.h"
#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/durable_file.h"
#include "runtime/exchange/huggingface.h"
#include "runtime/exchange/safetensors.h"
#include "runtime/exchange/stored_layout.h"

namespace dsc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
constexpr Code kCode = Code::export_unwritable;

// config.json: `architectures`, then the map's entries in order; dotted keys nest.
std::string config_text(const ExportMap& map) {
  Json config = Json::object();
  if (!map.architecture.empty()) config["architectures"] = {map.architecture};
  for (const ExportConfigEntry& entry : map.config) {
    Json value = Json::parse(entry.json, nullptr, false);
    DSC_CHECK(!value.is_discarded(), "config entry " + entry.keys.front() + " is not JSON");
    Json* at = &config;
    const std::string& key = entry.keys.front();
    for (std::size_t begin = 0; begin <= key.size();) {
      std::size_t dot = std::min(key.find('.', begin), key.size());
      if (!at->is_object()) *at = Json::object();
      at = &(*at)[key.substr(begin, dot - begin)];
      begin = dot + 1;
    }
    *at = std::move(value);
  }
  return config.dump(2) + "\n";
}

Status write_text(const fs::path& path, const std::string& text) {
  fs::path temporary = path.string() + ".partial";
  auto write = [&]() -> Status {
    Result<DurableFile> file = DurableFile::create(temporary, kCode);
    if (!file) return file.error();
    if (Status status = file->write(text.data(), text.size()); !status) return status;
    if (Status status = file->close(); !status) return status;
    return rename_durably(temporary, path, kCode);
  };
  Status status = write();
  std::error_code trouble;
  if (!status) fs::remove(temporary, trouble);
  return status;
}

Result<std::vector<float>> whole_parameter(const CheckpointReader& reader, std::size_t parameter) {
  std::vector<float> values(static_cast<std::size_t>(reader.manifest().parameters[parameter].second));
  Status status = reader.for_each(StateSlot::master, parameter, [&](const ManifestPiece& piece, std::span<const float> part) {
    std::copy(part.begin(), part.end(), values.begin() + piece.begin);
  });
  if (!status) return status.error();
  return values;
}

// Trouble with the checkpoint (it may be damaged: try the one before) is told apart from trouble with writing by its code.
Status write_tensors(const Contract& contract, const CheckpointReader& reader, const fs::path& out_dir) {
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> header;
  for (const ExportTensor& tensor : contract.exports.tensors) header.emplace_back(tensor.names.front(), stored_shape(tensor));
  Result<SafetensorsWriter> writer = SafetensorsWriter::create(out_dir / "model.safetensors", header);
  if (!writer) return writer.error();
  std::vector<float> stored;
  for (std::size_t t = 0; t < header.size(); ++t) {
    const ExportTensor& tensor = contract.exports.tensors[t];
    std::int64_t elements = 1;
    for (std::int64_t size : header[t].second) elements *= size;
    stored.assign(static_cast<std::size_t>(elements), 0.0f);
    for (std::size_t p = 0; p < tensor.pieces.size(); ++p) {
      Result<std::vector<float>> values = whole_parameter(reader, tensor.pieces[p].parameter.index());
      if (!values) return values.error();
      copy_to_stored(contract.model, tensor, p, *values, stored);
    }
    if (Status status = writer->append(stored); !status) return status;
  }
  return writer->finish();
}

}  // namespace

Result<Exported> export_huggingface(const Contract& contract, const fs::path& run_dir, const fs::path& out_dir) {
  if (!contract.exports.present)
    return Error{str(Code::export_missing), "model " + contract.model.name + " has no `export huggingface`",
                 "write one in the model's module, as the models of the standard library do"};
  Result<std::vector<CheckpointEntry>> entries = list_checkpoints(run_dir);
  if (!entries) return entries.error();
  if (entries->empty()) return no_checkpoint(run_dir);
  if (Status status = make_folder(out_dir, kCode); !status) return status.error();
  Exported result;
  Manifest is = describe({contract, {}, {}});
  for (const CheckpointEntry& entry : *entries) {
    Result<CheckpointReader> reader = CheckpointReader::open(entry);
    if (!reader) {
      result.lines.push_back(passed_over(entry, reader.error()));
      continue;
    }
    if (Status same = same_model(reader->manifest(), is); !same) return same.error();
    if (Status written = write_tensors(contract, *reader, out_dir); !written) {
      if (written.error().code != str(Code::checkpoint_damaged)) return written.error();
      result.lines.push_back(passed_over(entry, written.error()));
      continue;
    }
    if (Status status = write_text(out_dir / "config.json", config_text(contract.exports)); !status) return status.error();
    result.step = reader->manifest().step;
    result.tensors = static_cast<std::int64_t>(contract.exports.tensors.size());
    return result;
  }
  return all_damaged(run_dir);
}

}  // namespace dsc
