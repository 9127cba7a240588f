// libFuzzer entry: a plan from anywhere is refused or safe to verify, print and write.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "compiler/plan/plan_json.h"
#include "compiler/plan/print.h"
#include "compiler/plan/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dsc::Result<dsc::Plan> plan = dsc::from_json_unsealed({reinterpret_cast<const char*>(data), size});
  if (!plan) return 0;
  dsc::VerifyReport report = dsc::verify(*plan);
  for (const dsc::VerifyError& error : report.errors) dsc::str(error, *plan);
  dsc::print(*plan);
  dsc::to_json(*plan);
  return 0;
}
