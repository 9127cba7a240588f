// dsc: see `dsc help`.
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "compiler/driver/verbs.h"

int main(int argc, char** argv) {
  using namespace dsc;
  // A limit on file sizes is then a failed write with an error of its own, not a death in the middle of a checkpoint.
  std::signal(SIGXFSZ, SIG_IGN);
  if (argc < 2 || !std::strcmp(argv[1], "--help") || !std::strcmp(argv[1], "-h")) {
    CommandLine help;
    help.verb = "help";
    return verb_help(help);
  }
  if (!std::strcmp(argv[1], "--version")) {
    std::printf("dsc %s\n", DSC_VERSION);
    return 0;
  }
  Result<CommandLine> line = parse_command_line(argc, argv);
  if (!line) return fail(line.error());

  static constexpr std::pair<const char*, int (*)(const CommandLine&)> verbs[] = {
      {"train", verb_train}, {"run", verb_run},   {"sample", verb_sample}, {"check", verb_check},   {"fmt", verb_fmt},
      {"explain", verb_explain}, {"plan", verb_plan}, {"verify", verb_verify}, {"export", verb_export}, {"help", verb_help}};
  for (const auto& [name, verb] : verbs)
    if (line->verb == name) return verb(*line);
  return 1;
}
