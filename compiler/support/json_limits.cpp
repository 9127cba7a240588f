#include "compiler/support/json_limits.h"

#include "compiler/support/units.h"

namespace dsc {

std::string json_limits_problem(std::string_view text, const JsonLimits& limits) {
  int depth = 0;
  std::int64_t values = 0;  // each but the first follows one of [ { : ,
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      else if (c == '"') quoted = false;
      continue;
    }
    if (c == '"') quoted = true;
    if (c == '[' || c == '{' || c == ':' || c == ',') ++values;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > limits.depth) return "is nested more than " + std::to_string(limits.depth) + " deep";
    if (values > limits.values) return "holds more than " + with_commas(limits.values) + " values";
  }
  return "";
}

}  // namespace dsc
