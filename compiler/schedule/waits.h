// Happens-before within one section: instructions of an engine run in order, and an instruction starts after those it
// waits for have ended. In: what each instruction must follow. Out: the fewest waits that say so.
#pragma once

#include <array>
#include <vector>

#include "compiler/partition/partition.h"

namespace dsc::local {

inline constexpr int kEngines = 3;

// What an instruction touches, each buffer once per access.
struct Access {
  BufferId buffer{0};
  bool write = false;
};
std::vector<Access> accesses_of(const Instruction& instruction);

// Fed with a section's instructions in order.
class WaitReducer {
 public:
  // `required`: by engine, the last index that must have ended before this instruction starts, -1 for none. Returns the
  // waits (ascending) that are not implied by the engine's order, earlier waits or each other.
  std::vector<int> add(Engine engine, const std::array<int, kEngines>& required);

 private:
  // Per instruction and engine: the last index known to have ended once the instruction has ended.
  std::vector<std::array<int, kEngines>> ended_;
  std::array<int, kEngines> last_ = {-1, -1, -1};
};

}  // namespace dsc::local
