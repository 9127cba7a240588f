// tests/golden/syntax: `fail_*.dsm` must not parse, and X.expected holds what the user sees; `fmt_*.dsm` is formatted;
// of any other file the tree is printed. DSC_UPDATE_GOLDENS=1 writes the expected texts anew. A file that begins with
// `// expand: N TEXT` stands for N lines of TEXT.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/syntax/format.h"
#include "compiler/syntax/print.h"
#include "tests/unit/syntax/parsing.h"

namespace dsc::syntax {
namespace {

std::vector<std::filesystem::path> goldens() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(DSC_SOURCE_DIR "/tests/golden/syntax"))
    if (entry.path().extension() == ".dsm") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string expanded(const std::string& text) {
  const std::string mark = "// expand: ";
  if (!text.starts_with(mark)) return text;
  std::istringstream line(text.substr(mark.size()));
  std::size_t count = 0;
  std::string repeated, all;
  line >> count >> std::ws;
  std::getline(line, repeated);
  for (std::size_t i = 0; i < count; ++i) all += repeated + "\n";
  return all;
}

TEST(Golden, EveryFile) {
  ASSERT_GE(goldens().size(), 25u);
  for (const auto& path : goldens()) {
    const std::string name = path.filename().string();
    const Parsed parsed = parse_text(expanded(read_file(path.string())), name);
    const bool must_fail = name.starts_with("fail_");
    ASSERT_EQ(parsed.file.has_value(), !must_fail) << name << "\n" << parsed.errors();
    ASSERT_EQ(parsed.diagnostics.has_errors(), must_fail) << name;
    const std::string got = must_fail ? parsed.errors() : name.starts_with("fmt_") ? format(*parsed.file, parsed.sources) : print(*parsed.file);
    std::filesystem::path expected = path;
    expected.replace_extension(".expected");
    if (std::getenv("DSC_UPDATE_GOLDENS") != nullptr) std::ofstream(expected, std::ios::binary) << got;
    EXPECT_EQ(got, read_file(expected.string())) << name;
  }
}

TEST(Golden, EveryCodeOfSyntaxIsShown) {
  std::set<int> shown;
  for (const auto& path : goldens()) {
    if (path.filename().string().starts_with("fail_")) {
      const Parsed parsed = parse_text(expanded(read_file(path.string())));
      for (const Diagnostic& d : parsed.diagnostics.list()) shown.insert(static_cast<int>(d.code));
    }
  }
  for (const CodeInfo& code : all_codes()) {
    const int number = static_cast<int>(code.code);
    if (number >= 100 && number < 200) { EXPECT_TRUE(shown.contains(number)) << str(code.code); }
  }
}

}  // namespace
}  // namespace dsc::syntax
