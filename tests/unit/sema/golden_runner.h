// A file of tests/golden/sema checked with the flags of its first line ("// flags: --gpus 8 --layout x --set key=value").
#pragma once

#include <string>
#include <vector>

#include "compiler/sema/check.h"

namespace dsc::test {

struct Checked {
  std::optional<CheckedProgram> program;
  Diagnostics diagnostics;
  SourceMap sources;
};

// `text` checked as a file named `name`.
Checked check_text(const std::string& name, const std::string& text, const std::string& folder = "");
std::string read_file(const std::string& path);

}  // namespace dsc::test
