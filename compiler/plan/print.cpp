#include "compiler/plan/print.h"

#include "compiler/plan/plan_fields.h"

namespace dsc {
namespace {

std::string text(const BufferUse& use) {
  std::string s = use.buffer.str();
  if (use.offset.value != 0) s += "+" + std::to_string(use.offset.value);
  if (use.rank_stride.value != 0) s += "+r*" + std::to_string(use.rank_stride.value);
  return s + ":" + std::to_string(use.bytes.value);
}

std::string text(const std::vector<BufferUse>& uses) {
  std::string s;
  for (const BufferUse& use : uses) s += (s.empty() ? "" : " ") + text(use);
  return s;
}

}  // namespace

std::string print(const Instruction& instruction, const Plan& plan) {
  std::string s = std::string(name_of(instruction.engine)) + " ";
  if (const auto* kernel = std::get_if<KernelSpec>(&instruction.op)) {
    s += std::string(name_of(*kernel)) + " " + instruction.name + ": " + text(instruction.inputs) + " -> " + text(instruction.outputs);
    if (instruction.workspace) s += " workspace " + text(*instruction.workspace);
  } else {
    const auto& collective = std::get<CollectiveSpec>(instruction.op);
    s += std::string(name_of(collective.kind)) + " " + instruction.name + " over";
    for (int axis : collective.mesh_axes)
      s += " " + (static_cast<std::size_t>(axis) < plan.contract.layout.mesh.size() ? plan.contract.layout.mesh[axis].name : "?");
    if (collective.wire_bf16) s += " wire bf16";
    s += ":";
    for (const CollectivePart& part : collective.parts)
      s += " " + text(part.from) + " -> " + text(part.to) + " (" + std::to_string(part.piece_elements) + " " + std::string(name_of(part.type)) + ")";
  }
  if (!instruction.waits.empty()) {
    s += " waits";
    for (int wait : instruction.waits) s += " " + std::to_string(wait);
  }
  if (!instruction.performs.empty()) {
    s += " performs";
    for (const Performed& p : instruction.performs) {
      s += std::string(" ") + plan_fields::Names<Pass>::list[static_cast<std::size_t>(p.pass)] + "(" + p.op.str();
      if (p.pass == Pass::gradient) s += "." + std::to_string(p.operand);
      s += ")";
    }
  }
  return s;
}

std::string print(const Plan& plan) {
  const MemorySummary& m = plan.memory;
  std::string s = "plan of " + plan.contract.model.name + ", layout " + plan.contract.layout.name + ", target " + plan.target.name + "\n";
  s += "memory: device " + std::to_string(m.device_arena.value) + ", packed " + std::to_string(m.packed.value) + ", lower bound " +
       std::to_string(m.lower_bound.value) + ", persistent " + std::to_string(m.persistent.value) + "\n\nbuffers\n";
  for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& b = plan.buffers[i];
    s += "  " + BufferId(i).str() + " " + b.name + ": " + name_of(b.role) + " " + std::string(name_of(b.type)) + "[" + std::to_string(b.elements) +
         "] at " + std::to_string(b.offset.value) + (b.persistent ? " persistent" : "") + "\n";
  }
  for (const Program& program : plan.programs) {
    for (const Section& section : program.sections) {
      s += "\nprogram " + program.name + ", section " + section.name + ": micro-batches from " + std::to_string(section.first_micro_batch) + ", " +
           std::to_string(section.iterations) + (section.iterations == 1 ? " iteration\n" : " iterations\n");
      for (std::size_t i = 0; i < section.instructions.size(); ++i)
        s += "  [" + std::to_string(i) + "] " + print(section.instructions[i], plan) + "\n";
    }
  }
  return s;
}

}  // namespace dsc
