// Mutations of how gradients are accumulated and addressed.
#include "tests/mutation/places.h"

namespace dsc::testing {

std::vector<Mutator> gradient_mutators() {
  std::vector<Mutator> list;
  list.push_back({"accumulator not zeroed", "the first write of a gradient adds to what the last step left", {K::accumulation, K::read_before_write}, outputs(),
                  [](const Plan& plan, const Place& at) {
                    const Instruction& instruction = instruction_of(plan, at);
                    return is_gradient(role(plan, instruction.outputs[at.k])) && !instruction.performs.empty() && can_accumulate(instruction, at.k) && !accumulates(instruction, at.k);
                  },
                  [](Plan& plan, const Place& at) { *accumulate_flag(instruction_of(plan, at), at.k) = true; }});
  list.push_back({"accumulation dropped", "what was summed before is overwritten", {K::accumulation, K::unfinished_gradient, K::wrong_reduction_time, K::wrong_value, K::unreduced_gradient}, outputs(),
                  [](const Plan& plan, const Place& at) { return accumulates(instruction_of(plan, at), at.k); },
                  [](Plan& plan, const Place& at) { *accumulate_flag(instruction_of(plan, at), at.k) = false; }});
  list.push_back({"missing addition of gradients", "a copy or sum of gradients that the step needs is left out", {K::unfinished_gradient, K::accumulation, K::wrong_reduction_time, K::read_before_write, K::missing_input, K::wrong_value, K::bad_section},
                  kernels<MapSpec>(),
                  [](const Plan& plan, const Place& at) {
                    const Instruction& instruction = instruction_of(plan, at);
                    return instruction.performs.empty() && !instruction.inputs.empty() && is_gradient(role(plan, instruction.outputs[0]));
                  },
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"wrong segment", "the buffer claims the uses of a segment that has none", {K::wrong_value, K::unfinished_gradient, K::accumulation}, outputs(),
                  [](const Plan& plan, const Place& at) {
                    const Instruction& instruction = instruction_of(plan, at);
                    return role(plan, instruction.outputs[at.k]) == BufferRole::gradient && !instruction.performs.empty();
                  },
                  [](Plan& plan, const Place& at) { plan.buffers[instruction_of(plan, at).outputs[at.k].buffer.index()].segment += 1000; }});
  list.push_back({"gap between pieces", "ranks' pieces stand further apart than they are long", {K::use_outside_buffer, K::wrong_piece, K::collective_shape, K::loss_table},
                  [](const Plan& plan) {
                    std::vector<Place> places = everywhere(plan, [](const Instruction& i) { return static_cast<int>(i.inputs.size() + i.outputs.size()); });
                    for (Place part : parts()(plan)) places.push_back({part.program, part.section, part.instruction, part.k, 1});
                    return places;
                  },
                  [](const Plan& plan, const Place& at) {
                    const Instruction& i = instruction_of(plan, at);
                    if (at.other) return collective_of(i)->parts[at.k].from.rank_stride.value > 0;
                    std::size_t k = static_cast<std::size_t>(at.k);
                    return (k < i.inputs.size() ? i.inputs[k] : i.outputs[k - i.inputs.size()]).rank_stride.value > 0;
                  },
                  [](Plan& plan, const Place& at) {
                    Instruction& i = instruction_of(plan, at);
                    std::size_t k = static_cast<std::size_t>(at.k);
                    BufferUse& use = at.other ? collective_of(plan, at).parts[k].from : k < i.inputs.size() ? i.inputs[k] : i.outputs[k - i.inputs.size()];
                    use.rank_stride += Bytes(4);
                  }});
  list.push_back({"overlap of pieces", "ranks' pieces stand closer than they are long", {K::wrong_piece, K::collective_shape, K::loss_table},
                  list.back().candidates, list.back().applies,
                  [](Plan& plan, const Place& at) {
                    Instruction& i = instruction_of(plan, at);
                    std::size_t k = static_cast<std::size_t>(at.k);
                    BufferUse& use = at.other ? collective_of(plan, at).parts[k].from : k < i.inputs.size() ? i.inputs[k] : i.outputs[k - i.inputs.size()];
                    use.rank_stride -= Bytes(4);
                  }});
  list.push_back({"every rank the same piece", "each rank is to have its own", {K::wrong_piece, K::collective_shape, K::loss_table},
                  list.back().candidates, list.back().applies,
                  [](Plan& plan, const Place& at) {
                    Instruction& i = instruction_of(plan, at);
                    std::size_t k = static_cast<std::size_t>(at.k);
                    BufferUse& use = at.other ? collective_of(plan, at).parts[k].from : k < i.inputs.size() ? i.inputs[k] : i.outputs[k - i.inputs.size()];
                    use.rank_stride = Bytes(0);
                  }});
  return list;
}

}  // namespace dsc::testing
