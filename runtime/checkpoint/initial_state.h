// The training state before the first step: weights from the initialisers, keyed by seed, path and logical element
// alone; moments zero; the state block with the first loss scale.
#pragma once

#include <cstdint>
#include <span>

#include "compiler/plan/contract.h"
#include "compiler/support/state_block.h"
#include "runtime/arena/training_state.h"

namespace dsc {

// Elements [begin, begin + out.size()) of the flattened parameter as its initialiser makes them.
void initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t begin, std::span<float> out);
StateBlock initial_block(const TrainSpec& train);
// All of it, into every rank. `init = pretrained(...)` then overwrites the weights (exchange/pretrained.h).
void initialise(const Contract& contract, TrainingState& state);

}  // namespace dsc
