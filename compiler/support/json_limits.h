// A JSON text in, whether a parser may build a tree of it: its depth and its number of values are within limits, so that
// neither the stack nor the memory runs out. Whether it is JSON at all, the parser says.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dsc {

struct JsonLimits {
  int depth = 64;
  std::int64_t values = std::int64_t{1} << 24;  // in memory at most some 100 bytes each, beside their text
};

// "is nested more than 64 deep", "holds more than 16,777,216 values", or "".
std::string json_limits_problem(std::string_view text, const JsonLimits& limits = {});

}  // namespace dsc
