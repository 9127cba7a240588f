// The short form for plans, and that a plan whose text was changed is refused for its hash or with a code. The seeds are
// plans made by hand and by the compiler; where the format changes, DSC_UPDATE_GOLDENS=1 writes them anew.
#include <gtest/gtest.h>

#include "compiler/driver/pipeline.h"
#include "compiler/plan/plan_json.h"
#include "compiler/support/diagnostic_codes.h"
#include "tests/fuzz/entry.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/short_form.h"
#include "tests/support/sanitized.h"
#include "tests/unit/plan/tiny_plan.h"

namespace dsc::fuzz {
namespace {

using dsc_test::kThinned;

constexpr const char* kFolder = "tests/fuzz/plan/seeds";

constexpr const char* kModel = R"(
module odd(axis vocab, axis width) {
  param wte: [vocab, width] = normal(0.02)
  param scale: [width] = ones
  forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss {
    x = scale * lookup(wte, tokens, over: vocab)
    return cross_entropy(dot(x * sigmoid(x), wte), targets, over: vocab)
  }
}
data { train = text("x.txt", tokenizer: bytes) validation = split(0.1) sequence = 4 order = sequential }
train {
  model = odd(vocab: 13, width: 6) steps = 10 batch = 4 precision = bf16
  optimizer = adamw(lr: constant(1e-3), weight_decay: 0.1) clip_norm = 1.0 seed = 1
  evaluate every 5 batches 2
}
layout zero2 { mesh (data: 2) split batch over data zero 2 over data }
)";

std::string compiled() {
  SourceMap sources;
  Diagnostics diagnostics;
  const std::uint32_t file = sources.add({"model.dsm", kModel});
  std::optional<CheckedProgram> program = check(file, sources, {}, diagnostics);
  if (!program) return render(diagnostics, sources);
  Result<Plan> plan = compile(*program, sources, {}, named_target("cpu"));
  return plan ? to_json(*plan) : plan.error().message;
}

TEST(PlanFuzz, SeedsAreAccepted) {
  using testing::tiny_plan;
  update_seed(std::string(kFolder) + "/compiled.json", compiled());
  update_seed(std::string(kFolder) + "/one_rank.json", to_json(tiny_plan({})));
  update_seed(std::string(kFolder) + "/zero3.json", to_json(tiny_plan({2, 2, 3, Reduce::each, DType::bf16})));
  update_seed(std::string(kFolder) + "/zero1_sgd.json", to_json(tiny_plan({4, 3, 1, Reduce::once, DType::f16, OptimizerKind::sgd})));
  std::vector<Seed> seeds = seeds_in({kFolder}, ".json");
  ASSERT_GE(seeds.size(), 4u);
  for (const Seed& seed : seeds) EXPECT_TRUE(accepts(seed.bytes)) << seed.path << " is of an older format: DSC_UPDATE_GOLDENS=1 writes it anew";
}

TEST(PlanFuzz, FoundByFuzzing) {
  for (const Seed& seed : seeds_in({"tests/fuzz/plan/found"}, "")) accepts(seed.bytes);
}

TEST(PlanFuzz, ChangedTextIsRefused) {
  std::mt19937 random = generator(7);
  std::vector<Seed> seeds = seeds_in({kFolder}, ".json");
  int refused = 0;
  for (int i = 0; i < 1500 / kThinned; ++i) {
    const std::string& original = seeds[random() % seeds.size()].bytes;
    std::string text = mutate_text(original, random);
    accepts(text);
    Result<Plan> plan = from_json(text);
    if (plan) {
      EXPECT_EQ(to_json(*plan), original);  // white space and the like
    } else {
      ++refused;
      EXPECT_TRUE(code_named(plan.error().code)) << plan.error().code;
    }
  }
  EXPECT_GT(refused, 1400 / kThinned);
}

TEST(PlanFuzz, ChangedValuesAreRefusedOrSafe) {
  std::mt19937 random = generator(8);
  Outcome outcome = run_json_mutations(seeds_in({kFolder}, ".json"), 1500 / kThinned, random);
  EXPECT_GT(outcome.accepted, 200 / kThinned);
  EXPECT_GT(outcome.refused, 200 / kThinned);
}

}  // namespace
}  // namespace dsc::fuzz
