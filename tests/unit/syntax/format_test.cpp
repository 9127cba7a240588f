#include "compiler/syntax/format.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "compiler/syntax/print.h"
#include "tests/unit/syntax/parsing.h"

namespace dsc::syntax {
namespace {

// Formats `text`, checks that the tree and the comments are kept and that a second pass changes nothing.
std::string formatted(const std::string& text) {
  const Parsed before = parse_text(text);
  EXPECT_TRUE(before.file) << before.errors();
  if (!before.file) return "";
  const std::string once = format(*before.file, before.sources);
  const Parsed after = parse_text(once);
  EXPECT_TRUE(after.file) << once << after.errors();
  if (!after.file) return once;
  EXPECT_EQ(print(*before.file), print(*after.file));
  EXPECT_EQ(before.file->comments.size(), after.file->comments.size());
  for (std::size_t i = 0; i < std::min(before.file->comments.size(), after.file->comments.size()); ++i) {
    std::string text_before = before.file->comments[i].text;
    text_before.erase(text_before.find_last_not_of(" \t") + 1);
    EXPECT_EQ(text_before, after.file->comments[i].text);
  }
  EXPECT_EQ(once, format(*after.file, after.sources));
  return once;
}

TEST(Format, StandardSpaces) {
  EXPECT_EQ(formatted("function f( x,axis a )=-x^2*( x+1 )/2-  -1"), "function f(x, axis a) = -x^2 * (x + 1) / 2 - -1\n");
  EXPECT_EQ(formatted("layout a{mesh(data:2)split batch over data zero 3 over data{bucket:32 MiB,}}"),
            "layout a {\n  mesh (data: 2)\n  split batch over data\n  zero 3 over data { bucket: 32 MiB }\n}\n");
  EXPECT_EQ(formatted("layout a\n{\n}\n"), "layout a { }\n");
}

TEST(Format, EntriesAlign) {
  EXPECT_EQ(formatted("train {\nx = 1\nlonger = f(a,\nb)\n\ny = 2 // two\nzz = 3 // three\n}"),
            "train {\n  x      = 1\n  longer = f(a,\n             b)\n\n  y  = 2  // two\n  zz = 3  // three\n}\n");
}

TEST(Format, BracesOnOneLineStay) {
  EXPECT_EQ(formatted("module m(axis a) {\nforward(x: [a]) -> [a] { return x }\n}"),
            "module m(axis a) {\n  forward(x: [a]) -> [a] { return x }\n}\n");
  EXPECT_EQ(formatted("module m(axis a) {\nforward(x: [a]) -> [a] { y = x return y }\n}"),
            "module m(axis a) {\n  forward(x: [a]) -> [a] {\n    y = x\n    return y\n  }\n}\n");
}

TEST(Format, CommentsEverywhere) {
  formatted("// a\nlayout // b\na // c\n{ // d\n// e\nmesh // f\n( // g\ndata // h\n: // i\n2 // j\n) // k\n} // l\n// m");
  formatted("data { x = f( // a\n  1, // b\n  // c\n  [2, // d\n 3]) // e\n}\n\n\n\n// f\n\n\n\n// g\n");
  formatted("data { x = { a: 1, // one\n b: 2, // two\n } }");
}

TEST(Format, NoFileNoText) {
  EXPECT_EQ(formatted(""), "");
  EXPECT_EQ(formatted("\n\n"), "");
  EXPECT_EQ(formatted("// alone"), "// alone\n");
}

TEST(Format, StdlibAndExamplesAreInStandardForm) {
  std::vector<std::string> files;
  for (const char* folder : {"/stdlib", "/examples"})
    for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(DSC_SOURCE_DIR) + folder))
      if (entry.path().extension() == ".dsm") files.push_back(entry.path().string());
  ASSERT_GE(files.size(), 8u);
  for (const std::string& file : files) EXPECT_EQ(formatted(read_file(file)), read_file(file)) << file;
}

}  // namespace
}  // namespace dsc::syntax
