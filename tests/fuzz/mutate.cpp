#include "tests/fuzz/mutate.h"

#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

namespace dsc::fuzz {
namespace {

using Json = nlohmann::json;

const std::vector<Json>& edges() {
  static const std::vector<Json> values = {
      0, 1, -1, 2, 5, 29, 30, 31, 63, 64, 65, 1000, 4294967295u, std::int64_t(1) << 40, 1125899906842624, 1125899906842625, 9007199254740993,
      std::int64_t(1) << 62, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(),
      std::numeric_limits<std::uint64_t>::max(), 0.5, -1e300, 1e308, true, nullptr, "", "f32", "i32", "update", "all_reduce",
      "0000000000000000", Json::array(), Json::array({0}), Json::array({1, 2, 3}), Json::object()};
  return values;
}

// Every value but the document itself.
void collect(Json& json, std::vector<Json*>& places) {
  if (!json.is_structured()) return;
  for (Json& child : json) {
    places.push_back(&child);
    collect(child, places);
  }
}

void edit(Json& place, std::mt19937& random) {
  if (place.is_array() && !place.empty() && random() % 8 != 0) {
    std::size_t at = random() % place.size();
    if (random() % 2) place.erase(at);
    else place.push_back(Json(place[at]));
  } else if (place.is_number_integer() && random() % 2) {
    place = place.get<std::uint64_t>() + random() % 9 - 4;  // wraps
    if (random() % 2) place = static_cast<std::int64_t>(place.get<std::uint64_t>());
  } else if (!place.is_structured() || random() % 16 == 0) {
    place = edges()[random() % edges().size()];
  }
}

}  // namespace

std::mt19937 generator(unsigned fixed) {
  const char* other = std::getenv("DSC_FUZZ_SEED");
  return std::mt19937(other ? fixed + 1000u * static_cast<unsigned>(std::atoi(other)) : fixed);
}

std::string mutate_text(std::string text, std::mt19937& random) {
  static const std::string symbols = "0123456789(){}[],:=.+-*/^<>\"\\\neE a";
  int edits = 1 + static_cast<int>(random() % 4);
  for (int e = 0; e < edits && !text.empty(); ++e) {
    std::size_t at = random() % text.size(), length = 1 + random() % 8;
    switch (random() % 16) {
      case 0: case 1: text[at] = static_cast<char>(text[at] ^ (1 << (random() % 8))); break;
      case 2: case 3: text[at] = static_cast<char>(random()); break;
      case 4: case 5: text[at] = symbols[random() % symbols.size()]; break;
      case 6: case 7: text.erase(at, length); break;
      case 8: case 9: text.insert(at, length, symbols[random() % symbols.size()]); break;
      case 10: case 11: text.insert(at, text.substr(random() % text.size(), 4 * length)); break;
      case 12: case 13: case 14: {
        std::size_t digit = text.find_first_of("0123456789", at);
        if (digit != std::string::npos) text[digit] = static_cast<char>('0' + random() % 10);
        break;
      }
      default: text.resize(at);
    }
  }
  return text;
}

void mutate_json(Json& json, std::mt19937& random) {
  for (int n = 1 + static_cast<int>(random() % 3); n > 0; --n) {
    std::vector<Json*> places;
    collect(json, places);
    if (places.empty()) return;
    edit(*places[random() % places.size()], random);
  }
}

}  // namespace dsc::fuzz
