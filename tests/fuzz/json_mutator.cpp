// libFuzzer's hook for inputs that are JSON: half of the mutations keep them JSON, so that what is behind the parser is
// reached. The other half is libFuzzer's own.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "tests/fuzz/mutate.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned int seed) {
  std::mt19937 random(seed);
  if (random() % 2 == 0) return LLVMFuzzerMutate(data, size, max_size);
  nlohmann::json json = nlohmann::json::parse(data, data + size, nullptr, false);
  if (!json.is_structured()) return LLVMFuzzerMutate(data, size, max_size);
  dsc::fuzz::mutate_json(json, random);
  std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, text.data(), text.size());
  return text.size();
}
