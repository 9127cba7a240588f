// The naive checker: every pair of buffers, every pair of instructions, no cleverness shared with the planner.
#include <algorithm>

#include "compiler/memory/memory.h"

namespace dsc {
namespace {

struct Touch {
  int program, section, instruction, position, engine;
  bool write;
};

std::vector<std::vector<Touch>> touches_of(const local::Scheduled& scheduled) {
  std::vector<std::vector<Touch>> touches(scheduled.buffers.size());
  for (std::size_t p = 0; p < scheduled.programs.size(); ++p) {
    int position = 0;
    for (std::size_t s = 0; s < scheduled.programs[p].sections.size(); ++s) {
      const auto& instructions = scheduled.programs[p].sections[s].instructions;
      for (std::size_t i = 0; i < instructions.size(); ++i, ++position) {
        const local::Instruction& instruction = instructions[i].instruction;
        const auto touch = [&](const local::Use& use, bool write) {
          touches[use.buffer.index()].push_back({static_cast<int>(p), static_cast<int>(s), static_cast<int>(i), position,
                                                 static_cast<int>(instruction.engine), write});
        };
        for (const local::Use& use : instruction.inputs) touch(use, false);
        for (const local::Use& use : instruction.outputs) touch(use, true);
        if (instruction.workspace) touch(*instruction.workspace, true);
        if (const auto* collective = std::get_if<local::Collective>(&instruction.op)) {
          for (const local::CollectivePart& part : collective->parts) touch(part.from, false), touch(part.to, true);
        }
      }
    }
  }
  return touches;
}

using Matrix = std::vector<std::vector<bool>>;

// before[i][j]: instruction j has ended when i starts.
Matrix happens_before(const local::ScheduledSection& section, const std::vector<std::vector<int>>& waits) {
  const std::size_t n = section.instructions.size();
  Matrix before(n, std::vector<bool>(n, false));
  for (std::size_t i = 0; i < n; ++i) {
    std::vector<int> direct = waits[i];
    for (std::size_t j = i; j-- > 0;) {
      if (section.instructions[j].instruction.engine != section.instructions[i].instruction.engine) continue;
      direct.push_back(static_cast<int>(j));
      break;
    }
    for (int j : direct) {
      before[i][static_cast<std::size_t>(j)] = true;
      for (std::size_t k = 0; k < n; ++k) {
        if (before[static_cast<std::size_t>(j)][k]) before[i][k] = true;
      }
    }
  }
  return before;
}

}  // namespace

std::string check_memory(const local::Scheduled& scheduled, const MemoryPlan& plan, const Target& target) {
  const std::vector<std::vector<Touch>> touches = touches_of(scheduled);
  std::vector<std::vector<Matrix>> before(scheduled.programs.size());
  for (std::size_t p = 0; p < scheduled.programs.size(); ++p) {
    for (std::size_t s = 0; s < scheduled.programs[p].sections.size(); ++s) {
      before[p].push_back(happens_before(scheduled.programs[p].sections[s], plan.waits[p][s]));
    }
  }
  const std::size_t n = scheduled.buffers.size();
  for (std::size_t a = 0; a < n; ++a) {
    const local::Buffer& first = scheduled.buffers[a];
    const std::int64_t begin = plan.offsets[a].value, end = begin + first.bytes().value;
    if (begin % target.alignment.value != 0) return first.name + " is not aligned";
    if (begin < 0 || end > plan.packed.value) return first.name + " lies outside the arena";
    // Conflicting uses of one buffer on two engines.
    for (const Touch& x : touches[a]) {
      for (const Touch& y : touches[a]) {
        if (x.program != y.program || x.section != y.section || x.instruction >= y.instruction || x.engine == y.engine) continue;
        if (!x.write && !y.write) continue;
        if (!before[x.program][x.section][y.instruction][x.instruction]) return "a race on " + first.name;
      }
    }
    for (std::size_t b = a + 1; b < n; ++b) {
      const local::Buffer& second = scheduled.buffers[b];
      const std::int64_t other = plan.offsets[b].value;
      if (other >= end || other + second.bytes().value <= begin) continue;
      if (first.persistent || second.persistent) return first.name + " shares bytes with " + second.name;
      if (touches[a].empty() || touches[b].empty() || touches[a][0].program != touches[b][0].program) continue;
      const bool a_first = touches[a].front().position < touches[b].front().position;
      const std::vector<Touch>&early = a_first ? touches[a] : touches[b], &late = a_first ? touches[b] : touches[a];
      if ((a_first ? first : second).result || early.back().position >= late.front().position || !late.front().write) {
        return first.name + " and " + second.name + " are live together and share bytes";
      }
      for (const Touch& x : early) {
        for (const Touch& y : late) {
          if (x.section != y.section || x.engine == y.engine) continue;
          if (!before[x.program][x.section][y.instruction][x.instruction]) return second.name + " takes the bytes of " + first.name + " too early";
        }
      }
    }
  }
  return "";
}

}  // namespace dsc
