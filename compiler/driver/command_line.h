// The words after `dsc` in, a CommandLine out: options checked for spelling, for the verb they belong to and for the range
// of their numbers. Options are read by LLVM's command-line library.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "compiler/support/result.h"

namespace dsc {

struct CommandLine {
  std::string verb;
  std::vector<std::string> arguments;  // FILE, DIR, PLAN or CODE
  std::optional<std::int64_t> gpus, steps, threads, tokens;
  std::uint64_t seed = 0;
  double temperature = 1;
  std::string layout, device = "auto", out, target, emit, prompt;
  bool resume = false, profile = false, all = false, json = false;
  std::vector<std::pair<std::string, std::string>> sets;
};

Result<CommandLine> parse_command_line(int argc, char** argv);

struct VerbInfo {
  const char* name;
  const char* usage;    // "FILE [--gpus N] ..."
  const char* summary;  // one line
  int least_arguments, most_arguments;
};
const std::vector<VerbInfo>& all_verbs();
// What `dsc help VERB` prints: usage, summary, each option with its meaning.
std::string verb_help(const VerbInfo& verb);

}  // namespace dsc
