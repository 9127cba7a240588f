// Every diagnostic code with its title and its long explanation (`dsc help CODE`). The explanations live in
// diagnostic_codes.def, one entry DSC_CODE(number, name, "title", "explanation") each, in ascending order:
//   00xx command line, 01xx syntax, 02xx axes and types, 03xx names and modules, 04xx data and training,
//   05xx layouts, 06xx memory and targets, 07xx plans, 08xx checkpoints, export and import, 09xx data files and running.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsc {

enum class Code : int {
#define DSC_CODE(number, name, title, explanation) name = number,
#include "compiler/support/diagnostic_codes.def"
#undef DSC_CODE
};

struct CodeInfo {
  Code code;
  std::string_view name;         // "axis_does_not_divide"
  std::string_view title;        // one line
  std::string_view explanation;  // paragraphs with an example that is wrong and one that is right
};

const std::vector<CodeInfo>& all_codes();
const CodeInfo& info(Code code);
// "DSM0204".
std::string str(Code code);
std::optional<Code> code_named(std::string_view text);

}  // namespace dsc
