#include "kernels/step_rules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/ops.h"

namespace dsc {
namespace {

constexpr double largest_scale = 16777216;  // 2^24

// The loss scale after an attempt with or without overflow; false where it would have to fall below the minimum.
bool move_scale(StateBlock& state, const LossScale& scale, bool overflow) {
  state.next_loss_scale = state.loss_scale;
  if (!scale.dynamic) return true;
  if (overflow) {
    state.clean = 0;
    if (state.hysteresis > 1) {
      --state.hysteresis;
      return true;
    }
    if (state.loss_scale <= scale.min) return false;
    state.next_loss_scale = static_cast<float>(std::max(state.loss_scale / 2.0, scale.min));
    return true;
  }
  if (++state.clean < scale.window) return true;
  state.clean = 0;
  state.hysteresis = scale.hysteresis;
  if (state.loss_scale < largest_scale) state.next_loss_scale = static_cast<float>(std::min(state.loss_scale * 2.0, largest_scale));
  return true;
}

}  // namespace

double learning_rate(const TrainSpec& train, std::int64_t applied) {
  const LearningRate& rate = train.optimizer.rate;
  if (applied < rate.warmup) return rate.peak * static_cast<double>(applied + 1) / static_cast<double>(rate.warmup);
  const double length = static_cast<double>(std::max<std::int64_t>(1, train.steps - 1 - rate.warmup));
  const double x = std::min(1.0, static_cast<double>(applied - rate.warmup) / length);
  switch (rate.kind) {
    case ScheduleKind::constant: return rate.peak;
    case ScheduleKind::linear: return rate.peak + (rate.floor - rate.peak) * x;
    case ScheduleKind::cosine: return rate.floor + (rate.peak - rate.floor) * (1 + std::cos(std::numbers::pi * x)) / 2;
  }
  return rate.peak;
}

StateBlock initial_state(const TrainSpec& train) {
  StateBlock state;
  state.loss_scale = state.next_loss_scale = static_cast<float>(train.loss_scale.init);
  state.hysteresis = train.loss_scale.hysteresis;
  return state;
}

void begin_attempt(StateBlock& state, const TrainSpec& train) {
  state.loss_scale = state.next_loss_scale;
  state.learning_rate = learning_rate(train, state.applied);
  state.loss = 0;
  state.skip = 0;
  state.status = static_cast<std::int32_t>(StepStatus::ok);
}

void end_attempt(StateBlock& state, const TrainSpec& train, const ControlSpec& spec, const double* norm_table, const double* loss_table) {
  double squares = 0, loss = 0;
  for (std::int64_t i = 0; i < spec.pieces * spec.parameters; ++i) squares += norm_table[i];
  for (std::int64_t rank = 0; rank < spec.ranks; ++rank) loss += loss_table[rank];
  const double parts = static_cast<double>(spec.ranks) * static_cast<double>(spec.micro_batches);
  const double divisor = parts * static_cast<double>(state.loss_scale);
  state.loss = loss / parts;
  state.grad_norm = std::sqrt(squares) / divisor;
  const double clip = train.clip_norm ? std::min(1.0, *train.clip_norm / (state.grad_norm + 1e-6)) : 1.0;
  state.factor = static_cast<float>(clip / divisor);
  state.learning_rate = learning_rate(train, state.applied);
  state.skip = 0;
  state.status = static_cast<std::int32_t>(StepStatus::ok);
  const bool overflow = !std::isfinite(squares);
  if (train.activation == DType::f16) {
    state.skip = overflow ? 1 : 0;
    if (!move_scale(state, train.loss_scale, overflow)) state.status = static_cast<std::int32_t>(StepStatus::scale_at_minimum);
  } else {
    state.next_loss_scale = state.loss_scale;
    if (overflow || !std::isfinite(state.loss)) {
      state.skip = 1;
      if (!train.skip_nonfinite) state.status = static_cast<std::int32_t>(StepStatus::nonfinite);
    }
  }
  if (state.skip != 0) state.factor = 0;
  ++state.attempts;
  if (state.skip == 0) ++state.applied;
}

}  // namespace dsc
