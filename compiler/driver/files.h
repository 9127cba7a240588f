// What several verbs share: reading small files, and turning a command line into options of the checker.
#pragma once

#include <string>

#include "compiler/driver/command_line.h"
#include "compiler/sema/check.h"
#include "compiler/support/result.h"
#include "compiler/support/target.h"

namespace dsc {

Result<std::string> read_file(const std::string& path);
CheckOptions check_options(const CommandLine& line);
// A device of the committed table, or DSM0602.
Result<Target> target_named(const std::string& name);

}  // namespace dsc
