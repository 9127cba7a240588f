#include <algorithm>
#include <numeric>

#include "compiler/memory/memory.h"

namespace dsc {

std::string print(const MemoryPlan& plan, const local::Scheduled& scheduled) {
  std::string text = "arena " + with_commas(plan.device_arena.value) + " B, packed " + with_commas(plan.packed.value) + " B, lower bound " +
                     with_commas(plan.lower_bound.value) + " B, persistent " + with_commas(plan.persistent.value) + " B\n";
  std::vector<std::size_t> order(scheduled.buffers.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return plan.offsets[a] < plan.offsets[b]; });
  for (std::size_t b : order) {
    const local::Buffer& buffer = scheduled.buffers[b];
    text += with_commas(plan.offsets[b].value) + " +" + with_commas(buffer.bytes().value) + " " + local::BufferId(b).str() + " " + buffer.name +
            (buffer.persistent ? " (persistent)\n" : "\n");
  }
  return text;
}

}  // namespace dsc
