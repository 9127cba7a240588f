// dsc help [VERB|CODE]
#include <cstdio>

#include "compiler/driver/verbs.h"
#include "compiler/support/diagnostic_codes.h"

namespace dsc {

int fail(const Error& error) {
  std::fprintf(stderr, "error[%s]: %s\n", error.code.c_str(), error.message.c_str());
  if (!error.help.empty()) std::fprintf(stderr, "help: %s\n", error.help.c_str());
  return 1;
}

int verb_help(const CommandLine& line) {
  if (line.arguments.empty()) {
    std::printf("dsc %s: a compiler and runtime for training transformers from one declarative file\n\n", DSC_VERSION);
    for (const VerbInfo& verb : all_verbs()) std::printf("  dsc %-8s %-16s %s\n", verb.name, verb.usage, verb.summary);
    std::printf("\n`dsc help VERB` lists a verb's options; `dsc help DSM0204` explains a diagnostic.\n");
    return 0;
  }
  const std::string& topic = line.arguments.front();
  for (const VerbInfo& verb : all_verbs())
    if (topic == verb.name) {
      std::fputs(verb_help(verb).c_str(), stdout);
      return 0;
    }
  if (std::optional<Code> code = code_named(topic)) {
    const CodeInfo& entry = info(*code);
    std::printf("%s: %.*s\n\n%.*s\n", str(*code).c_str(), static_cast<int>(entry.title.size()), entry.title.data(),
                static_cast<int>(entry.explanation.size()), entry.explanation.data());
    return 0;
  }
  return fail({str(Code::unknown_help_topic), "there is no help on `" + topic + "`", "`dsc help` lists the verbs; a code looks like DSM0204"});
}

}  // namespace dsc
