// The step state that lives in the arena, is read and written by instructions, and is in every checkpoint
// (semantics.md, Optimizer and schedule). Plain bytes; one cache-line aligned block a rank, equal on all ranks.
#pragma once

#include <cstdint>
#include <type_traits>

namespace dsc {

struct StateBlock {
  std::int64_t attempts = 0;    // steps attempted so far
  std::int64_t applied = 0;     // updates applied so far
  std::int64_t clean = 0;       // steps in a row without overflow
  std::int64_t hysteresis = 0;  // overflows still tolerated before the scale falls
  double loss = 0;              // mean loss of the whole batch, this attempt
  double grad_norm = 0;         // after averaging and unscaling, before clipping
  double learning_rate = 0;     // of this attempt
  float loss_scale = 1;         // of this attempt's backward pass
  float factor = 0;             // clip factor / (D * M * loss_scale): the one multiplier of gradients
  std::int32_t skip = 0;        // 1: this attempt's update is skipped
  std::int32_t status = 0;      // StepStatus
  float next_loss_scale = 1;    // becomes loss_scale when the next attempt begins
  std::int32_t padding = 0;
};
static_assert(std::is_trivially_copyable_v<StateBlock>);

enum class StepStatus : std::int32_t { ok = 0, nonfinite = 1, scale_at_minimum = 2 };

}  // namespace dsc
