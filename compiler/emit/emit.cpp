#include "compiler/emit/emit.h"

#include <utility>

namespace dsc {
namespace {

// The stages' enumerations and the plan's have the same members in the same order.
static_assert(static_cast<int>(BufferClass::workspace) == static_cast<int>(local::BufferClass::workspace));
static_assert(static_cast<int>(BufferRole::state) == static_cast<int>(local::BufferRole::state));
static_assert(static_cast<int>(BufferRole::gathered) == static_cast<int>(local::BufferRole::gathered));
static_assert(static_cast<int>(BufferRole::tokens) == static_cast<int>(local::BufferRole::tokens));
static_assert(static_cast<int>(BufferRole::workspace) == static_cast<int>(local::BufferRole::workspace));
static_assert(static_cast<int>(Engine::storage) == static_cast<int>(local::Engine::storage));
static_assert(static_cast<int>(CollectiveKind::all_reduce) == static_cast<int>(local::CollectiveKind::all_reduce));

BufferUse use_of(const local::Use& use) { return {BufferId(use.buffer.index()), use.offset, use.rank_stride, use.bytes}; }

std::vector<BufferUse> uses_of(const std::vector<local::Use>& uses) {
  std::vector<BufferUse> out;
  for (const local::Use& use : uses) out.push_back(use_of(use));
  return out;
}

Buffer buffer_of(const local::Buffer& buffer, Bytes offset) {
  Buffer out;
  out.name = buffer.name;
  out.role = static_cast<BufferRole>(buffer.role);
  out.cls = static_cast<BufferClass>(buffer.cls);
  out.type = buffer.type;
  out.elements = buffer.elements;
  out.bytes = buffer.bytes();
  out.offset = offset;
  out.persistent = buffer.persistent;
  out.op = buffer.op;
  out.parameter = buffer.parameter;
  out.segment = buffer.segment;
  out.source = buffer.source;
  return out;
}

CollectiveSpec collective_of(const local::Collective& collective) {
  CollectiveSpec out;
  out.kind = static_cast<CollectiveKind>(collective.kind);
  out.mesh_axes = collective.mesh_axes;
  out.wire_bf16 = collective.wire_bf16;
  out.cause = collective.cause;
  for (const local::CollectivePart& part : collective.parts) {
    out.parts.push_back({use_of(part.from), use_of(part.to), part.piece_elements, part.type});
  }
  return out;
}

Instruction instruction_of(const local::Instruction& instruction, const std::vector<int>& waits) {
  Instruction out;
  out.name = instruction.name;
  out.engine = static_cast<Engine>(instruction.engine);
  if (const KernelSpec* spec = std::get_if<KernelSpec>(&instruction.op)) {
    out.op = *spec;
  } else {
    out.op = collective_of(std::get<local::Collective>(instruction.op));
  }
  out.inputs = uses_of(instruction.inputs);
  out.outputs = uses_of(instruction.outputs);
  if (instruction.workspace) out.workspace = use_of(*instruction.workspace);
  out.waits = waits;
  out.performs = instruction.performs;
  out.source = instruction.source;
  return out;
}

}  // namespace

Emitted emit(const local::Scheduled& scheduled, const MemoryPlan& memory) {
  Emitted out;
  for (std::size_t b = 0; b < scheduled.buffers.size(); ++b) out.buffers.push_back(buffer_of(scheduled.buffers[b], memory.offsets[b]));
  for (std::size_t p = 0; p < scheduled.programs.size(); ++p) {
    Program& program = out.programs.emplace_back();
    program.name = scheduled.programs[p].name;
    for (std::size_t s = 0; s < scheduled.programs[p].sections.size(); ++s) {
      const local::ScheduledSection& from = scheduled.programs[p].sections[s];
      Section& section = program.sections.emplace_back();
      section.name = from.name;
      section.first_micro_batch = from.first_micro_batch;
      section.iterations = from.iterations;
      for (std::size_t i = 0; i < from.instructions.size(); ++i) {
        section.instructions.push_back(instruction_of(from.instructions[i].instruction, memory.waits[p][s][i]));
      }
    }
  }
  out.memory.device_arena = memory.device_arena;
  out.memory.packed = memory.packed;
  out.memory.lower_bound = memory.lower_bound;
  out.memory.persistent = memory.persistent;
  return out;
}

}  // namespace dsc
