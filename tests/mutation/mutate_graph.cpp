// Mutations of what is computed: instructions dropped, doubled, exchanged, misread.
#include <algorithm>

#include "tests/mutation/places.h"

namespace dsc::testing {

std::vector<Mutator> graph_mutators() {
  std::vector<Mutator> list;
  const std::vector<K> kAny = {K::read_before_write, K::not_performed, K::missing_input, K::wrong_micro_batch, K::accumulation, K::unfinished_gradient, K::missing_update, K::norm_table, K::loss_table,
                               K::control, K::wrong_reduction_time, K::wrong_value, K::read_batch, K::stale_parameter, K::unreduced_gradient, K::collective_deadlock};
  list.push_back({"dropped instruction", "every kernel of a valid plan is needed", kAny, instructions([](const Instruction& i) { return collective_of(i) ? 0 : 1; }), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  std::vector<K> order = kAny;
  order.insert(order.end(), {K::performed_wrongly, K::race, K::wrong_update});
  list.push_back({"swapped instructions", "the second, on the same engine, reads what the first writes", order, adjacent,
                  [](const Plan& plan, const Place& at) {
                    const auto& list = section_of(plan, at).instructions;
                    const Instruction &a = list[at.instruction], &b = list[at.instruction + 1];
                    if (a.engine != b.engine || kernel_of<AddLossSpec>(b)) return false;
                    for (const Touch& x : touches(plan, a))
                      for (const Touch& y : touches(plan, b))
                        if (x.write && !y.write && x.buffer == y.buffer && !plan.buffer(x.buffer).persistent && plan.buffer(x.buffer).role != BufferRole::workspace &&
                            !(is_gradient(plan.buffer(x.buffer).role) && a.inputs.empty()) && !is_gradient(plan.buffer(x.buffer).role)) return true;
                    return false;
                  },
                  [](Plan& plan, const Place& at) { auto& list = section_of(plan, at).instructions; std::swap(list[at.instruction], list[at.instruction + 1]); }});
  list.push_back({"performed entry removed", "each part of the model's graph is to be performed", {K::not_performed, K::performed_wrongly, K::missing_input, K::wrong_value, K::unfinished_gradient}, performed(),
                  [](const Plan& plan, const Place& at) { return instruction_of(plan, at).performs[at.k].pass != Pass::recompute; },
                  [](Plan& plan, const Place& at) { auto& list = instruction_of(plan, at).performs; list.erase(list.begin() + at.k); }});
  list.push_back({"performed entry duplicated", "each part is to be performed once", {K::performed_twice, K::unfinished_gradient}, performed(),
                  [](const Plan& plan, const Place& at) { return instruction_of(plan, at).performs[at.k].pass != Pass::recompute; },
                  [](Plan& plan, const Place& at) { auto& list = instruction_of(plan, at).performs; list.insert(list.begin() + at.k, list[at.k]); }});
  list.push_back({"another operation performed", "the entry names the operation before it", {K::performed_twice, K::performed_wrongly, K::not_performed, K::missing_input, K::wrong_value, K::unfinished_gradient}, performed(),
                  [](const Plan& plan, const Place& at) { return instruction_of(plan, at).performs[at.k].pass != Pass::recompute && instruction_of(plan, at).performs[at.k].op.index() > 0; },
                  [](Plan& plan, const Place& at) { OpId& op = instruction_of(plan, at).performs[at.k].op; op = OpId(op.index() - 1); }});
  list.push_back({"recomputation for the first computation", "a recomputation does not count", {K::not_performed, K::performed_wrongly}, performed(),
                  [](const Plan& plan, const Place& at) { return instruction_of(plan, at).performs[at.k].pass == Pass::forward; },
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).performs[at.k].pass = Pass::recompute; }});
  auto other_buffer = [](const Plan& plan, const Place& at) -> std::optional<BufferId> {
    const Instruction& instruction = instruction_of(plan, at);
    const BufferUse& use = instruction.inputs[at.k];
    const Buffer& own = plan.buffer(use.buffer);
    // Not read by this instruction otherwise, and written before in this section.
    for (int i = at.instruction - 1; i >= 0; --i)
      for (const BufferUse& output : section_of(plan, at).instructions[i].outputs) {
        const Buffer& b = plan.buffer(output.buffer);
        bool read = std::any_of(instruction.inputs.begin(), instruction.inputs.end(), [&](const BufferUse& u) { return u.buffer == output.buffer; });
        if (!read && b.type == own.type && b.bytes >= own.bytes && b.role != BufferRole::workspace && !b.persistent && different(own, b)) return output.buffer;
      }
    return std::nullopt;
  };
  list.push_back({"wrong buffer read", "it holds something else, and what was read is read once", {K::missing_input, K::wrong_value, K::unfinished_gradient, K::accumulation, K::wrong_update, K::wrong_micro_batch, K::unreduced_gradient, K::wrong_reduction_time, K::wrong_piece, K::norm_table, K::loss_table},
                  inputs(),
                  [other_buffer](const Plan& plan, const Place& at) {
                    const Instruction& instruction = instruction_of(plan, at);
                    const BufferUse& use = instruction.inputs[at.k];
                    if (std::count_if(instruction.inputs.begin(), instruction.inputs.end(), [&](const BufferUse& u) { return u.buffer == use.buffer; }) != 1) return false;
                    return role(plan, use) != BufferRole::state && other_buffer(plan, at).has_value();
                  },
                  [other_buffer](Plan& plan, const Place& at) { instruction_of(plan, at).inputs[at.k].buffer = *other_buffer(plan, at); }});
  list.push_back({"wrong buffer written", "the buffer is that of another value", {K::wrong_value, K::read_before_write, K::overlapping_lifetimes, K::missing_input}, outputs(),
                  [](const Plan& plan, const Place& at) {
                    const Instruction& instruction = instruction_of(plan, at);
                    const Buffer& own = plan.buffer(instruction.outputs[at.k].buffer);
                    return own.role == BufferRole::value && at.instruction > 0 && !instruction.performs.empty() &&
                           std::any_of(plan.buffers.begin(), plan.buffers.end(), [&](const Buffer& b) { return b.role == own.role && b.type == own.type && b.elements == own.elements && b.op != own.op; });
                  },
                  [](Plan& plan, const Place& at) {
                    BufferUse& use = instruction_of(plan, at).outputs[at.k];
                    const Buffer own = plan.buffer(use.buffer);
                    for (std::size_t b = 0; b < plan.buffers.size(); ++b)
                      if (plan.buffers[b].role == own.role && plan.buffers[b].type == own.type && plan.buffers[b].elements == own.elements && plan.buffers[b].op != own.op) { use.buffer = BufferId(b); return; }
                  }});
  list.push_back({"wrong type of a buffer", "the kernel's operand has another", {K::operand_type, K::collective_type, K::wrong_precision}, buffers,
                  [](const Plan& plan, const Place& at) {
                    const Buffer& b = plan.buffers[at.k];
                    if (b.role == BufferRole::workspace || b.role == BufferRole::state || (b.type != DType::f32 && b.type != DType::bf16)) return false;
                    for (const Program& program : plan.programs)
                      for (const Section& section : program.sections)
                        for (const Instruction& i : section.instructions)
                          for (const Touch& touch : touches(plan, i))
                            if (touch.buffer == BufferId(at.k)) return true;
                    return false;
                  },
                  [](Plan& plan, const Place& at) { DType& type = plan.buffers[at.k].type; type = type == DType::f32 ? DType::i32 : DType::f16; }});
  list.push_back({"wrong engine", "each kind of instruction has its own", {K::wrong_engine}, instructions([](const Instruction&) { return 1; }), always,
                  [](Plan& plan, const Place& at) { Engine& e = instruction_of(plan, at).engine; e = e == Engine::compute ? Engine::communication : Engine::compute; }});
  list.push_back({"an operand too few", "the kernel has that many", {K::operand_count}, instructions([](const Instruction& i) { return i.inputs.empty() ? 0 : 1; }), always,
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).inputs.pop_back(); }});
  list.push_back({"shorter contraction", "the product sums fewer terms than the model says", {K::performed_wrongly}, kernels<ProductSpec>(),
                  [](const Plan& plan, const Place& at) { return kernel_of<ProductSpec>(instruction_of(plan, at))->k > 1 && is_step(plan, at); },
                  [](Plan& plan, const Place& at) { --kernel_of<ProductSpec>(instruction_of(plan, at))->k; }});
  return list;
}

}  // namespace dsc::testing
