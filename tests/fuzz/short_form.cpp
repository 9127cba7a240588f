#include "tests/fuzz/short_form.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/fuzz/entry.h"
#include "tests/fuzz/mutate.h"

namespace dsc::fuzz {
namespace {

namespace fs = std::filesystem;

void count(const std::string& text, Outcome& outcome) { ++(accepts(text) ? outcome.accepted : outcome.refused); }

}  // namespace

std::vector<Seed> seeds_in(const std::vector<std::string>& folders, const std::string& extension) {
  std::vector<Seed> seeds;
  std::error_code ignored;  // a folder that is not there has none
  for (const std::string& folder : folders)
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(DSC_SOURCE_DIR) / folder, ignored)) {
      if (!entry.is_regular_file() || (!extension.empty() && entry.path().extension() != extension)) continue;
      std::ostringstream bytes;
      bytes << std::ifstream(entry.path(), std::ios::binary).rdbuf();
      seeds.push_back({entry.path().string(), bytes.str()});
    }
  std::sort(seeds.begin(), seeds.end(), [](const Seed& a, const Seed& b) { return a.path < b.path; });
  return seeds;
}

Outcome run_mutations(const std::vector<Seed>& seeds, int many, std::mt19937& random) {
  Outcome outcome;
  for (int i = 0; i < many; ++i) count(mutate_text(seeds[random() % seeds.size()].bytes, random), outcome);
  return outcome;
}

Outcome run_json_mutations(const std::vector<Seed>& seeds, int many, std::mt19937& random) {
  std::vector<nlohmann::json> documents;
  for (const Seed& seed : seeds) documents.push_back(nlohmann::json::parse(seed.bytes));
  Outcome outcome;
  for (int i = 0; i < many; ++i) {
    nlohmann::json json = documents[random() % documents.size()];
    mutate_json(json, random);
    count(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), outcome);
  }
  return outcome;
}

void update_seed(const std::string& path, const std::string& bytes) {
  if (std::getenv("DSC_UPDATE_GOLDENS") == nullptr) return;
  std::ofstream(fs::path(DSC_SOURCE_DIR) / path, std::ios::binary) << bytes;
}

}  // namespace dsc::fuzz
