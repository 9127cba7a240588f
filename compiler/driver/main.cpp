// dsc: see `dsc help`.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <utility>

#include "compiler/driver/verbs.h"
#include "compiler/support/diagnostic_codes.h"

namespace {
using namespace dsc;

// A descriptor below 3 that is closed would be the next file's, and what is printed would go into that file.
void open_standard_streams() {
  while (true) {
    const int descriptor = open("/dev/null", O_RDWR);
    if (descriptor > STDERR_FILENO) close(descriptor);
    if (descriptor < 0 || descriptor > STDERR_FILENO) return;
  }
}

int run_verb(const CommandLine& line) {
  static constexpr std::pair<const char*, int (*)(const CommandLine&)> verbs[] = {
      {"train", verb_train}, {"run", verb_run},   {"sample", verb_sample}, {"check", verb_check},   {"fmt", verb_fmt},
      {"explain", verb_explain}, {"plan", verb_plan}, {"verify", verb_verify}, {"export", verb_export}, {"help", verb_help}};
  for (const auto& [name, verb] : verbs)
    if (line.verb == name) return verb(line);
  return 1;
}

int run(int argc, char** argv) {
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
  return line ? run_verb(*line) : fail(line.error());
}

}  // namespace

int main(int argc, char** argv) {
  open_standard_streams();
  // A limit on file sizes is then a failed write with an error of its own, not a death in the middle of a checkpoint.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    const int status = run(argc, argv);
    errno = 0;
    if (status == 0 && (std::fflush(stdout) != 0 || std::ferror(stdout)))
      return fail({str(Code::run_not_writable), std::string("cannot write the output: ") + std::strerror(errno ? errno : EIO),
                   "make room where it goes"});
    return status;
  } catch (const std::bad_alloc&) {
    return fail({str(Code::memory_not_mapped), "out of memory", "free memory, or raise its limit (`ulimit -v`); checkpoints stay valid"});
  }
}
