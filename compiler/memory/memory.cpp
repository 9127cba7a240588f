#include "compiler/memory/memory.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "compiler/memory/packing.h"
#include "compiler/schedule/waits.h"
#include "compiler/support/check.h"

namespace dsc {
namespace {

using local::Access;
using local::BufferClass;
using local::kEngines;
using local::ScheduledProgram;
using local::ScheduledSection;

// Where a buffer is first and last touched, as positions in its program's order.
struct Lifetime {
  int program = -1;
  int first = 0, last = 0;
  int group = -1;  // the one section that touches it, -1 for several
};

std::vector<Lifetime> lifetimes_of(const local::Scheduled& scheduled) {
  std::vector<Lifetime> lifetimes(scheduled.buffers.size());
  for (std::size_t p = 0; p < scheduled.programs.size(); ++p) {
    const ScheduledProgram& program = scheduled.programs[p];
    int position = 0;
    std::vector<bool> written(scheduled.buffers.size(), false);
    for (std::size_t s = 0; s < program.sections.size(); ++s) {
      for (const local::ScheduledInstruction& instruction : program.sections[s].instructions) {
        for (const Access& access : local::accesses_of(instruction.instruction)) {
          const std::size_t b = access.buffer.index();
          if (scheduled.buffers[b].persistent) continue;
          Lifetime& life = lifetimes[b];
          DSC_CHECK(life.program < 0 || life.program == static_cast<int>(p), "two programs share " + scheduled.buffers[b].name);
          if (life.program < 0) {
            // What is read before any instruction writes it (the tokens of sample) is there from the start.
            life = {static_cast<int>(p), access.write ? position : 0, position, static_cast<int>(s)};
          }
          if (life.group != static_cast<int>(s)) life.group = -1;
          life.last = position;
        }
        ++position;
      }
    }
    for (std::size_t b = 0; b < lifetimes.size(); ++b) {
      if (scheduled.buffers[b].result && lifetimes[b].program == static_cast<int>(p)) lifetimes[b].last = position - 1;
    }
  }
  return lifetimes;
}

// The waits of one section: the schedule's, and for a buffer that takes the bytes of earlier ones, all that touched those.
std::vector<std::vector<int>> waits_of(const ScheduledSection& section, const local::Scheduled& scheduled, const std::vector<Bytes>& offsets) {
  // Bytes as intervals, each owned by the buffer that was last there.
  struct Owner {
    std::int64_t end;
    std::size_t buffer;
  };
  std::map<std::int64_t, Owner> bytes;
  std::map<std::size_t, std::array<int, kEngines>> touched;
  local::WaitReducer reducer;
  std::vector<std::vector<int>> waits;

  const auto take = [&](std::size_t buffer, std::array<int, kEngines>& required) {
    const std::int64_t begin = offsets[buffer].value, end = begin + scheduled.buffers[buffer].bytes().value;
    if (begin == end) return;
    auto at = bytes.upper_bound(begin);
    if (at != bytes.begin()) --at;
    while (at != bytes.end() && at->first < end) {
      const std::int64_t from = at->first;
      const Owner owner = at->second;
      if (owner.end <= begin) {
        ++at;
        continue;
      }
      const std::array<int, kEngines>& last = touched[owner.buffer];
      for (int e = 0; e < kEngines; ++e) required[e] = std::max(required[e], last[e]);
      at = bytes.erase(at);
      if (from < begin) bytes[from] = {begin, owner.buffer};
      if (owner.end > end) at = bytes.insert({end, owner}).first;
    }
    bytes[begin] = {end, buffer};
  };

  for (std::size_t i = 0; i < section.instructions.size(); ++i) {
    const local::ScheduledInstruction& scheduled_instruction = section.instructions[i];
    const std::vector<Access> accesses = local::accesses_of(scheduled_instruction.instruction);
    std::array<int, kEngines> required = {-1, -1, -1};
    for (int wait : scheduled_instruction.waits) {
      int& engine = required[static_cast<int>(section.instructions[static_cast<std::size_t>(wait)].instruction.engine)];
      engine = std::max(engine, wait);
    }
    for (const Access& access : accesses) {
      const std::size_t b = access.buffer.index();
      if (scheduled.buffers[b].persistent || touched.count(b)) continue;
      take(b, required);
      touched[b] = {-1, -1, -1};
    }
    const int engine = static_cast<int>(scheduled_instruction.instruction.engine);
    for (const Access& access : accesses) {
      if (!scheduled.buffers[access.buffer.index()].persistent) touched[access.buffer.index()][engine] = static_cast<int>(i);
    }
    waits.push_back(reducer.add(scheduled_instruction.instruction.engine, required));
  }
  return waits;
}

}  // namespace

MemoryPlan plan_memory(const local::Scheduled& scheduled, const Target& target) {
  MemoryPlan plan;
  plan.offsets.assign(scheduled.buffers.size(), Bytes(0));
  Bytes base(0);
  for (std::size_t b = 0; b < scheduled.buffers.size(); ++b) {
    const local::Buffer& buffer = scheduled.buffers[b];
    if (!buffer.persistent) continue;
    plan.offsets[b] = base;
    base += align_up(buffer.bytes(), target.alignment);
    if (buffer.cls == BufferClass::parameters || buffer.cls == BufferClass::optimizer) plan.persistent += buffer.bytes();
  }

  const std::vector<Lifetime> lifetimes = lifetimes_of(scheduled);
  std::vector<std::vector<PackItem>> items(scheduled.programs.size());
  std::vector<std::vector<std::size_t>> buffers(scheduled.programs.size());
  for (std::size_t b = 0; b < scheduled.buffers.size(); ++b) {
    const Lifetime& life = lifetimes[b];
    if (life.program < 0) continue;
    items[static_cast<std::size_t>(life.program)].push_back(
        {align_up(scheduled.buffers[b].bytes(), target.alignment).value, life.first, life.last, life.group});
    buffers[static_cast<std::size_t>(life.program)].push_back(b);
  }
  std::int64_t bound = 0, height = 0;
  for (const std::vector<PackItem>& of_program : items) bound = std::max(bound, live_bound(of_program));
  for (std::size_t p = 0; p < items.size(); ++p) {
    const Packing packing = pack(items[p], bound);
    height = std::max(height, packing.height);
    for (std::size_t i = 0; i < items[p].size(); ++i) plan.offsets[buffers[p][i]] = base + Bytes(packing.offsets[i]);
  }
  plan.lower_bound = base + Bytes(bound);
  plan.packed = base + Bytes(height);
  plan.device_arena = align_up(plan.packed, target.page);

  for (const ScheduledProgram& program : scheduled.programs) {
    std::vector<std::vector<std::vector<int>>>& of_program = plan.waits.emplace_back();
    for (const ScheduledSection& section : program.sections) of_program.push_back(waits_of(section, scheduled, plan.offsets));
  }
  return plan;
}

}  // namespace dsc
