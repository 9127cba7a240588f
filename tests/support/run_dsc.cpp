#include "tests/support/run_dsc.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <sstream>

namespace dsc_test {

namespace fs = std::filesystem;

Finished run_dsc(const std::string& arguments, const fs::path& folder) {
  std::string command = "cd '" + folder.string() + "' && '" + std::string(DSC_BINARY_DIR) + "/compiler/driver/dsc' " + arguments + " 2>&1 </dev/null";
  Finished finished;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {127, "popen failed"};
  char block[4096];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, pipe)) > 0;) finished.output.append(block, n);
  int status = pclose(pipe);
  finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

ScratchFolder::ScratchFolder() {
  static std::atomic<int> count{0};
  path_ = fs::temp_directory_path() / ("dsc-test-" + std::to_string(getpid()) + "-" + std::to_string(count++));
  // A process that was killed may have had this one's number.
  fs::remove_all(path_);
  fs::create_directories(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_file(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::vector<nlohmann::json> step_metrics(const fs::path& run_dir) {
  std::vector<nlohmann::json> steps;
  std::ifstream in(run_dir / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) {
    nlohmann::json entry = nlohmann::json::parse(line);
    if (entry.contains("loss")) steps.push_back(std::move(entry));
  }
  return steps;
}

std::string final_state(const fs::path& run_dir) {
  std::vector<fs::path> checkpoints;
  for (const auto& entry : fs::directory_iterator(run_dir / "checkpoints")) checkpoints.push_back(entry.path());
  if (checkpoints.empty()) return "";
  return read_file(*std::max_element(checkpoints.begin(), checkpoints.end()) / "state.bin");
}

}  // namespace dsc_test
