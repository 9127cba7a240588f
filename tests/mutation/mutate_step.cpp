// Mutations of the step: loss, norms, optimizer, state, sections.
#include <algorithm>

#include "tests/mutation/places.h"

namespace dsc::testing {

std::vector<Mutator> step_mutators() {
  std::vector<Mutator> list;
  list.push_back({"wrong scale of the loss", "not 1 / (targets in one micro-batch)", {K::wrong_scale},
                  instructions([](const Instruction& i) { return kernel_of<CrossEntropySpec>(i) || kernel_of<ClassifierSpec>(i) ? 1 : 0; }), always,
                  [](Plan& plan, const Place& at) {
                    if (auto* c = kernel_of<CrossEntropySpec>(instruction_of(plan, at))) c->scale *= 2;
                    else kernel_of<ClassifierSpec>(instruction_of(plan, at))->scale *= 2;
                  }});
  list.push_back({"wrong factor of the loss", "the backward pass seeds another multiple of the loss", {K::wrong_scale},
                  instructions([](const Instruction& i) {
                    const auto* c = kernel_of<CrossEntropySpec>(i);
                    const auto* d = kernel_of<ClassifierSpec>(i);
                    return (c && c->backward) || (d && d->backward) ? 1 : 0;
                  }), always,
                  [](Plan& plan, const Place& at) {
                    if (auto* c = kernel_of<CrossEntropySpec>(instruction_of(plan, at))) c->seed_factor *= -1;
                    else kernel_of<ClassifierSpec>(instruction_of(plan, at))->seed_factor *= -1;
                  }});
  list.push_back({"seed from another part of the state", "it is not the loss scale", {K::wrong_scale}, inputs(),
                  [](const Plan& plan, const Place& at) {
                    const Instruction& i = instruction_of(plan, at);
                    return role(plan, i.inputs[at.k]) == BufferRole::state && i.inputs[at.k].bytes.value == 4;
                  },
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).inputs[at.k].offset -= Bytes(8); }});
  list.push_back({"wrong number of micro-batches in the average", "it is not M", {K::wrong_scale}, kernels<ControlSpec>(), always,
                  [](Plan& plan, const Place& at) { ++kernel_of<ControlSpec>(instruction_of(plan, at))->micro_batches; }});
  list.push_back({"wrong number of ranks in the average", "it is not D", {K::wrong_scale, K::operand_size}, kernels<ControlSpec>(), always,
                  [](Plan& plan, const Place& at) { ++kernel_of<ControlSpec>(instruction_of(plan, at))->ranks; }});
  list.push_back({"dropped norm column", "the parameter is left out of the norm", {K::norm_table}, kernels<SquareSumSpec>(), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"wrong norm column", "another parameter's column", {K::norm_table, K::operand_size}, kernels<SquareSumSpec>(), always,
                  [](Plan& plan, const Place& at) { ++kernel_of<SquareSumSpec>(instruction_of(plan, at))->column; }});
  list.push_back({"norm of a part", "some elements are left out", {K::wrong_piece}, kernels<SquareSumSpec>(),
                  [](const Plan& plan, const Place& at) { return kernel_of<SquareSumSpec>(instruction_of(plan, at))->elements > 1; },
                  [](Plan& plan, const Place& at) { --kernel_of<SquareSumSpec>(instruction_of(plan, at))->elements; }});
  list.push_back({"decay flipped", "the parameter's own rule says otherwise", {K::wrong_decay}, kernels<UpdateSpec>(), always,
                  [](Plan& plan, const Place& at) { bool& decay = kernel_of<UpdateSpec>(instruction_of(plan, at))->decay; decay = !decay; }});
  list.push_back({"update of a part", "some elements are left out", {K::wrong_piece}, kernels<UpdateSpec>(),
                  [](const Plan& plan, const Place& at) { return kernel_of<UpdateSpec>(instruction_of(plan, at))->elements > 1; },
                  [](Plan& plan, const Place& at) { --kernel_of<UpdateSpec>(instruction_of(plan, at))->elements; }});
  list.push_back({"update before control", "the step may be skipped, and the factor is not known", {K::control}, kernels<UpdateSpec>(), always,
                  [](Plan& plan, const Place& at) {
                    for (Instruction& instruction : section_of(plan, at).instructions)
                      if (kernel_of<ControlSpec>(instruction)) {
                        Instruction& update = instruction_of(plan, at);
                        std::swap(instruction.op, update.op);
                        std::swap(instruction.inputs, update.inputs);
                        std::swap(instruction.outputs, update.outputs);
                        std::swap(instruction.workspace, update.workspace);
                        return;
                      }
                  }});
  list.push_back({"dropped update", "the parameter has a gradient", {K::missing_update}, kernels<UpdateSpec>(), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"update by another gradient", "another parameter's gradient of the same size", {K::wrong_update}, kernels<UpdateSpec>(),
                  [](const Plan& plan, const Place& at) {
                    const Buffer& own = plan.buffer(instruction_of(plan, at).inputs[0].buffer);
                    for (const Instruction& i : section_of(plan, at).instructions)
                      if (kernel_of<UpdateSpec>(i) && plan.buffer(i.inputs[0].buffer).parameter != own.parameter && plan.buffer(i.inputs[0].buffer).elements == own.elements) return true;
                    return false;
                  },
                  [](Plan& plan, const Place& at) {
                    const Buffer own = plan.buffer(instruction_of(plan, at).inputs[0].buffer);
                    for (const Instruction& i : section_of(plan, at).instructions)
                      if (kernel_of<UpdateSpec>(i) && plan.buffer(i.inputs[0].buffer).parameter != own.parameter && plan.buffer(i.inputs[0].buffer).elements == own.elements) {
                        instruction_of(plan, at).inputs[0].buffer = i.inputs[0].buffer;
                        return;
                      }
                  }});
  list.push_back({"moments exchanged", "the second moment's place holds the first", {K::wrong_update}, kernels<UpdateSpec>(),
                  [](const Plan& plan, const Place&) { return plan.contract.train.optimizer.kind == OptimizerKind::adamw; },
                  [](Plan& plan, const Place& at) { auto& outputs = instruction_of(plan, at).outputs; std::swap(outputs[1], outputs[2]); }});
  list.push_back({"dropped batch", "no other instruction reads the micro-batch's data", {K::read_batch}, kernels<ReadBatchSpec>(), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"validation for training data", "the program reads the other data", {K::read_batch}, kernels<ReadBatchSpec>(), always,
                  [](Plan& plan, const Place& at) { bool& v = kernel_of<ReadBatchSpec>(instruction_of(plan, at))->validation; v = !v; }});
  list.push_back({"tokens for targets", "the two are exchanged", {K::read_batch}, kernels<ReadBatchSpec>(), always,
                  [](Plan& plan, const Place& at) { auto& outputs = instruction_of(plan, at).outputs; std::swap(outputs[0], outputs[1]); }});
  list.push_back({"loss table begun anew", "or not begun", {K::loss_table}, kernels<AddLossSpec>(), always,
                  [](Plan& plan, const Place& at) { bool& first = kernel_of<AddLossSpec>(instruction_of(plan, at))->first; first = !first; }});
  list.push_back({"dropped loss", "the micro-batch's loss is not counted", {K::loss_table}, kernels<AddLossSpec>(), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"dropped begin", "the attempt's loss scale and learning rate are those of the last", {K::control}, kernels<BeginStepSpec>(), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"a micro-batch left out", "the section is to run that often", {K::bad_section}, sections, always,
                  [](Plan& plan, const Place& at) { --section_of(plan, at).iterations; }});
  list.push_back({"a micro-batch twice", "the section is to run that often", {K::bad_section}, sections, always,
                  [](Plan& plan, const Place& at) { ++section_of(plan, at).iterations; }});
  list.push_back({"other micro-batches", "the section reads data that are not its own", {K::bad_section}, sections, always,
                  [](Plan& plan, const Place& at) { ++section_of(plan, at).first_micro_batch; }});
  return list;
}

}  // namespace dsc::testing
