// One small training run after another under injected faults. In: the arguments of dsc, the rules of the interposer, what
// is done to the process. Out: how it ended, and what it left behind in a form that compares bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/run_dsc.h"

namespace dsc_fault {

namespace fs = std::filesystem;

struct Launch {
  std::string arguments;               // of dsc, separated by spaces
  std::string fault = {};              // see interposer.cpp; empty: nothing is preloaded
  std::function<void()> in_child = {};  // before dsc starts: limits, descriptors
  std::optional<std::chrono::microseconds> killed_after = {};  // SIGKILL from outside
  std::function<void()> while_stopped = {};  // the fault is a SIGSTOP: called when it has stopped, then it goes on
};

struct Ended {
  int status = 0;            // exit status; 128 + signal where a signal ended it
  bool by_signal = false;
  std::string output;        // both streams
  std::vector<std::string> calls;  // what the interposer noted
};

// Whether every kill and every call is tried (DSC_FAULT_CAMPAIGN=full), or a share of them.
bool full_campaign();
// Every stride-th, from a seeded place, in the short form; all in the full one.
std::int64_t stride(std::int64_t in_short_form);

// A folder with data and a model; runs in it are named by their output directory.
class FaultRuns : public ::testing::Test {
 protected:
  FaultRuns();

  Ended launch(const Launch& launch) const;
  // `dsc train` into `out` by `ranks` ranks.
  static std::string train(const std::string& out, int ranks, const std::string& more = "");
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  // Metrics without times, and the bytes of the newest checkpoint, of a run that nothing disturbed.
  const std::string& undisturbed(int ranks);
  std::string metrics(const std::string& out) const;
  std::string newest_checkpoint(const std::string& out) const;
  std::string result(const std::string& out) const { return metrics(out) + newest_checkpoint(out); }
  ::testing::AssertionResult undisturbed_result(const std::string& out, int ranks);
  // Resumes `out` to its end and compares everything with the undisturbed run.
  ::testing::AssertionResult resumes(const std::string& out, int ranks, std::string* said = nullptr);
  // Exactly one error, with `code`, and exit status 1.
  static ::testing::AssertionResult one_error(const Ended& ended, const std::string& code);
  // The matching calls of an undisturbed run, in order.
  std::vector<std::string> calls_of(const std::string& arguments, const std::string& calls, const std::string& path) const;
  void discard(const std::string& out) const;

  dsc_test::ScratchFolder folder_;

 private:
  std::map<int, std::string> undisturbed_;
};

}  // namespace dsc_fault
