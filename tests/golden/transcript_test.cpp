// Transcripts: what a user types and what dsc answers, to the letter. Each *.txt under tests/golden/transcripts holds
// lines `$ COMMAND`, each followed by its output (both streams, in order) and, where the exit status is not 0, a line
// `[exit N]`. Commands run one after another by bash in an empty folder that holds a copy of transcripts/files; `dsc` is
// on the PATH. DSC_UPDATE_GOLDENS=1 rewrites the files from what happened.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "tests/support/sanitized.h"

namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string run(const std::string& command, const fs::path& folder) {
  fs::path script = folder.parent_path() / (folder.filename().string() + ".sh");
  std::ofstream(script) << "cd '" << folder.string() << "'\nexport PATH=" << DSC_BINARY_DIR << "/compiler/driver:$PATH\n" << command << "\n";
  std::string output;
  FILE* pipe = popen(("bash '" + script.string() + "' 2>&1 </dev/null").c_str(), "r");
  if (pipe == nullptr) return "[cannot start bash]\n";
  char block[4096];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, pipe)) > 0;) output.append(block, n);
  int status = pclose(pipe);
  if (!output.empty() && output.back() != '\n') output += '\n';
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (code != 0) output += "[exit " + std::to_string(code) + "]\n";
  return output;
}

std::string replay(const std::string& transcript, const fs::path& folder) {
  std::istringstream lines(transcript);
  std::string text, line;
  bool kept = true;  // the heading, and what is not run
  while (std::getline(lines, line)) {
    const bool command = line.rfind("$ ", 0) == 0;
    if (command) kept = dsc_test::kSanitized && line.find("ulimit -v") != std::string::npos;
    if (command || kept) text += line + "\n";
    if (command && !kept) text += run(line.substr(2), folder);
  }
  return text;
}

std::vector<fs::path> transcripts() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(fs::path(DSC_SOURCE_DIR) / "tests/golden/transcripts"))
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  return paths;
}

class Transcript : public testing::TestWithParam<fs::path> {};

TEST_P(Transcript, IsWhatHappens) {
  fs::path base = fs::temp_directory_path() / ("dsc-transcript-" + std::to_string(getpid()));
  fs::path folder = base / "work";
  fs::create_directories(folder);
  fs::copy(fs::path(DSC_SOURCE_DIR) / "tests/golden/transcripts/files", folder, fs::copy_options::recursive);
  std::string expected = read(GetParam());
  std::string actual = replay(expected, folder);
  fs::remove_all(base);
  if (std::getenv("DSC_UPDATE_GOLDENS")) std::ofstream(GetParam(), std::ios::binary) << actual;
  else EXPECT_EQ(actual, expected) << GetParam();
}

INSTANTIATE_TEST_SUITE_P(All, Transcript, testing::ValuesIn(transcripts()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
