// A schedule and its addresses in, the plan's buffers, programs and memory summary out. The driver puts them beside the
// contract, target and sources. Only a change of form: every decision was made before.
#pragma once

#include <vector>

#include "compiler/memory/memory.h"
#include "compiler/plan/plan.h"
#include "compiler/schedule/schedule.h"

namespace dsc {

struct Emitted {
  std::vector<Buffer> buffers;
  std::vector<Program> programs;
  MemorySummary memory;
};

Emitted emit(const local::Scheduled& scheduled, const MemoryPlan& memory);

}  // namespace dsc
