// The rules of the source tree, as tests: who includes whom, how headers begin, that every diagnostic code is shown by a
// golden and explained.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "compiler/support/diagnostic_codes.h"

namespace {

namespace fs = std::filesystem;
const fs::path kRoot = DSC_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> files_under(const std::vector<std::string>& folders, const std::set<std::string>& extensions) {
  std::vector<fs::path> paths;
  for (const std::string& folder : folders)
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder))
      if (entry.is_regular_file() && extensions.count(entry.path().extension().string())) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

// "compiler/graph" of compiler/graph/fuse.h, "runtime" and "kernels" whole.
std::string room_of(const std::string& path) {
  if (path.rfind("compiler/", 0) != 0) return path.substr(0, path.find('/'));
  return path.substr(0, path.find('/', 9));
}

// The rooms that each room may include beside itself and compiler/support.
const std::map<std::string, std::set<std::string>>& allowed() {
  static const std::map<std::string, std::set<std::string>> rooms = [] {
    std::map<std::string, std::set<std::string>> r;
    std::set<std::string> before;
    for (const char* stage : {"syntax", "sema", "graph", "partition", "schedule", "memory", "emit"}) {
      r["compiler/" + std::string(stage)] = before;
      before.insert("compiler/" + std::string(stage));
    }
    r["compiler/emit"].insert("compiler/plan");
    r["compiler/support"] = {};
    r["compiler/plan"] = {};
    r["compiler/explain"] = {"compiler/plan"};
    r["kernels"] = {};
    r["runtime"] = {"compiler/plan", "kernels"};
    return r;
  }();
  return rooms;
}

TEST(Tidy, FoldersIncludeOnlyWhatTheyMay) {
  std::regex include("#include \"((compiler|runtime|kernels)/[^\"]+)\"");
  for (const fs::path& path : files_under({"compiler", "runtime", "kernels"}, {".h", ".cpp"})) {
    std::string room = room_of(fs::relative(path, kRoot).string());
    if (room == "compiler/driver") continue;
    ASSERT_TRUE(allowed().count(room)) << "no rule for the folder of " << path;
    std::string text = read(path);
    for (std::sregex_iterator it(text.begin(), text.end(), include), end; it != end; ++it) {
      std::string target = room_of((*it)[1]);
      EXPECT_TRUE(target == room || target == "compiler/support" || allowed().at(room).count(target)) << path << " includes " << (*it)[1];
    }
  }
}

TEST(Tidy, OnlySyntaxSeesAntlr) {
  for (const fs::path& path : files_under({"compiler", "runtime", "kernels"}, {".h", ".cpp"})) {
    if (room_of(fs::relative(path, kRoot).string()) == "compiler/syntax") continue;
    EXPECT_EQ(read(path).find("antlr4-runtime"), std::string::npos) << path;
  }
}

TEST(Tidy, HeadersBeginWithWhatGoesInAndOut) {
  for (const fs::path& path : files_under({"compiler", "runtime", "kernels"}, {".h"})) {
    std::string text = read(path);
    EXPECT_EQ(text.rfind("// ", 0), 0u) << path << " does not begin with a comment";
    EXPECT_NE(text.find("#pragma once"), std::string::npos) << path;
  }
}

TEST(Tidy, NoFileIsAGodFile) {
  for (const fs::path& path : files_under({"compiler", "runtime", "kernels", "tests"}, {".h", ".cpp"})) {
    std::string text = read(path);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 1000) << path;
  }
}

TEST(Tidy, LibrariesNeitherPrintNorExit) {
  std::regex call(R"((^|[^\w.:>])(std::)?(exit|printf|puts)\(|std::(cout|cerr))");
  for (const fs::path& path : files_under({"compiler", "runtime", "kernels"}, {".h", ".cpp"})) {
    std::string relative = fs::relative(path, kRoot).string();
    if (relative.rfind("compiler/driver/", 0) == 0 || relative == "compiler/support/check.cpp") continue;
    std::istringstream lines(read(path));
    for (std::string line; std::getline(lines, line);)
      EXPECT_FALSE(std::regex_search(line, call) && line.find("//") == std::string::npos) << path << ": " << line;
  }
}

// Two types of one name in one namespace are one type to the linker, which then destroys either with the other's code.
TEST(Tidy, NoTwoTypesShareAName) {
  const std::regex opens(R"(^namespace ?([\w:]*) ?\{)"), closes(R"(^\}  // namespace)"), type(R"(^(struct|class) (\w+)( final)?( : .*)? \{.*)");
  std::map<std::string, fs::path> seen;
  for (const fs::path& path : files_under({"compiler", "runtime", "kernels"}, {".h", ".cpp"})) {
    std::vector<std::string> spaces;
    std::istringstream lines(read(path));
    for (std::string line; std::getline(lines, line);) {
      std::smatch match;
      if (std::regex_search(line, match, opens)) spaces.push_back(match[1]);
      else if (std::regex_search(line, closes) && !spaces.empty()) spaces.pop_back();
      if (!std::regex_match(line, match, type) || std::count(spaces.begin(), spaces.end(), "")) continue;
      std::string name = match[2];
      for (const std::string& space : spaces) name = space + "::" + name;
      const auto [first, fresh] = seen.emplace(name, path);
      EXPECT_TRUE(fresh) << name << " is in " << first->second << " and in " << path;
    }
  }
  EXPECT_GT(seen.size(), 100u);
}

TEST(Tidy, CodesAscendAndAreExplained) {
  int last = 0;
  for (const dsc::CodeInfo& code : dsc::all_codes()) {
    EXPECT_GT(static_cast<int>(code.code), last) << code.name;
    last = static_cast<int>(code.code);
    EXPECT_FALSE(code.title.empty()) << code.name;
    EXPECT_GE(code.explanation.size(), 60u) << code.name << ": the help page says too little";
  }
}

// A code that no golden shows is a code that nobody has seen work.
TEST(Tidy, EveryCodeHasAGolden) {
  std::string shown;
  for (const fs::path& path : files_under({"tests/golden"}, {".txt", ".expected"})) shown += read(path);
  for (const dsc::CodeInfo& code : dsc::all_codes())
    EXPECT_NE(shown.find("[" + dsc::str(code.code) + "]"), std::string::npos) << dsc::str(code.code) << " " << code.name;
}

}  // namespace
