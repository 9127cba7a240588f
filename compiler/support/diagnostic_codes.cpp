#include "compiler/support/diagnostic_codes.h"

#include <cstdio>
#include <cstdlib>

#include "compiler/support/check.h"

namespace dsc {

const std::vector<CodeInfo>& all_codes() {
  static const std::vector<CodeInfo> codes = {
#define DSC_CODE(number, name, title, explanation) {Code::name, #name, title, explanation},
#include "compiler/support/diagnostic_codes.def"
#undef DSC_CODE
  };
  return codes;
}

const CodeInfo& info(Code code) {
  for (const CodeInfo& entry : all_codes())
    if (entry.code == code) return entry;
  check_failed(__FILE__, __LINE__, "known code", std::to_string(static_cast<int>(code)));
}

std::string str(Code code) {
  char text[16];
  std::snprintf(text, sizeof text, "DSM%04d", static_cast<int>(code));
  return text;
}

std::optional<Code> code_named(std::string_view text) {
  for (const CodeInfo& entry : all_codes())
    if (str(entry.code) == text) return entry.code;
  return std::nullopt;
}

}  // namespace dsc
