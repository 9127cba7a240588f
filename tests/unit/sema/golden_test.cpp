// Every tests/golden/sema/*.dsm against its .expected: diagnostics exactly as the user sees them for fail_*.dsm, the
// printed program for the others. DSC_UPDATE_GOLDENS=1 rewrites. Every code of the checker has a golden.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "compiler/sema/print.h"
#include "tests/unit/sema/golden_runner.h"

namespace dsc::test {
namespace {

const std::string kFolder = std::string(DSC_SOURCE_DIR) + "/tests/golden/sema";

std::vector<std::string> golden_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    if (entry.path().extension() == ".dsm") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

class SemaGolden : public testing::TestWithParam<std::string> {};

TEST_P(SemaGolden, IsAsExpected) {
  const std::string path = kFolder + "/" + GetParam();
  // `use "x.dsm"` in a golden is relative to its folder; names in messages are not.
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(kFolder);
  Checked checked = check_text(GetParam() + ".dsm", read_file(path + ".dsm"));
  std::filesystem::current_path(before);
  const bool must_fail = GetParam().starts_with("fail_");
  EXPECT_EQ(checked.program.has_value(), !must_fail);
  EXPECT_EQ(checked.diagnostics.has_errors(), must_fail);
  const std::string text = render(checked.diagnostics, checked.sources) + (checked.program ? print(*checked.program) : "");
  if (const char* update = std::getenv("DSC_UPDATE_GOLDENS"); update && *update == '1') std::ofstream(path + ".expected", std::ios::binary) << text;
  EXPECT_EQ(read_file(path + ".expected"), text);
}

// Library parts of other goldens, read by `use`, are no goldens themselves: they lie in a folder of their own.
INSTANTIATE_TEST_SUITE_P(All, SemaGolden, testing::ValuesIn(golden_names()), [](const auto& info) { return info.param; });

TEST(SemaGoldens, EveryCodeOfTheCheckerIsShown) {
  std::string all;
  for (const std::string& name : golden_names()) all += read_file(kFolder + "/" + name + ".expected");
  for (const CodeInfo& info : all_codes()) {
    const int number = static_cast<int>(info.code);
    if (number < 200 || number > 599) continue;
    EXPECT_NE(all.find("[" + str(info.code) + "]"), std::string::npos) << str(info.code) << " " << info.name << " has no golden";
  }
}

TEST(SemaGoldens, ThereAreManyMistakes) {
  std::size_t mistakes = 0;
  for (const std::string& name : golden_names()) {
    const std::string text = read_file(kFolder + "/" + name + ".expected");
    for (std::size_t at = text.find("error[DSM"); at != std::string::npos; at = text.find("error[DSM", at + 1)) ++mistakes;
  }
  EXPECT_GE(mistakes, 100u);
}

}  // namespace
}  // namespace dsc::test
