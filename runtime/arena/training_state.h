// The training state of all ranks of this process, by logical parameter and piece, whatever the layout holds where.
// In: a plan and the mapped arenas. Out: f32 masters and moments, read and written piece by piece; writing keeps every
// replica and every 16-bit copy on all ranks in step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/state_block.h"

namespace dsc {

enum class StateSlot : std::uint8_t { master, moment1, moment2 };

class TrainingState {
 public:
  // arenas[rank] is the base of that rank's arena; they outlive this object.
  TrainingState(const Plan& plan, std::vector<std::byte*> arenas);

  // Slots that the plan's optimizer keeps (sgd has no moment2; a sample plan has the parameters alone).
  bool has(StateSlot slot) const;
  // The logical elements of piece d: [begin, end) of the flattened parameter, padding excluded (may be empty).
  std::int64_t piece_begin(ParameterId parameter, std::int64_t piece) const;
  std::int64_t piece_end(ParameterId parameter, std::int64_t piece) const;
  // Where the owner of piece d holds it, in f32. (A sample plan in 16 bits has no f32 master: only `set` is legal then.)
  std::span<const float> get(ParameterId parameter, StateSlot slot, std::int64_t piece) const;
  // Elements [begin, begin + values.size()) of the flattened parameter, on every rank that holds any of them, with copies.
  void set(ParameterId parameter, StateSlot slot, std::int64_t begin, std::span<const float> values);
  // Every rank's state block; equal on all of them.
  const StateBlock& block() const;
  void set_block(const StateBlock& block);

 private:
  const Plan& plan_;
  std::vector<std::byte*> arenas_;
  // By parameter: the buffers that hold it, -1 where the plan has none.
  struct Places { int whole_used = -1, piece_used = -1, whole_master = -1, piece_master = -1, moment1 = -1, moment2 = -1;
                  bool moments_whole = false; };
  std::vector<Places> places_;
  int state_ = -1;
};

}  // namespace dsc
