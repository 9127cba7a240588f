// A schedule in, an address for every buffer out, and the waits that reuse of bytes adds. Persistent buffers have one
// address in all programs; the programs share the bytes above. No two buffers that are live at one place of a program's
// order share a byte; `check_memory`, which shares nothing with the planner, says so.
#pragma once

#include <string>
#include <vector>

#include "compiler/schedule/schedule.h"
#include "compiler/support/target.h"
#include "compiler/support/units.h"

namespace dsc {

struct MemoryPlan {
  std::vector<Bytes> offsets;  // by local::BufferId
  // [program][section][instruction]: the schedule's waits and those for reused bytes, none implied by the others.
  std::vector<std::vector<std::vector<std::vector<int>>>> waits;
  Bytes packed{0};       // the highest byte in use
  Bytes lower_bound{0};  // the greatest live sum over all programs, sizes aligned
  Bytes persistent{0};   // parameters and optimizer state, padding to pieces included, alignment not
  Bytes device_arena{0}; // packed, in whole pages
};

MemoryPlan plan_memory(const local::Scheduled& scheduled, const Target& target);

// Addresses, overlaps and reuse without an order between engines: the first violation, or "". Naive on purpose.
std::string check_memory(const local::Scheduled& scheduled, const MemoryPlan& plan, const Target& target);

// For `--emit memory`: the summary, then one line a buffer by address.
std::string print(const MemoryPlan& plan, const local::Scheduled& scheduled);

}  // namespace dsc
