// The tokens of a text as plain values, and the checks on them that come before parsing: characters, numbers, strings,
// units, brackets, nesting. After check_tokens says yes, every bracket matches and nothing nests deeper than
// kMaxNesting, so the recursive parser cannot run out of stack.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "compiler/support/diagnostic.h"

namespace dsc::syntax {

inline constexpr std::size_t kMaxTokens = 200'000;

enum class TokenClass { word, unit, integer, real, string, symbol, comment, bad_number, bad_string, bad_comment, unknown };

struct LexToken {
  TokenClass kind;
  std::uint32_t begin;  // bytes
  std::uint32_t end;
};

// Whether the bytes are UTF-8 without NUL and within the size limit.
bool check_bytes(std::uint32_t file, std::string_view name, std::string_view text,
                 Diagnostics& diagnostics);
// `tokens` without comments.
bool check_tokens(const std::vector<LexToken>& tokens, std::uint32_t file, std::string_view text, Diagnostics& diagnostics);

}  // namespace dsc::syntax
