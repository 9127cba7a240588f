#include "tests/fault/fault_run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>

namespace dsc_fault {

using dsc_test::read_file;
using dsc_test::write_file;

namespace {

const char* const kProgram = R"(use std.gpt2
data {
  train      = text("text.txt", tokenizer: bytes)
  validation = split(0.1)
  sequence   = 8
  order      = shuffled
}
train {
  model     = gpt2(vocab: 128, context: 8, layers: 1, width: 16, heads: 2)
  steps     = 12
  batch     = 8
  optimizer = adamw(lr: constant(1e-3))
  precision = fp32
  clip_norm = 1.0
  seed      = 3
  checkpoint every 2 to "run" keep 3
  evaluate every 5 batches 2
}
layout zero3 { mesh (data: auto) split batch over data zero 3 over data { persist_below: 0 } }
)";

// In the child: what of it is left is dsc.
[[noreturn]] void become_dsc(const Launch& launch, const fs::path& folder, int output) {
  std::vector<std::string> words = {std::string(DSC_BINARY_DIR) + "/compiler/driver/dsc"};
  std::istringstream text(launch.arguments);
  for (std::string word; text >> word;) words.push_back(word);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  for (int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(number, SIG_DFL);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (chdir(folder.c_str()) != 0 || dup2(nothing, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(126);
  ::close(nothing);
  ::close(output);
  if (!launch.fault.empty()) {
    setenv("LD_PRELOAD", DSC_INTERPOSER, 1);
    setenv("DSC_FAULT", launch.fault.c_str(), 1);
    setenv("DSC_FAULT_LOG", (folder / "calls").c_str(), 1);
  }
  if (launch.in_child) launch.in_child();
  execv(argv[0], argv.data());
  _exit(127);
}

// Reads until the other end is closed, or until it is time to kill.
void collect(int from, pid_t child, const Launch& launch, std::string& output) {
  if (launch.killed_after) {
    const auto whole = static_cast<long>(launch.killed_after->count());
    const timespec wait = {whole / 1000000, whole % 1000000 * 1000};
    pollfd quiet = {-1, 0, 0};
    ppoll(&quiet, 1, &wait, nullptr);
    kill(child, SIGKILL);
  }
  char block[4096];
  for (ssize_t n; (n = read(from, block, sizeof block)) > 0;) output.append(block, static_cast<std::size_t>(n));
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(path));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

std::size_t occurrences(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

}  // namespace

bool full_campaign() {
  const char* campaign = std::getenv("DSC_FAULT_CAMPAIGN");
  return campaign != nullptr && std::string(campaign) == "full";
}

std::int64_t stride(std::int64_t in_short_form) { return full_campaign() ? 1 : in_short_form; }

FaultRuns::FaultRuns() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "line " + std::to_string(i) + ": the square is " + std::to_string(i * i) + "\n";
  write_file(at("text.txt"), text);
  write_file(at("model.dsm"), kProgram);
}

std::string FaultRuns::train(const std::string& out, int ranks, const std::string& more) {
  return "train model.dsm --threads 2 --gpus " + std::to_string(ranks) + " --out " + out + " " + more;
}

Ended FaultRuns::launch(const Launch& launch) const {
  fs::remove(at("calls"));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {127, false, "no pipe", {}};
  const pid_t child = fork();
  if (child == 0) become_dsc(launch, folder_.path(), ends[1]);
  ::close(ends[1]);
  Ended ended;
  int status = 0;
  if (launch.while_stopped) {
    EXPECT_TRUE(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status)) << "it did not stop";
    launch.while_stopped();
    kill(child, SIGCONT);
  }
  collect(ends[0], child, launch, ended.output);
  ::close(ends[0]);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  ended.by_signal = WIFSIGNALED(status);
  ended.status = ended.by_signal ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  ended.calls = lines_of(at("calls"));
  return ended;
}

std::string FaultRuns::metrics(const std::string& out) const {
  std::string text;
  for (const std::string& line : lines_of(at(out) / "metrics.jsonl")) {
    nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    if (entry.is_object()) {
      entry.erase("step_seconds");
      entry.erase("tokens_per_second");
    }
    text += entry.dump() + "\n";
  }
  return text;
}

std::string FaultRuns::newest_checkpoint(const std::string& out) const {
  fs::path newest;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(at(out) / "checkpoints", none)) {
    const std::string name = entry.path().filename().string();
    if (name.size() == 13 && name.rfind("step-", 0) == 0 && entry.path() > newest) newest = entry.path();
  }
  if (newest.empty()) return "no checkpoint";
  return newest.filename().string() + "\n" + read_file(newest / "manifest.json") + read_file(newest / "state.bin");
}

const std::string& FaultRuns::undisturbed(int ranks) {
  std::string& text = undisturbed_[ranks];
  if (text.empty()) {
    const std::string out = "whole" + std::to_string(ranks);
    const Ended ended = launch({train(out, ranks)});
    EXPECT_EQ(ended.status, 0) << ended.output;
    text = result(out);
  }
  return text;
}

::testing::AssertionResult FaultRuns::undisturbed_result(const std::string& out, int ranks) {
  if (result(out) == undisturbed(ranks)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "not the undisturbed run's metrics or checkpoint:\n" << metrics(out) << "undisturbed:\n"
                                       << metrics("whole" + std::to_string(ranks));
}

::testing::AssertionResult FaultRuns::resumes(const std::string& out, int ranks, std::string* said) {
  const Ended rest = launch({train(out, ranks, "--resume")});
  if (said != nullptr) *said = rest.output;
  if (rest.status != 0) return ::testing::AssertionFailure() << "the resumed run ended with " << rest.status << ": " << rest.output;
  return undisturbed_result(out, ranks) << rest.output;
}

::testing::AssertionResult FaultRuns::one_error(const Ended& ended, const std::string& code) {
  const std::string& text = ended.output;
  if (ended.status == 1 && !ended.by_signal && occurrences(text, "error[") == 1 && text.find("error[" + code + "]") != std::string::npos)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "status " << ended.status << ", wanted one error[" << code << "]: " << text;
}

std::vector<std::string> FaultRuns::calls_of(const std::string& arguments, const std::string& calls, const std::string& path) const {
  const Ended ended = launch({arguments, calls + " " + path + " 0 count"});
  EXPECT_EQ(ended.status, 0) << ended.output;
  return ended.calls;
}

void FaultRuns::discard(const std::string& out) const { fs::remove_all(at(out)); }

}  // namespace dsc_fault
