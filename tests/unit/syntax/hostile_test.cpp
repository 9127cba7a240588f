// Whatever the bytes, parsing ends with a tree or with diagnostics.
#include <gtest/gtest.h>

#include <string>

#include "compiler/syntax/format.h"
#include "compiler/syntax/print.h"
#include "tests/unit/syntax/parsing.h"

namespace dsc::syntax {
namespace {

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text;
  return all;
}

// Parses, and checks that there is either a tree or a diagnostic whose text can be written.
Parsed survives(const std::string& text) {
  Parsed parsed = parse_text(text);
  EXPECT_NE(parsed.file.has_value(), parsed.diagnostics.has_errors());
  if (parsed.file) {
    const Parsed again = parse_text(format(*parsed.file, parsed.sources));
    EXPECT_TRUE(again.file) << text << "\nbecame\n" << format(*parsed.file, parsed.sources) << again.errors();
    if (again.file) EXPECT_EQ(print(*parsed.file), print(*again.file));
  } else {
    EXPECT_FALSE(parsed.errors().empty());
    EXPECT_LE(parsed.diagnostics.list().size(), 60u);
  }
  return parsed;
}

bool has(const Parsed& parsed, Code code) {
  for (const Diagnostic& d : parsed.diagnostics.list())
    if (d.code == code) return true;
  return false;
}

TEST(Hostile, DeepNesting) {
  for (const char* open : {"(", "[", "-", "{a: ", "f(", "a[", "2 ^ ", "1 + ", "-(", "a < ", "((-2^", "a[b: "})
    for (std::size_t count : {255, 257, 1000, 60000})
      survives("train {\n  x = " + repeated(open, count) + "1\n}\n");
  std::string closed = "train {\n  x = " + repeated("(", 100'000) + "1" + repeated(")", 100'000) + "\n}\n";
  EXPECT_TRUE(has(survives(closed.substr(0, 190'000)), Code::unclosed_bracket));
  closed = "train {\n  x = " + repeated("(", 50'000) + "1" + repeated(")", 50'000) + "\n}\n";
  EXPECT_TRUE(has(survives(closed), Code::nesting_too_deep));
  survives(repeated("layout a {", 10'000));
  survives(repeated("module m(axis a) { forward(x: [a]) -> [a] { repeat b as c { ", 5'000));
  survives("module m(axis a) { forward(x: [a]) -> [a] " + repeated("{ repeat b as c ", 250) + repeated("}", 251));
}

TEST(Hostile, DeepestAcceptedIsWalked) {
  const std::string deep = "train {\n  x = " + repeated("(-", 126) + "1" + repeated(")", 126) + "\n}\n";
  EXPECT_TRUE(survives(deep).file);
  std::string wide = "train {\n  x = 1" + repeated(" + 1", 250) + "\n  y = 1" + repeated(" * 1", 250) + "\n}\n";
  EXPECT_TRUE(survives(wide).file);
  std::string require = "module m(axis a) {" + repeated("\n  require a <= 3", 2000) + "\n}\n";
  EXPECT_TRUE(survives(require).file);
}

TEST(Hostile, TooLong) {
  EXPECT_TRUE(has(survives(repeated(" ", kMaxFileBytes + 1)), Code::file_too_long));
  EXPECT_TRUE(survives(repeated(" ", kMaxFileBytes)).file);
  EXPECT_TRUE(has(survives(repeated("x = 1\n", 70'000)), Code::file_too_long));
  survives("train {\n" + repeated("  x = f(a, b: 1)\n", 10'000) + "}\n");
  survives("train {\n  x = f(" + repeated("a, ", 50'000) + "a)\n}\n");
  survives("train {\n  x = " + repeated("a.", 50'000) + "a\n}\n");
  survives(repeated("\"", 100'000));
  survives(repeated("9", 1'000'000));
  survives(repeated("\x01", 100'000));
}

TEST(Hostile, Bytes) {
  for (int byte = 0; byte < 256; ++byte) {
    survives(std::string(1, static_cast<char>(byte)));
    survives(std::string("train {\n  x = \"") + static_cast<char>(byte) + "\"\n}\n");
  }
  EXPECT_TRUE(has(survives("\xC0\xAF"), Code::not_utf8));
  EXPECT_TRUE(has(survives("\xED\xA0\x80"), Code::not_utf8));
  EXPECT_TRUE(has(survives("\xF4\x90\x80\x80"), Code::not_utf8));
  EXPECT_TRUE(has(survives(std::string("a\0b", 3)), Code::not_utf8));
  EXPECT_TRUE(survives("\xEF\xBB\xBFtrain { }\n").file);
  EXPECT_TRUE(survives("// \xE2\x82\xAC\ntrain { x = \"\xF0\x9F\x98\x80\" }\n").file);
}

}  // namespace
}  // namespace dsc::syntax
