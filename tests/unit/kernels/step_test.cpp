#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/step_rules.h"
#include "tests/unit/kernels/harness.h"

namespace dsc::test {
namespace {

// A run of attempts through the begin_step and control kernels, with the gradients' sum of squares and the loss of each.
class Attempts {
 public:
  explicit Attempts(TrainSpec train, std::int64_t ranks = 1, std::int64_t micro_batches = 1) : train_(std::move(train)), state_(initial_state(train_)) {
    spec_.pieces = ranks, spec_.parameters = 2, spec_.ranks = ranks, spec_.micro_batches = micro_batches;
  }
  const StateBlock& attempt(double squares, double loss = 1) {
    Bindings begin, control;
    begin.outputs = {&state_};
    begin.train = control.train = &train_;
    (*prepare(BeginStepSpec{}, begin, reference_target()))->run(0, 0, 0);
    std::vector<double> norms(static_cast<std::size_t>(spec_.pieces * 2), squares / static_cast<double>(spec_.pieces * 2));
    std::vector<double> losses(static_cast<std::size_t>(spec_.ranks), loss);
    control.inputs = {norms.data(), losses.data()};
    control.outputs = {&state_};
    (*prepare(spec_, control, reference_target()))->run(0, 0, 0);
    return state_;
  }
  StateBlock& state() { return state_; }

 private:
  TrainSpec train_;
  StateBlock state_;
  ControlSpec spec_;
};

TrainSpec training(DType activation) {
  TrainSpec train;
  train.activation = activation;
  train.steps = 100;
  train.optimizer.rate.peak = 1e-3;
  return train;
}

const double inf = std::numeric_limits<double>::infinity();

// One letter an attempt: o overflow, c clean. Returns the scale that each attempt's backward pass used.
std::vector<double> scales(TrainSpec train, const std::string& attempts) {
  Attempts run(train);
  std::vector<double> out;
  for (char letter : attempts) out.push_back(static_cast<double>(run.attempt(letter == 'o' ? inf : 1.0).loss_scale));
  out.push_back(static_cast<double>(run.state().next_loss_scale));
  return out;
}

TrainSpec dynamic(double init, std::int64_t window, std::int64_t hysteresis, double min) {
  TrainSpec train = training(DType::f16);
  train.loss_scale = {true, init, window, hysteresis, min};
  return train;
}

TEST(LossScale, GrowsAfterCleanWindows) {
  EXPECT_EQ(scales(dynamic(8, 3, 1, 1), "cccccccc"), (std::vector<double>{8, 8, 8, 16, 16, 16, 32, 32, 32}));
}

TEST(LossScale, HalvesAtOnceWithoutHysteresis) {
  EXPECT_EQ(scales(dynamic(16, 100, 1, 1), "ococ"), (std::vector<double>{16, 8, 8, 4, 4}));
}

TEST(LossScale, HysteresisForgivesOneOverflowUntilTheNextDoubling) {
  EXPECT_EQ(scales(dynamic(16, 2, 2, 1), "ooo"), (std::vector<double>{16, 16, 8, 4}));
  // Two clean attempts double the scale and refill: the next overflow is forgiven again.
  EXPECT_EQ(scales(dynamic(16, 2, 2, 1), "oocco" "o"), (std::vector<double>{16, 16, 8, 8, 16, 16, 8}));
}

TEST(LossScale, AnOverflowRestartsTheCleanCount) {
  EXPECT_EQ(scales(dynamic(16, 3, 2, 1), "ccoccc"), (std::vector<double>{16, 16, 16, 16, 16, 16, 32}));
}

TEST(LossScale, StopsAtTheMinimum) {
  Attempts run(dynamic(4, 100, 1, 2));
  EXPECT_EQ(run.attempt(inf).status, static_cast<std::int32_t>(StepStatus::ok));
  EXPECT_EQ(run.state().next_loss_scale, 2);
  run.attempt(inf);
  EXPECT_EQ(run.state().status, static_cast<std::int32_t>(StepStatus::scale_at_minimum));
  EXPECT_EQ(run.state().skip, 1);
  EXPECT_EQ(run.state().next_loss_scale, 2);
}

TEST(LossScale, NeverExceedsTwoToThe24) {
  EXPECT_EQ(scales(dynamic(8388608, 1, 1, 1), "ccc"), (std::vector<double>{8388608, 16777216, 16777216, 16777216}));
}

TEST(LossScale, AStaticScaleSkipsAndStays) {
  TrainSpec train = training(DType::f16);
  train.loss_scale = {false, 1024, 1000, 2, 1};
  Attempts run(train);
  run.attempt(inf);
  EXPECT_EQ(run.state().skip, 1);
  EXPECT_EQ(run.state().applied, 0);
  EXPECT_EQ(run.state().attempts, 1);
  EXPECT_EQ(run.state().status, static_cast<std::int32_t>(StepStatus::ok));
  run.attempt(1);
  EXPECT_EQ(run.state().skip, 0);
  EXPECT_EQ(run.state().applied, 1);
  EXPECT_EQ(run.state().loss_scale, 1024);
}

TEST(LossScale, SkippedAttemptsMoveNeitherScheduleNorCount) {
  TrainSpec train = dynamic(16, 100, 1, 1);
  train.optimizer.rate = {ScheduleKind::linear, 1.0, 0.0, 2};
  train.steps = 6;
  Attempts run(train);
  EXPECT_EQ(run.attempt(1).learning_rate, 0.5);
  EXPECT_EQ(run.attempt(inf).learning_rate, 1.0);
  EXPECT_EQ(run.attempt(inf).learning_rate, 1.0);
  EXPECT_EQ(run.attempt(1).learning_rate, 1.0);
  EXPECT_EQ(run.state().applied, 2);
  EXPECT_EQ(run.state().attempts, 4);
}

TEST(Control, FactorAveragesUnscalesAndClips) {
  TrainSpec train = training(DType::f16);
  train.loss_scale = {false, 64, 1000, 2, 1};
  train.clip_norm = 0.5;
  Attempts run(train, 4, 2);
  const double divisor = 4 * 2 * 64;
  run.attempt(divisor * divisor * 4, 6);  // the mean gradient's norm is 2
  EXPECT_DOUBLE_EQ(run.state().grad_norm, 2);
  EXPECT_DOUBLE_EQ(run.state().loss, 3);  // 4 ranks' sums of 6 over 2 micro-batches
  EXPECT_FLOAT_EQ(run.state().factor, static_cast<float>(0.5 / (2 + 1e-6) / divisor));
  run.attempt(divisor * divisor * 0.01);
  EXPECT_FLOAT_EQ(run.state().factor, static_cast<float>(1 / divisor));
}

TEST(Control, NonFiniteStopsOrSkipsInFp32AndBf16) {
  for (DType type : {DType::f32, DType::bf16}) {
    for (const auto& [squares, loss] : {std::pair{inf, 1.0}, std::pair{1.0, std::nan("")}, std::pair{std::nan(""), 1.0}, std::pair{1.0, inf}}) {
      Attempts stops(training(type));
      stops.attempt(squares, loss);
      EXPECT_EQ(stops.state().status, static_cast<std::int32_t>(StepStatus::nonfinite));
      EXPECT_EQ(stops.state().skip, 1);
      TrainSpec train = training(type);
      train.skip_nonfinite = true;
      Attempts skips(train);
      skips.attempt(squares, loss);
      EXPECT_EQ(skips.state().status, static_cast<std::int32_t>(StepStatus::ok));
      EXPECT_EQ(skips.state().skip, 1);
      EXPECT_EQ(skips.state().applied, 0);
      skips.attempt(1);
      EXPECT_EQ(skips.state().skip, 0);
      EXPECT_EQ(skips.state().applied, 1);
    }
  }
}

// The closed forms of semantics.md, written out here by themselves.
TEST(LearningRate, Tables) {
  TrainSpec train = training(DType::f32);
  train.steps = 11;
  train.optimizer.rate = {ScheduleKind::constant, 2.0, 0.5, 0};
  for (int u = 0; u < 14; ++u) EXPECT_EQ(learning_rate(train, u), 2.0);
  train.optimizer.rate = {ScheduleKind::linear, 2.0, 0.5, 0};
  const double linear[] = {2.0, 1.85, 1.7, 1.55, 1.4, 1.25, 1.1, 0.95, 0.8, 0.65, 0.5, 0.5, 0.5};
  for (int u = 0; u < 13; ++u) EXPECT_NEAR(learning_rate(train, u), linear[u], 1e-12);
  train.optimizer.rate = {ScheduleKind::cosine, 2.0, 0.0, 2};  // u = 2 .. 10 is half a period in 8 steps
  const double cosine[] = {1.0, 2.0, 2.0, 1.9238795325112867, 1.7071067811865475, 1.3826834323650898, 1.0, 0.6173165676349102,
                           0.2928932188134524, 0.07612046748871326, 0.0, 0.0, 0.0};
  for (int u = 0; u < 13; ++u) EXPECT_NEAR(learning_rate(train, u), cosine[u], 1e-12);
  train.optimizer.rate = {ScheduleKind::linear, 4.0, 1.0, 4};
  const double warm[] = {1.0, 2.0, 3.0, 4.0, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0};
  for (int u = 0; u < 11; ++u) EXPECT_NEAR(learning_rate(train, u), warm[u], 1e-12);
  train.steps = 3;  // warm-up past the end: the length is at least 1
  EXPECT_EQ(learning_rate(train, 4), 4.0);
  EXPECT_EQ(learning_rate(train, 5), 1.0);
}

TEST(Update, RandomPieces) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    TrainSpec train = training(random.pick<DType>({DType::f32, DType::bf16, DType::f16}));
    const bool adamw = random.chance(0.6);
    train.optimizer.kind = adamw ? OptimizerKind::adamw : OptimizerKind::sgd;
    train.optimizer.weight_decay = random.pick<double>({0, 0.1});
    train.optimizer.momentum = random.pick<double>({0, 0.9});
    UpdateSpec spec;
    spec.elements = 1 + random.below(seed % 4 == 0 ? 80000 : 500);
    spec.decay = random.chance(0.7);
    spec.used_type = train.activation;
    Case c;
    c.spec = spec, c.target = reference_target(), c.train = &train;
    c.inputs = {Buffer(DType::f32, spec.elements), Buffer(DType::u8, sizeof(StateBlock))};
    c.inputs[0].fill(random);
    StateBlock state = initial_state(train);
    state.applied = 1 + random.below(50);
    state.learning_rate = 1e-2;
    state.factor = 0.25f;
    state.skip = seed % 10 == 9;
    std::memcpy(c.inputs[1].data(), &state, sizeof state);
    c.outputs = {Buffer(DType::f32, spec.elements), Buffer(DType::f32, spec.elements)};
    c.outputs[0].fill(random), c.outputs[1].fill(random, -0.1, 0.1);
    c.tolerance = {1e-6, 1e-6};
    if (adamw) {
      c.outputs.emplace_back(DType::f32, spec.elements);
      c.outputs.back().fill(random, 0, 0.1);
      c.tolerance.push_back(1e-6);
    }
    const Buffer before = c.outputs[0];
    if (spec.used_type != DType::f32) {
      c.outputs.emplace_back(spec.used_type, spec.elements);
      c.tolerance.push_back(spec.used_type == DType::bf16 ? 1.0 / 128 : 1.0 / 1024);
    }
    check(c, "seed " + std::to_string(seed));
    EXPECT_EQ(before.bytes == c.outputs[0].bytes, state.skip != 0) << "seed " << seed;
    if (spec.used_type != DType::f32 && state.skip == 0) {
      for (std::int64_t i = 0; i < spec.elements; ++i)  // the copy is the master itself, rounded once
        ASSERT_EQ(c.outputs.back().get(i), reference::rounded(spec.used_type, c.outputs[0].get(i)));
    }
    if (HasFailure()) return;
  }
}

TEST(SquareSum, PiecesAndColumns) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    SquareSumSpec spec;
    spec.pieces = 1 + random.below(4), spec.elements = 1 + random.below(seed % 3 == 0 ? 100000 : 300);
    spec.table_stride = 1 + random.below(5), spec.column = random.below(spec.table_stride);
    Case c;
    c.spec = spec, c.target = reference_target();
    c.inputs = {Buffer(DType::f32, spec.pieces * spec.elements)};
    c.inputs[0].fill(random);
    c.outputs = {Buffer(DType::f64, spec.pieces * spec.table_stride)};
    c.outputs[0].fill(random);  // other columns stay as they are
    c.tolerance = {1e-12};
    check(c, "seed " + std::to_string(seed));
  }
}

TEST(AddLoss, FirstSetsAndOthersAdd) {
  for (bool first : {true, false}) {
    Case c;
    c.spec = AddLossSpec{first};
    c.target = reference_target();
    c.inputs = {Buffer(DType::f32, 1)};
    c.inputs[0].set(0, 0.1);
    c.outputs = {Buffer(DType::f64, 1)};
    c.outputs[0].set(0, 5);
    check(c, "add_loss");
    EXPECT_EQ(c.outputs[0].get(0), (first ? 0.0 : 5.0) + static_cast<double>(0.1f));
  }
}

}  // namespace
}  // namespace dsc::test
