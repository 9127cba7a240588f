#include "compiler/syntax/lexed.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <string>
#include <utility>

#include "compiler/support/units.h"
#include "compiler/syntax/ast.h"
#include "compiler/syntax/parse.h"

namespace dsc::syntax {
namespace {

constexpr std::array kUnitLike = {"b", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib", "k", "m", "g", "s", "sec",
                                  "us", "ms", "ns", "gbps", "bytes"};
constexpr const char* kUnits = "units are KiB, MiB, GiB, TiB, GB/s, us and ms, on the line of their number";

class TokenChecker {
 public:
  TokenChecker(const std::vector<LexToken>& tokens, std::uint32_t file, std::string_view text, Diagnostics& diagnostics)
      : tokens_(tokens), file_(file), text_(text), diagnostics_(diagnostics) {}

  bool run() {
    for (std::size_t i = 0; i < tokens_.size(); ++i) check_one(i);
    // A string without an end hides the brackets behind it.
    if (std::any_of(tokens_.begin(), tokens_.end(), [](const LexToken& t) { return t.kind == TokenClass::bad_string; })) return false;
    check_brackets();
    if (brackets_match_) check_nesting();
    return ok_;
  }

 private:
  std::string_view text(std::size_t i) const { return text_.substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin); }
  SourceRange range(std::size_t i) const { return {file_, tokens_[i].begin, tokens_[i].end}; }
  bool same_line(std::size_t a, std::size_t b) const {
    return text_.substr(tokens_[a].end, tokens_[b].begin - tokens_[a].end).find('\n') == std::string_view::npos;
  }
  bool begins_line(std::size_t i) const { return i == 0 || !same_line(i - 1, i); }

  void error(Code code, SourceRange range, std::string message, std::string label, std::string help,
             std::vector<Note> notes = {}) {
    ok_ = false;
    if (++errors_ > 20) return;
    diagnostics_.add({code, Severity::error, std::move(message), range, std::move(label), std::move(notes), std::move(help)});
  }

  void check_one(std::size_t i) {
    switch (tokens_[i].kind) {
      case TokenClass::unknown: return unknown_character(i);
      case TokenClass::bad_string:
        return error(Code::unclosed_string, range(i), "this string is not closed on its line", "no closing `\"`",
                     "end it with `\"`; a string may not hold a line break");
      case TokenClass::bad_comment:
        return error(Code::unknown_character, range(i), "`/*` begins no comment", "", "comments begin with `//` and end with the line");
      case TokenClass::bad_number: return bad_number(i);
      case TokenClass::integer: case TokenClass::real: return number(i);
      case TokenClass::string: return escapes(i);
      case TokenClass::unit: return unit(i);
      default: return;
    }
  }

  void unknown_character(std::size_t i) {
    const auto byte = static_cast<unsigned char>(text_[tokens_[i].begin]);
    if ((byte & 0xC0) == 0x80) return;  // the rest of a character that its first byte reported
    SourceRange place = range(i);
    while (place.end < text_.size() && (static_cast<unsigned char>(text_[place.end]) & 0xC0) == 0x80) ++place.end;
    std::string shown(text_.substr(place.begin, place.end - place.begin));
    if (byte < 0x20 || byte == 0x7F) {
      char code[8];
      std::snprintf(code, sizeof code, "0x%02x", byte);
      shown = code;
    }
    std::string help = "names are letters, digits and `_`; other characters stand in strings and comments alone";
    if (byte == ';') help = "leave it out: statements need no separator";
    if (byte == '#') help = "comments begin with `//`";
    if (byte == '\'') help = "strings stand in double quotes: \"...\"";
    error(Code::unknown_character, place, "the character `" + shown + "` has no meaning here", "", help);
  }

  void bad_number(std::size_t i) {
    const std::string_view word = text(i);
    const std::size_t split = word.find_first_not_of("0123456789.");
    const std::string digits(word.substr(0, split)), rest(word.substr(split));
    std::string help = "a number is digits, with a fraction and an exponent if needed: 12, 0.5, 1e-5; a name does not begin with a digit";
    if (looks_like_unit(rest)) help = "write a space before the unit; " + std::string(kUnits);
    error(Code::malformed_number, range(i), "`" + std::string(word) + "` is neither a number nor a name", "", help);
  }

  static bool looks_like_unit(std::string_view word) {
    std::string lower(word);
    for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return std::find(kUnitLike.begin(), kUnitLike.end(), lower) != kUnitLike.end();
  }

  void number(std::size_t i) {
    const std::string_view word = text(i);
    if (tokens_[i].kind == TokenClass::integer) {
      std::int64_t value = 0;
      if (std::from_chars(word.data(), word.data() + word.size(), value).ec != std::errc())
        error(Code::number_out_of_range, range(i), "this whole number is too large", "above 9223372036854775807",
              "whole numbers have 64 bits; write a real number, such as 1e20, where one is meant");
    } else {
      double value = 0;
      if (std::from_chars(word.data(), word.data() + word.size(), value).ec != std::errc())
        error(Code::number_out_of_range, range(i), "this number does not fit a 64-bit real", "",
              "reals reach from about 2.3e-308 to 1.7e308");
    }
    const std::size_t next = i + 1;
    if (next >= tokens_.size() || tokens_[next].kind != TokenClass::word || !same_line(i, next) || !looks_like_unit(text(next))) return;
    const bool begins_entry = next + 1 < tokens_.size() && (text(next + 1) == "=" || text(next + 1) == ":");
    if (begins_entry) return;
    const std::string word_text(text(next));
    const std::string near = nearest(word_text, {"KiB", "MiB", "GiB", "TiB", "us", "ms"});
    error(Code::not_a_unit, range(next), "`" + word_text + "` is not a unit", near.empty() ? "" : "did you mean `" + near + "`?", kUnits);
  }

  void escapes(std::size_t i) {
    const std::string_view word = text(i);
    for (std::size_t k = 1; k + 1 < word.size(); ++k) {
      if (word[k] != '\\') continue;
      const char c = word[++k];
      if (c == '"' || c == '\\' || c == 'n' || c == 't') continue;
      const std::uint32_t at = tokens_[i].begin + static_cast<std::uint32_t>(k) - 1;
      const std::string shown = static_cast<unsigned char>(c) < 0x80 ? std::string(1, c) : std::string("...");
      error(Code::unknown_escape, {file_, at, at + 2}, "`\\" + shown + "` is no escape of a string", "",
            "the escapes are \\\" \\\\ \\n and \\t");
    }
  }

  void unit(std::size_t i) {
    const bool behind_number = i > 0 && (tokens_[i - 1].kind == TokenClass::integer || tokens_[i - 1].kind == TokenClass::real);
    const std::string word(text(i));
    if (!behind_number)
      error(Code::not_a_unit, range(i), "`" + word + "` is a unit and may not be a name", "", "write a number before it, or choose another name");
    else if (!same_line(i - 1, i))
      error(Code::not_a_unit, range(i), "the unit `" + word + "` stands on another line than its number", "",
            "units are reserved, so none may be a name; " + std::string(kUnits));
  }

  static bool opens(std::string_view s) { return s == "(" || s == "[" || s == "{"; }
  static bool closes(std::string_view s) { return s == ")" || s == "]" || s == "}"; }
  static std::string closer(std::string_view open) { return open == "(" ? ")" : open == "[" ? "]" : "}"; }

  // What a bracket belongs to, for messages: "layout zero3", "mesh (", "{".
  std::string opener_name(std::size_t open) const {
    if (text(open) != "{") return open > 0 && tokens_[open - 1].kind == TokenClass::word ? std::string(text(open - 1)) + " " + std::string(text(open)) : std::string(text(open));
    std::size_t first = open;
    while (first > 0 && same_line(first - 1, first) && !opens(text(first - 1)) && !closes(text(first - 1))) --first;
    while (first > 0 && same_line(first - 1, first) && text(first - 1) != "{" && text(first - 1) != "}") --first;
    std::string name;
    for (std::size_t i = first; i < open && tokens_[i].kind == TokenClass::word; ++i) name += (name.empty() ? "" : " ") + std::string(text(i));
    return name.empty() ? "{" : name;
  }

  bool balanced() const {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].kind != TokenClass::symbol) continue;
      if (opens(text(i))) open.push_back(i);
      if (!closes(text(i))) continue;
      if (open.empty() || closer(text(open.back())) != text(i)) return false;
      open.pop_back();
    }
    return open.empty();
  }

  // Where a declaration begins a line although a bracket is open, the bracket was probably forgotten before it.
  void check_brackets() {
    if (balanced()) return;
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].kind == TokenClass::word && !open.empty() && begins_declaration(i)) return unclosed(open.back(), range(i), false);
      if (tokens_[i].kind != TokenClass::symbol) continue;
      const std::string_view s = text(i);
      if (opens(s)) open.push_back(i);
      if (!closes(s)) continue;
      if (open.empty()) {
        brackets_match_ = false;
        return error(Code::unmatched_bracket, range(i), "this `" + std::string(s) + "` closes nothing", "",
                     "remove it, or open a bracket before it");
      }
      if (closer(text(open.back())) != s) return unclosed(open.back(), range(i), false);
      open.pop_back();
    }
    if (open.empty()) return;
    const auto end = static_cast<std::uint32_t>(tokens_.back().end);
    unclosed(open.back(), {file_, end - 1, end}, true);
  }

  // A word that begins a declaration at the very start of a line, with a name or `{` after it: no bracket should be open.
  bool begins_declaration(std::size_t i) const {
    const std::string_view word = text(i);
    if (tokens_[i].begin > 0 && text_[tokens_[i].begin - 1] != '\n') return false;
    if (i + 1 >= tokens_.size()) return false;
    if (word == "data" || word == "train") return text(i + 1) == "{";
    return (word == "layout" || word == "module" || word == "function") && tokens_[i + 1].kind == TokenClass::word;
  }

  void unclosed(std::size_t open, SourceRange place, bool at_end) {
    brackets_match_ = false;
    const std::string close = closer(text(open)), name = opener_name(open);
    const std::string found = at_end ? "the end of the file" : "`" + std::string(text_.substr(place.begin, place.end - place.begin)) + "`";
    error(Code::unclosed_bracket, place, "expected `" + close + "` to close `" + name + "`, found " + found,
          "`" + close + (at_end ? "` is missing after this" : "` is missing before this"),
          "add `" + close + "`, or remove the bracket that it would close", {{"opened here", range(open)}});
  }

  // A word behind an operand never continues an expression.
  bool ends_operand(std::size_t i) const { return tokens_[i].kind != TokenClass::symbol || closes(text(i)); }

  // Every bracket and every operator that is still waiting for its right side counts one level.
  void check_nesting() {
    std::vector<int> levels = {0};
    int sum = 0;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (i > 0 && tokens_[i].kind == TokenClass::word && ends_operand(i - 1)) sum -= std::exchange(levels.back(), 0);
      if (tokens_[i].kind != TokenClass::symbol) continue;
      const std::string_view s = text(i);
      if (closes(s)) {
        sum -= levels.back() + 1;
        levels.pop_back();
        if (s == "}") sum -= std::exchange(levels.back(), 0);
      } else if (opens(s)) {
        if (s == "{") sum -= std::exchange(levels.back(), 0);
        levels.push_back(0);
        ++sum;
      } else if (s == "," || s == "=" || s == ":") {
        sum -= std::exchange(levels.back(), 0);
      } else if (s != "." && s != ".." && s != "...") {
        ++levels.back();
        ++sum;
      }
      if (sum <= kMaxNesting) continue;
      return error(Code::nesting_too_deep, range(i), "this is nested more than " + std::to_string(kMaxNesting) + " levels deep",
                   "brackets and operators around it count", "name parts of it by `x = ...`, and use the names");
    }
  }

  const std::vector<LexToken>& tokens_;
  std::uint32_t file_;
  std::string_view text_;
  Diagnostics& diagnostics_;
  bool ok_ = true;
  bool brackets_match_ = true;
  int errors_ = 0;
};

// The length of the UTF-8 character at `at`, or 0 where the bytes are none (overlong forms and surrogates too).
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(1);
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
      (first == 0xF4 && second > 0x8F))
    return 0;
  return length;
}

}  // namespace

bool check_bytes(std::uint32_t file, std::string_view name, std::string_view text, Diagnostics& diagnostics) {
  if (text.size() > kMaxFileBytes) {
    diagnostics.add({Code::file_too_long, Severity::error,
                     std::string(name) + " has more than " + with_commas(static_cast<std::int64_t>(kMaxFileBytes)) + " bytes",
                     {file, 0, 0}, "", {}, "split it into several files, and `use` them"});
    return false;
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = text[at] == '\0' ? 0 : utf8_length(text, at);
    if (length == 0) {
      const auto place = static_cast<std::uint32_t>(at);
      diagnostics.add({Code::not_utf8, Severity::error,
                       text[at] == '\0' ? "the file holds a NUL byte" : "the file is not UTF-8",
                       {file, place, place + 1}, "byte " + std::to_string(at), {}, "save it as UTF-8 text"});
      return false;
    }
    at += length;
  }
  return true;
}

bool check_tokens(const std::vector<LexToken>& tokens, std::uint32_t file, std::string_view text, Diagnostics& diagnostics) {
  if (tokens.size() > kMaxTokens) {
    diagnostics.add({Code::file_too_long, Severity::error,
                     "the file has more than " + with_commas(kMaxTokens) + " words and symbols",
                     {file, tokens.back().begin, tokens.back().end}, "", {}, "split it into several files, and `use` them"});
    return false;
  }
  return TokenChecker(tokens, file, text, diagnostics).run();
}

}  // namespace dsc::syntax
