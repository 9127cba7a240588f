// The rules of a step as plain arithmetic on the state block (semantics.md, Optimizer and schedule): what begin_step and
// control do on every back-end.
#pragma once

#include <cstdint>

#include "compiler/support/kernel_spec.h"
#include "compiler/support/state_block.h"
#include "compiler/support/training.h"

namespace dsc {

// An attempt begins: its loss scale and learning rate, nothing skipped yet.
void begin_attempt(StateBlock& state, const TrainSpec& train);

// An attempt's gradients and loss are known. norm_table: [pieces, parameters] sums of squares; loss_table: one sum a rank.
// Sets loss, grad_norm, skip, status, factor and the next loss scale, and counts the attempt: `applied` is then the number
// of updates including this one, the t of the bias corrections.
void end_attempt(StateBlock& state, const TrainSpec& train, const ControlSpec& spec, const double* norm_table, const double* loss_table);

}  // namespace dsc
