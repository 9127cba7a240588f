// Runs the built dsc as a user would, in a folder of its own, and reads what it leaves behind.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace dsc_test {

struct Finished {
  int status = 0;      // exit status; 128 + signal where it was killed
  std::string output;  // both streams, in order
};

// Runs `dsc ARGUMENTS` (words as bash reads them) in `folder`.
Finished run_dsc(const std::string& arguments, const std::filesystem::path& folder);

// A fresh folder, removed with all it holds at the end of the scope.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& text);
// The step lines of DIR/metrics.jsonl (those with "loss").
std::vector<nlohmann::json> step_metrics(const std::filesystem::path& run_dir);
// state.bin of the newest checkpoint.
std::string final_state(const std::filesystem::path& run_dir);

}  // namespace dsc_test
