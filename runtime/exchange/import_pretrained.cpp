#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/json_limits.h"
#include "runtime/exchange/huggingface.h"
#include "runtime/exchange/safetensors.h"
#include "runtime/exchange/stored_layout.h"

namespace dsc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
constexpr std::uintmax_t kJsonLimit = 64u << 20;
constexpr JsonLimits kJsonLimits{.depth = 64, .values = std::int64_t{1} << 22};

Error unreadable(std::string message) {
  return {str(Code::pretrained_unreadable), std::move(message), "name a folder with config.json and model.safetensors"};
}

Result<Json> read_json(const fs::path& path) {
  std::error_code trouble;
  std::uintmax_t bytes = fs::is_regular_file(path, trouble) ? fs::file_size(path, trouble) : 0;
  std::ifstream file(path, std::ios::binary);
  if (trouble || !file || !fs::is_regular_file(path, trouble)) return unreadable("cannot read " + path.string());
  if (bytes > kJsonLimit) return unreadable(path.string() + " is too large to be what it is named");
  std::ostringstream text;
  text << file.rdbuf();
  if (std::string problem = json_limits_problem(text.view(), kJsonLimits); !problem.empty())
    return unreadable(path.string() + " " + problem);
  Json json = Json::parse(text.view(), nullptr, false);
  if (!json.is_object()) return unreadable(path.string() + " is not a JSON object");
  return json;
}

// The folder's tensors, over one file or several shards.
struct Folder {
  std::vector<SafetensorsReader> files;
  std::map<std::string, std::pair<std::size_t, const StoredTensor*>> tensors;  // name -> file, tensor

  Status add(const fs::path& path) {
    Result<SafetensorsReader> file = SafetensorsReader::open(path);
    if (!file) return file.error();
    files.push_back(std::move(*file));
    return {};
  }
  Status index() {
    for (std::size_t f = 0; f < files.size(); ++f)
      for (const StoredTensor& tensor : files[f].tensors())
        if (!tensors.emplace(tensor.name, std::make_pair(f, &tensor)).second)
          return unreadable("tensor " + tensor.name + " stands in two shards, " + files[f].path() + " is one of them");
    return {};
  }
};

// The shards that an index names. They lie in the folder itself: a name with a `/` is not followed.
Result<std::set<std::string>> shard_names(const fs::path& path) {
  Result<Json> json = read_json(path);
  if (!json) return json.error();
  auto map = json->find("weight_map");
  if (map == json->end() || !map->is_object() || map->empty()) return unreadable(path.string() + " has no weight_map");
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string()) return unreadable(path.string() + ": weight_map does not name a file for " + tensor);
    std::string name = file.get<std::string>();
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      return unreadable(path.string() + ": weight_map names a file outside the folder: " + name);
    names.insert(name);
  }
  return names;
}

Status open_folder(const fs::path& dir, Folder& folder) {
  std::error_code trouble;
  if (!fs::is_directory(dir, trouble)) return unreadable(dir.string() + " is not a folder");
  fs::path single = dir / "model.safetensors", index = dir / "model.safetensors.index.json";
  if (fs::exists(single, trouble)) {
    if (Status status = folder.add(single); !status) return status;
  } else if (fs::exists(index, trouble)) {
    Result<std::set<std::string>> names = shard_names(index);
    if (!names) return names.error();
    for (const std::string& name : *names)
      if (Status status = folder.add(dir / name); !status) return status;
  } else {
    return unreadable(dir.string() + " holds neither model.safetensors nor model.safetensors.index.json");
  }
  return folder.index();
}

// The value at a dotted key, or null.
const Json* value_at(const Json& config, const std::string& key) {
  const Json* at = &config;
  for (std::size_t begin = 0; begin <= key.size();) {
    std::size_t dot = std::min(key.find('.', begin), key.size());
    if (!at->is_object()) return nullptr;
    auto entry = at->find(key.substr(begin, dot - begin));
    if (entry == at->end()) return nullptr;
    at = &*entry;
    begin = dot + 1;
  }
  return at;
}

// Every compared entry against DIR/config.json: another value is an error, an absent one a note.
Status compare_config(const ExportMap& map, const fs::path& dir, std::vector<std::string>& notes) {
  fs::path path = dir / "config.json";
  Result<Json> config = read_json(path);
  if (!config) return config.error();
  for (const ExportConfigEntry& entry : map.config) {
    if (!entry.compared) continue;
    Json ours = Json::parse(entry.json, nullptr, false);
    bool stated = false;
    for (const std::string& key : entry.keys) {
      const Json* theirs = value_at(*config, key);
      if (theirs == nullptr) continue;
      stated = true;
      if (*theirs != ours)
        return Error{str(Code::pretrained_config_differs),
                     path.string() + ": " + key + " is " + theirs->dump(-1, ' ', false, Json::error_handler_t::replace) +
                         ", the model's is " + entry.json,
                     "give the model the value of the folder, or name another folder"};
      break;
    }
    if (!stated) notes.push_back(path.string() + " does not state " + entry.keys.front() + "; the model's is " + entry.json);
  }
  return {};
}

struct Match {
  std::size_t tensor = 0, file = 0;
  const StoredTensor* stored = nullptr;
};

// Finds every tensor of the map, checks names, shapes and types of all before anything is loaded.
Result<std::vector<Match>> match_tensors(const ExportMap& map, const Folder& folder, const std::string& dir) {
  std::vector<Match> matches;
  std::set<std::string> known(map.ignored.begin(), map.ignored.end());
  for (std::size_t t = 0; t < map.tensors.size(); ++t) {
    const ExportTensor& tensor = map.tensors[t];
    known.insert(tensor.names.begin(), tensor.names.end());
    auto found = folder.tensors.end();
    for (std::size_t n = 0; n < tensor.names.size() && found == folder.tensors.end(); ++n) found = folder.tensors.find(tensor.names[n]);
    std::string names = tensor.names.front();
    for (std::size_t n = 1; n < tensor.names.size(); ++n) names += " or " + tensor.names[n];
    if (found == folder.tensors.end())
      return Error{str(Code::pretrained_tensor_missing), dir + " has no tensor " + names,
                   "check that the folder holds this kind of model, with as many layers"};
    const StoredTensor& stored = *found->second.second;
    std::vector<std::int64_t> shape = stored_shape(tensor);
    if (stored.shape != shape)
      return Error{str(Code::pretrained_shape_differs),
                   dir + ": tensor " + stored.name + " is " + shape_text(stored.shape) + ", the model needs " + shape_text(shape),
                   "give the model the sizes of the folder, or name another folder"};
    if (Status type = folder.files[found->second.first].read(stored, 0, {}); !type) return type.error();
    matches.push_back({t, found->second.first, &stored});
  }
  for (const auto& [name, place] : folder.tensors)
    if (!known.contains(name))
      return Error{str(Code::pretrained_tensor_unexpected), dir + " holds a tensor that the model does not name: " + name,
                   "check the number of layers, or name it after `ignore` in the model's export"};
  return matches;
}

// A parameter may lie in several stored tensors (one index of an axis each), so it is set when its last piece has come.
Status load(const Contract& contract, const Folder& folder, const std::vector<Match>& matches, TrainingState& state) {
  std::vector<std::size_t> pieces_left(contract.model.parameters.size(), 0);
  for (const ExportTensor& tensor : contract.exports.tensors)
    for (const ExportPiece& piece : tensor.pieces) ++pieces_left[piece.parameter.index()];
  std::map<std::size_t, std::vector<float>> open;
  std::vector<float> stored;
  for (const Match& match : matches) {
    const ExportTensor& tensor = contract.exports.tensors[match.tensor];
    stored.resize(static_cast<std::size_t>(match.stored->elements()));
    if (Status status = folder.files[match.file].read(*match.stored, 0, stored); !status) return status;
    for (std::size_t p = 0; p < tensor.pieces.size(); ++p) {
      std::size_t parameter = tensor.pieces[p].parameter.index();
      std::vector<float>& values = open[parameter];
      values.resize(static_cast<std::size_t>(element_count(contract.model, ParameterId(parameter))));
      copy_from_stored(contract.model, tensor, p, stored, values);
      if (--pieces_left[parameter] > 0) continue;
      state.set(ParameterId(parameter), StateSlot::master, 0, values);
      open.erase(parameter);
    }
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> import_pretrained(const Contract& contract, TrainingState& state) {
  if (!contract.exports.present)
    return Error{str(Code::export_missing), "model " + contract.model.name + " has no `export huggingface`, which `init = pretrained` reads backwards",
                 "write one in the model's module, as the models of the standard library do"};
  fs::path dir = contract.train.init_pretrained;
  std::vector<std::string> notes;
  Folder folder;
  if (Status status = open_folder(dir, folder); !status) return status.error();
  if (Status status = compare_config(contract.exports, dir, notes); !status) return status.error();
  Result<std::vector<Match>> matches = match_tensors(contract.exports, folder, dir.string());
  if (!matches) return matches.error();
  if (Status status = load(contract, folder, *matches, state); !status) return status.error();
  return notes;
}

}  // namespace dsc
