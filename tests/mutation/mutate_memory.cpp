// Mutations of where buffers lie and how long.
#include "tests/mutation/places.h"

namespace dsc::testing {

std::vector<Mutator> memory_mutators() {
  std::vector<Mutator> list;
  list.push_back({"early release", "the buffer is moved onto another that is used at the same time", {K::overlapping_lifetimes}, live_together,
                  [](const Plan& plan, const Place& at) { return plan.buffers[at.k].bytes.value > 0 && plan.buffers[at.other].bytes.value > 0; },
                  [](Plan& plan, const Place& at) { plan.buffers[at.k].offset = plan.buffers[at.other].offset; }});
  list.push_back({"double release", "two buffers that are used at one time both get the bytes of a third", {K::overlapping_lifetimes}, live_together,
                  [](const Plan& plan, const Place& at) { return plan.buffers[at.k].bytes.value > 0 && plan.buffers[at.other].bytes.value > 0 && !plan.buffers[at.k].persistent; },
                  [](Plan& plan, const Place& at) {
                    std::size_t third = static_cast<std::size_t>(at.k + at.other) % plan.buffers.size();
                    plan.buffers[at.k].offset = plan.buffers[at.other].offset = plan.buffers[third].offset;
                  }});
  list.push_back({"shrunk buffer", "a use reaches its last byte", {K::use_outside_buffer}, buffers,
                  [](const Plan& plan, const Place& at) {
                    for (const Program& program : plan.programs)
                      for (const Section& section : program.sections)
                        for (const Instruction& instruction : section.instructions)
                          for (const Touch& touch : touches(plan, instruction))
                            if (touch.buffer == BufferId(at.k) && touch.end == plan.buffers[at.k].offset.value + plan.buffers[at.k].bytes.value) return true;
                    return false;
                  },
                  [](Plan& plan, const Place& at) {
                    Buffer& buffer = plan.buffers[at.k];
                    buffer.elements -= 1;
                    buffer.bytes -= Bytes(size_of(buffer.type));
                  }});
  list.push_back({"shrunk operand", "the kernel covers all of its operand's use", {K::operand_size, K::wrong_piece, K::wrong_scale, K::control}, outputs(),
                  [](const Plan& plan, const Place& at) {
                    const Instruction& instruction = instruction_of(plan, at);
                    const Buffer& buffer = plan.buffer(instruction.outputs[at.k].buffer);
                    return (buffer.role == BufferRole::value || buffer.role == BufferRole::value_gradient) && instruction.outputs[at.k].bytes == buffer.bytes && !instruction.performs.empty();
                  },
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).outputs[at.k].bytes -= Bytes(1); }});
  list.push_back({"shrunk arena", "a page less than the buffers need", {K::buffer_outside_arena, K::memory_summary}, once, always,
                  [](Plan& plan, const Place&) { plan.memory.device_arena -= plan.target.page; }});
  list.push_back({"wrong lower bound", "the stated bound is not the greatest live sum", {K::memory_summary}, once, always,
                  [](Plan& plan, const Place&) { plan.memory.lower_bound += Bytes(64); }});
  list.push_back({"wrong persistent bytes", "the stated sum is not that of parameters and optimizer state", {K::memory_summary}, once, always,
                  [](Plan& plan, const Place&) { plan.memory.persistent += Bytes(4); }});
  list.push_back({"wrong class of a buffer", "what it counts as follows from its role", {K::buffer_class}, buffers, always,
                  [](Plan& plan, const Place& at) { BufferClass& cls = plan.buffers[at.k].cls; cls = cls == BufferClass::workspace ? BufferClass::gradients : BufferClass::workspace; }});
  list.push_back({"misaligned buffer", "the offset is no multiple of the target's alignment", {K::buffer_alignment}, buffers, always,
                  [](Plan& plan, const Place& at) { plan.buffers[at.k].offset += Bytes(4); }});
  list.push_back({"shrunk workspace", "a byte less than the kernel carves up", {K::workspace_size}, instructions([](const Instruction& i) { return i.workspace ? 1 : 0; }), always,
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).workspace->bytes -= Bytes(1); }});
  list.push_back({"dropped workspace", "the kernel needs one", {K::workspace_size}, instructions([](const Instruction& i) { return i.workspace ? 1 : 0; }), always,
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).workspace.reset(); }});
  list.push_back({"state that does not persist", "a parameter or moment crosses steps", {K::buffer_size}, buffers,
                  [](const Plan& plan, const Place& at) { return plan.buffers[at.k].persistent; },
                  [](Plan& plan, const Place& at) { plan.buffers[at.k].persistent = false; }});
  return list;
}

}  // namespace dsc::testing
