#include <gtest/gtest.h>

#include "compiler/plan/verify.h"
#include "tests/unit/plan/tiny_plan.h"

namespace dsc::testing {
namespace {

TEST(Verify, NoFalseAlarmOverTheTinyGrid) {
  for (const TinyOptions& options : tiny_grid()) {
    Plan plan = tiny_plan(options);
    VerifyReport report = verify(plan);
    for (const VerifyError& error : report.errors)
      ADD_FAILURE() << str(options) << ": " << name_of(error.kind) << ": " << str(error, plan);
    if (!report.ok()) break;
    EXPECT_GE(report.instructions, 19);
  }
}

}  // namespace
}  // namespace dsc::testing
