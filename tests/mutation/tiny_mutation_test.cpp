#include <gtest/gtest.h>

#include <cstdio>

#include "tests/mutation/campaign.h"
#include "tests/support/sanitized.h"
#include "tests/unit/plan/tiny_plan.h"

namespace dsc::testing {
namespace {

TEST(Mutation, TinyPlansAtEveryPlace) {
  Campaign campaign;
  for (const TinyOptions& options : tiny_grid()) {
    if (options.micro_batches == 7 || (options.ranks == 4 && options.micro_batches != 2)) continue;
    campaign.run(str(options), tiny_plan(options), dsc_test::kThinned);
  }
  std::fputs(campaign.table().c_str(), stdout);
  EXPECT_GE(campaign.tallies().size(), 20u);
  for (const auto& [name, tally] : campaign.tallies()) {
    EXPECT_EQ(tally.missed, 0) << name;
  }
}

}  // namespace
}  // namespace dsc::testing
