// Initial weights: exact values (computed by a script of its own from the definition), the same in every layout.
#include "runtime/checkpoint/initial_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/unit/checkpoint/hand_plan.h"

namespace dsc {
namespace {

Parameter parameter(const char* path, InitKind kind, double value) { return {path, {}, kind, value, true, false, {}}; }

TEST(InitialValues, ExactNumbers) {
  std::vector<float> normal(6), uniform(3), far(1);
  initial_values(parameter("block[3].attn.wq", InitKind::normal, 0.02), 42, 0, normal);
  EXPECT_EQ(normal, (std::vector<float>{-0.028696425259113312f, 0.023585787042975426f, -0.01878434792160988f,
                                        -0.01644968055188656f, -0.03643330559134483f, 0.01546533964574337f}));
  initial_values(parameter("wpe", InitKind::uniform, 0.5), 7, 0, uniform);
  EXPECT_EQ(uniform, (std::vector<float>{-0.29568713903427124f, 0.3085135519504547f, -0.08408025652170181f}));
  initial_values(parameter("wpe", InitKind::uniform, 0.5), 7, 5000000001, far);
  EXPECT_EQ(far[0], -0.009795127436518669f);
}

TEST(InitialValues, AnyPartIsThatPartOfTheWhole) {
  Parameter p = parameter("w", InitKind::normal, 1.0);
  std::vector<float> whole(101);
  initial_values(p, 1, 0, whole);
  for (std::size_t begin : {1, 2, 3, 4, 5, 50})
    for (std::size_t length : {1, 2, 3, 4, 7, 51}) {
      std::vector<float> part(length);
      initial_values(p, 1, static_cast<std::int64_t>(begin), part);
      EXPECT_EQ(part, std::vector<float>(whole.begin() + begin, whole.begin() + begin + length)) << begin << " " << length;
    }
}

TEST(InitialValues, MomentsOfTheDistributions) {
  constexpr std::size_t n = 100000;
  std::vector<float> values(n);
  double sum = 0, squares = 0, fourth = 0;
  initial_values(parameter("w", InitKind::normal, 2.0), 3, 0, values);
  for (double v : values) sum += v, squares += v * v, fourth += v * v * v * v;
  EXPECT_NEAR(sum / n, 0, 0.03);
  EXPECT_NEAR(squares / n, 4, 0.1);
  EXPECT_NEAR(fourth / n, 48, 3);
  sum = squares = 0;
  initial_values(parameter("w", InitKind::uniform, 3.0), 3, 0, values);
  for (double v : values) {
    sum += v, squares += v * v;
    ASSERT_LE(std::abs(v), 3.0);
  }
  EXPECT_NEAR(sum / n, 0, 0.03);
  EXPECT_NEAR(squares / n, 3, 0.05);
}

TEST(Initialise, EqualInEveryLayout) {
  HandPlan first(small_contract(), {1, 0, DType::f32});
  first.scribble(1);
  initialise(first.contract(), first.state());
  std::vector<float> expected = first.everything();
  EXPECT_NE(expected[0], 0.0f);
  EXPECT_EQ(expected[35], 1.0f);  // after w (30) and b (5)
  EXPECT_EQ(expected[41], 0.0f);
  EXPECT_EQ(std::count(expected.begin() + 77, expected.end(), 0.0f), 2 * 77);
  for (std::int64_t ranks : {1, 2, 3, 4, 8})
    for (int zero : {0, 1, 2, 3})
      for (DType type : {DType::f32, DType::bf16, DType::f16}) {
        HandPlan plan(small_contract(), {ranks, zero, type});
        plan.scribble(2);
        initialise(plan.contract(), plan.state());
        EXPECT_EQ(plan.everything(), expected) << ranks << " ranks, zero " << zero;
      }
}

TEST(Initialise, TheStateBlockBeginsWithTheLossScale) {
  TrainSpec train;
  train.loss_scale = {true, 65536, 1000, 2, 1};
  StateBlock dynamic = initial_block(train);
  EXPECT_EQ(dynamic.loss_scale, 65536);
  EXPECT_EQ(dynamic.next_loss_scale, 65536);
  EXPECT_EQ(dynamic.hysteresis, 2);
  EXPECT_EQ(dynamic.attempts + dynamic.applied + dynamic.clean, 0);
  train.loss_scale = {false, 1024, 1000, 2, 1};
  EXPECT_EQ(initial_block(train).next_loss_scale, 1024);
  EXPECT_EQ(initial_block(train).hysteresis, 0);
  EXPECT_EQ(initial_block(TrainSpec()).loss_scale, 1);
}

}  // namespace
}  // namespace dsc
