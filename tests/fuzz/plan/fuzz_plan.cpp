// A plan from anywhere, its hash left aside, is refused or safe to verify, print and write; what was written is read again.
#include "compiler/plan/plan_json.h"
#include "compiler/plan/print.h"
#include "compiler/plan/verify.h"
#include "tests/fuzz/entry.h"

bool dsc::fuzz::accepts(std::string_view bytes) {
  (void)from_json(bytes);
  Result<Plan> plan = from_json_unsealed(bytes);
  if (!plan) return false;
  VerifyReport report = verify(*plan);
  for (const VerifyError& error : report.errors) DSC_CHECK(!str(error, *plan).empty(), "an error without words");
  DSC_CHECK(!print(*plan).empty(), "a plan without words");
  seal(*plan);
  Result<Plan> again = from_json(to_json(*plan));
  DSC_CHECK(again, "a plan that was written is refused: " + again.error().message);
  return true;
}
