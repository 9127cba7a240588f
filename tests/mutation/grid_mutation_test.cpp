// Plans that the compiler makes: no false alarm over the grid of layouts, and mutations of them. On some plans every
// mutator is applied at every place where it applies, on the others at a sample; DSC_EVERY_PLACE=1 leaves none out.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "compiler/driver/pipeline.h"
#include "tests/mutation/campaign.h"
#include "tests/support/sanitized.h"

namespace dsc::testing {
namespace {

constexpr const char* kData = R"(
data { train = text("x.txt", tokenizer: bytes) validation = split(0.1) sequence = 4 order = sequential }
)";
constexpr const char* kTrain = R"(
  steps = 10 batch = 16 optimizer = adamw(lr: constant(1e-3), weight_decay: 0.1, decay: products) precision = fp32 clip_norm = 1.0 seed = 1
  checkpoint every 5 to "run/x" keep 1
  evaluate every 5 batches 2
}
layout single { }
)";

std::string gpt2_text() { return std::string("use std.gpt2\n") + kData + "train { model = gpt2(vocab: 13, context: 5, layers: 1, width: 6, heads: 2)" + kTrain; }
std::string llama_text() { return std::string("use std.llama\n") + kData + "train { model = llama(vocab: 13, layers: 1, width: 8, heads: 4, kv_heads: 2, hidden: 10)" + kTrain; }
// A parameter used in two segments and twice in one, a loss of two terms, a split and joined axis.
std::string own_text() {
  return std::string(R"(
module twist(axis width) {
  param up: [width] = ones
  forward(x: [..., width]) -> [..., width] { return x * up * sigmoid(x * up) }
}
module odd(axis vocab, axis width) {
  param wte: [vocab, width] = normal(0.02)
  sub first = twist(width)
  sub second = twist(width)
  forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss {
    x = first(lookup(wte, tokens, over: vocab))
    y = second(x) + first(x)
    return cross_entropy(dot(y, wte), targets, over: vocab) + 0.25 * mean(y * y, over: (batch, seq, width))
  }
}
)") + kData + "train { model = odd(vocab: 13, width: 6)" + kTrain;
}

struct Case {
  std::int64_t ranks = 1, micro_batches = 1;
  int zero = 0;
  Reduce reduce = Reduce::once;
  DType activation = DType::f32;
};

std::string str(const Case& c) {
  return "zero " + std::to_string(c.zero) + ", " + std::to_string(c.ranks) + " ranks, " + std::to_string(c.micro_batches) + " micro-batches, " +
         (c.reduce == Reduce::once ? "once, " : "each, ") + std::string(name_of(c.activation));
}

struct ModelText {
  const char* name;
  std::string (*text)();
};
constexpr ModelText kModels[] = {{"gpt2", gpt2_text}, {"llama", llama_text}, {"own", own_text}};

Plan plan_of(const std::string& text, const Case& c) {
  SourceMap sources;
  Diagnostics diagnostics;
  std::optional<CheckedProgram> program = check(sources.add({"model.dsm", text}), sources, {}, diagnostics);
  DSC_CHECK(program.has_value(), render(diagnostics, sources));
  program->train.reduce = c.reduce;
  program->train.activation = c.activation;
  if (c.activation == DType::f16) program->train.loss_scale.init = 1024;
  LayoutSpec layout;
  layout.name = "grid";
  layout.mesh = {{"data", c.ranks, {}}};
  layout.batch_axes = {0};
  layout.zero_stage = c.zero;
  layout.micro_batch = program->train.batch / c.ranks / c.micro_batches;
  layout.wire_bf16 = c.activation == DType::bf16 && c.ranks > 1;
  layout.bucket = Elements(60);
  layout.prefetch = Elements(100);
  layout.max_live = Elements(200);
  layout.persist_below = Elements(c.micro_batches == 4 ? 7 : 0);
  program->layout = layout;
  Result<Plan> plan = compile(*program, sources, {}, reference_target());
  DSC_CHECK(static_cast<bool>(plan), plan ? "" : plan.error().message);
  return std::move(*plan);
}

// A model, its ranks and its ZeRO stage; the test goes over micro-batches, reductions and precisions.
class GridMutation : public ::testing::TestWithParam<std::tuple<ModelText, std::int64_t, int>> {};

TEST_P(GridMutation, IsFound) {
  const auto& [model, ranks, zero] = GetParam();
  Campaign campaign;
  int every = std::getenv("DSC_EVERY_PLACE") ? 1 : 97 * dsc_test::kThinned, index = 0;
  for (std::int64_t micro_batches : {1, 2, 4})
    for (Reduce reduce : {Reduce::once, Reduce::each})
      for (DType activation : {DType::f32, DType::bf16, DType::f16}) {
        const Case c{ranks, micro_batches, zero, reduce, activation};
        index += 13;
        if (dsc_test::kSanitized && index % 7 != 0) continue;
        campaign.run(std::string(model.name) + ", " + str(c), plan_of(model.text(), c), every, index - 13);
        if (HasFatalFailure()) return;
      }
  std::fputs(campaign.table().c_str(), stdout);
  for (const auto& [mutator, tally] : campaign.tallies()) EXPECT_EQ(tally.missed, 0) << mutator;
}

std::string name_of_case(const ::testing::TestParamInfo<std::tuple<ModelText, std::int64_t, int>>& info) {
  const auto& [model, ranks, zero] = info.param;
  return std::string(model.name) + "_" + std::to_string(ranks) + "_ranks_zero_" + std::to_string(zero);
}
INSTANTIATE_TEST_SUITE_P(OneRank, GridMutation, ::testing::Combine(::testing::ValuesIn(kModels), ::testing::Values(1), ::testing::Values(0)), name_of_case);
INSTANTIATE_TEST_SUITE_P(Ranks, GridMutation, ::testing::Combine(::testing::ValuesIn(kModels), ::testing::Values(2, 4), ::testing::Range(0, 4)), name_of_case);

TEST(CompiledPlans, SamplePlansAreValid) {
  for (const std::string& text : {gpt2_text(), llama_text(), own_text()})
    for (DType activation : {DType::f32, DType::bf16, DType::f16}) {
      Case c{2, 2, 3, Reduce::once, activation};
      Result<Plan> plan = compile_sample(plan_of(text, c), reference_target());
      ASSERT_TRUE(plan) << plan.error().message;
      VerifyReport report = verify(*plan);
      for (const VerifyError& error : report.errors) ADD_FAILURE() << str(c) << ": " << name_of(error.kind) << ": " << str(error, *plan);
      EXPECT_EQ(plan->programs.size(), 1u);
    }
}

TEST(CompiledPlans, EveryPlaceOfSomePlans) {
  Campaign campaign;
  const Case cases[] = {{2, 2, 0, Reduce::each, DType::f32}, {2, 2, 1, Reduce::once, DType::bf16}, {4, 4, 2, Reduce::each, DType::f16}, {4, 2, 3, Reduce::once, DType::bf16}};
  for (const Case& c : cases) {
    campaign.run("own, " + str(c), plan_of(own_text(), c), dsc_test::kThinned);
    if (c.zero == 1 || c.zero == 3) campaign.run("gpt2, " + str(c), plan_of(gpt2_text(), c), dsc_test::kThinned);
  }
  std::fputs(campaign.table().c_str(), stdout);
  for (const Mutator& mutator : mutators()) {
    EXPECT_GT(campaign.tallies().at(mutator.name).tried, 0) << mutator.name << " applies nowhere";
    EXPECT_EQ(campaign.tallies().at(mutator.name).missed, 0) << mutator.name;
  }
}

}  // namespace
}  // namespace dsc::testing
