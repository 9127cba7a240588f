// The short form for .dsm files. Beside its own, every .dsm file of the source tree is a seed.
#include <gtest/gtest.h>

#include "tests/fuzz/entry.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/short_form.h"
#include "tests/support/sanitized.h"

namespace dsc::fuzz {
namespace {

using dsc_test::kThinned;

std::vector<Seed> seeds() {
  return seeds_in({"tests/fuzz/grammar/seeds", "stdlib", "examples", "tests/golden/sema", "tests/golden/syntax"}, ".dsm");
}

TEST(GrammarFuzz, Seeds) {
  int accepted = 0;
  for (const Seed& seed : seeds()) accepted += accepts(seed.bytes);
  EXPECT_GT(accepted, 100);
}

TEST(GrammarFuzz, FoundByFuzzing) {
  for (const Seed& seed : seeds_in({"tests/fuzz/grammar/found"}, "")) accepts(seed.bytes);
}

TEST(GrammarFuzz, Mutations) {
  std::mt19937 random = generator(42);
  Outcome outcome = run_mutations(seeds(), 2000 / kThinned, random);
  EXPECT_GT(outcome.accepted, 150 / kThinned);
  EXPECT_GT(outcome.refused, 300 / kThinned);
}

}  // namespace
}  // namespace dsc::fuzz
