// A plan's persistent buffers made by hand, with arenas: what TrainingState needs, for a small model under any data degree,
// ZeRO stage, precision and optimizer. No compiler stage takes part.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"
#include "runtime/arena/training_state.h"

namespace dsc {

struct HandLayout {
  std::int64_t ranks = 1;
  int zero = 0;
  DType activation = DType::f32;
};

// Two axes beside batch and seq (width 6, hidden 5), parameters w [width, hidden] normal, b [hidden] uniform, g [width]
// ones, z [width, width] zeros; one dot.
Contract small_contract();

class HandPlan {
 public:
  HandPlan(Contract contract, HandLayout layout);
  HandPlan(const HandPlan&) = delete;
  HandPlan& operator=(const HandPlan&) = delete;

  Contract& contract() { return plan_.contract; }
  TrainingState& state() { return *state_; }
  // Every slot of every parameter, flattened one after the other, in the order of slots and parameters.
  std::vector<float> everything() const;
  // Different numbers in every element of every slot, from `seed`.
  void scribble(std::uint64_t seed);
  // All bytes of all arenas, to show that something left them alone.
  const std::vector<std::vector<std::byte>>& bytes() const { return arenas_; }

 private:
  void add(BufferRole role, DType type, std::int64_t elements, std::optional<ParameterId> parameter);
  Plan plan_;
  std::vector<std::vector<std::byte>> arenas_;
  std::unique_ptr<TrainingState> state_;
};

}  // namespace dsc
