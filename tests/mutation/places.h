// Where the mutators look: places in a plan by kind of instruction, buffer or section, and what lies there. Shared by the files
// mutate_*.cpp.
#pragma once

#include <functional>
#include <vector>

#include "tests/mutation/mutators.h"
#include "tests/mutation/plan_facts.h"

namespace dsc::testing {

using K = VerifyErrorKind;

inline Section& section_of(Plan& plan, const Place& at) { return plan.programs[at.program].sections[at.section]; }
inline const Section& section_of(const Plan& plan, const Place& at) { return plan.programs[at.program].sections[at.section]; }
inline Instruction& instruction_of(Plan& plan, const Place& at) { return section_of(plan, at).instructions[at.instruction]; }
inline const Instruction& instruction_of(const Plan& plan, const Place& at) { return section_of(plan, at).instructions[at.instruction]; }

template <class Spec>
const Spec* kernel_of(const Instruction& instruction) {
  const auto* kernel = std::get_if<KernelSpec>(&instruction.op);
  return kernel ? std::get_if<Spec>(kernel) : nullptr;
}
template <class Spec>
Spec* kernel_of(Instruction& instruction) {
  return const_cast<Spec*>(kernel_of<Spec>(static_cast<const Instruction&>(instruction)));
}
inline const CollectiveSpec* collective_of(const Instruction& instruction) { return std::get_if<CollectiveSpec>(&instruction.op); }
inline CollectiveSpec& collective_of(Plan& plan, const Place& at) { return std::get<CollectiveSpec>(instruction_of(plan, at).op); }
inline bool is_step(const Plan& plan, const Place& at) { return plan.programs[at.program].name == "step"; }
inline BufferRole role(const Plan& plan, const BufferUse& use) { return plan.buffer(use.buffer).role; }
inline bool is_gradient(BufferRole r) { return r == BufferRole::gradient || r == BufferRole::gradient_piece; }

// Every instruction for which f says how many places it has (k from 0).
inline std::vector<Place> everywhere(const Plan& plan, const std::function<int(const Instruction&)>& count) {
  std::vector<Place> places;
  for (int p = 0; p < static_cast<int>(plan.programs.size()); ++p)
    for (int s = 0; s < static_cast<int>(plan.programs[p].sections.size()); ++s) {
      const auto& list = plan.programs[p].sections[s].instructions;
      for (int i = 0; i < static_cast<int>(list.size()); ++i)
        for (int k = 0, n = count(list[i]); k < n; ++k) places.push_back({p, s, i, k, 0});
    }
  return places;
}
inline std::function<std::vector<Place>(const Plan&)> instructions(std::function<int(const Instruction&)> count) {
  return [count](const Plan& plan) { return everywhere(plan, count); };
}
template <class Spec>
std::function<std::vector<Place>(const Plan&)> kernels() {
  return instructions([](const Instruction& i) { return kernel_of<Spec>(i) ? 1 : 0; });
}
inline std::function<std::vector<Place>(const Plan&)> collectives() {
  return instructions([](const Instruction& i) { return collective_of(i) ? 1 : 0; });
}
inline std::function<std::vector<Place>(const Plan&)> parts() {
  return instructions([](const Instruction& i) { return collective_of(i) ? static_cast<int>(collective_of(i)->parts.size()) : 0; });
}
inline std::function<std::vector<Place>(const Plan&)> outputs() {
  return instructions([](const Instruction& i) { return static_cast<int>(i.outputs.size()); });
}
inline std::function<std::vector<Place>(const Plan&)> inputs() {
  return instructions([](const Instruction& i) { return static_cast<int>(i.inputs.size()); });
}
inline std::function<std::vector<Place>(const Plan&)> performed() {
  return instructions([](const Instruction& i) { return static_cast<int>(i.performs.size()); });
}
inline std::vector<Place> buffers(const Plan& plan) {
  std::vector<Place> places;
  for (int b = 0; b < static_cast<int>(plan.buffers.size()); ++b) places.push_back({0, 0, 0, b, 0});
  return places;
}
inline std::vector<Place> sections(const Plan& plan) {
  std::vector<Place> places;
  for (int p = 0; p < static_cast<int>(plan.programs.size()); ++p)
    for (int s = 0; s < static_cast<int>(plan.programs[p].sections.size()); ++s) places.push_back({p, s, 0, 0, 0});
  return places;
}
inline std::vector<Place> once(const Plan&) { return {Place{}}; }
inline bool always(const Plan&, const Place&) { return true; }

inline bool* accumulate_flag(Instruction& instruction, int output) {
  if (auto* map = kernel_of<MapSpec>(instruction)) return &map->outputs[output].accumulate;
  if (auto* product = kernel_of<ProductSpec>(instruction)) return &product->outputs[output].accumulate;
  if (auto* lookup = kernel_of<LookupBackwardSpec>(instruction)) return &lookup->accumulate;
  return nullptr;
}
inline bool accumulates(const Instruction& instruction, int output) {
  bool* flag = accumulate_flag(const_cast<Instruction&>(instruction), output);
  return flag && *flag;
}
inline bool can_accumulate(const Instruction& instruction, int output) { return accumulate_flag(const_cast<Instruction&>(instruction), output) != nullptr; }

// Places of two buffers (k, other) that are used in one program at one time: a few partners for each.
inline std::vector<Place> live_together(const Plan& plan) {
  std::vector<Place> places;
  for (int p = 0; p < static_cast<int>(plan.programs.size()); ++p) {
    std::vector<Span> span = spans(plan, plan.programs[p]);
    for (int b = 0; b < static_cast<int>(span.size()); ++b) {
      int found = 0;
      for (int d = 1; d < static_cast<int>(span.size()) && found < 2; ++d) {
        int c = (b + d) % static_cast<int>(span.size());
        if (span[b].first < 0 || span[c].first < 0 || span[b].first > span[c].last || span[c].first > span[b].last) continue;
        places.push_back({p, 0, 0, b, c});
        ++found;
      }
    }
  }
  return places;
}

// Whether what the buffer means differs, so that reading one for the other is wrong.
inline bool different(const Buffer& a, const Buffer& b) {
  return a.role != b.role || a.op != b.op || a.parameter != b.parameter || a.segment != b.segment;
}

inline std::vector<Place> adjacent(const Plan& plan) {
  std::vector<Place> places;
  for (Place at : everywhere(plan, [](const Instruction&) { return 1; }))
    if (at.instruction + 1 < static_cast<int>(section_of(plan, at).instructions.size())) places.push_back(at);
  return places;
}

inline void shift_waits_after_insert(Section& section, int index) {
  for (Instruction& instruction : section.instructions)
    for (int& wait : instruction.waits)
      if (wait >= index) ++wait;
}

}  // namespace dsc::testing
