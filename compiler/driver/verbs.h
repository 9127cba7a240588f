// One function a verb: a parsed command line in, the exit status out. Results go to standard output, everything else to
// standard error. 0: done; 1: the user's file, flags or machine; 130 and 143: stopped by a signal after a checkpoint.
#pragma once

#include "compiler/driver/command_line.h"

namespace dsc {

int verb_train(const CommandLine& line);
int verb_run(const CommandLine& line);
int verb_sample(const CommandLine& line);
int verb_check(const CommandLine& line);
int verb_fmt(const CommandLine& line);
int verb_explain(const CommandLine& line);
int verb_plan(const CommandLine& line);
int verb_verify(const CommandLine& line);
int verb_export(const CommandLine& line);
int verb_help(const CommandLine& line);

// Prints "error[CODE]: message" and the help line; returns 1.
int fail(const Error& error);

}  // namespace dsc
