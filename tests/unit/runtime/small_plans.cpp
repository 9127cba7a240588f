#include "tests/unit/runtime/small_plans.h"

#include "compiler/support/kernel_workspace.h"

namespace dsc_test {
using namespace dsc;

SmallPlan::SmallPlan(const std::vector<std::int64_t>& mesh) {
  plan.target = reference_target();
  LayoutSpec& layout = plan.contract.layout;
  for (std::size_t i = 0; i < mesh.size(); ++i) {
    layout.mesh.push_back({"data" + std::to_string(i), mesh[i], {}});
    layout.batch_axes.push_back(static_cast<int>(i));
  }
}

BufferId SmallPlan::buffer(const std::string& name, std::int64_t elements, DType type) {
  Buffer buffer;
  buffer.name = name;
  buffer.type = type;
  buffer.elements = elements;
  buffer.bytes = Bytes(elements * size_of(type));
  if (!plan.buffers.empty())
    buffer.offset = align_up(plan.buffers.back().offset + plan.buffers.back().bytes, plan.target.alignment);
  plan.buffers.push_back(buffer);
  return BufferId(plan.buffers.size() - 1);
}

BufferUse SmallPlan::whole(BufferId id) const { return {id, Bytes(0), Bytes(0), plan.buffer(id).bytes}; }

BufferUse SmallPlan::piece(BufferId id, std::int64_t elements) const {
  const Bytes bytes(elements * size_of(plan.buffer(id).type));
  return {id, Bytes(0), bytes, bytes};
}

Instruction SmallPlan::scale(const std::string& name, BufferUse a, BufferUse out, std::int64_t rows, std::int64_t width,
                             double factor, double term) {
  MapSpec spec;
  spec.outer = {rows};
  spec.reduced = {false};
  spec.inner = {width};
  spec.inputs = {{DType::f32, {width, 1}, 0, {}}};
  spec.outputs = {{DType::f32, {width, 1}, 0, false}};
  MapInstruction load, times, product, plus, sum, store;
  load.op = MapOpcode::load, load.result = 0, load.slot = 0;
  times.op = MapOpcode::constant, times.result = 1, times.number = factor;
  product.op = MapOpcode::multiply, product.result = 2, product.a = 0, product.b = 1;
  plus.op = MapOpcode::constant, plus.result = 3, plus.number = term;
  sum.op = MapOpcode::add, sum.result = 4, sum.a = 2, sum.b = 3;
  store.op = MapOpcode::store, store.a = 4, store.slot = 0;
  spec.program = {5, {load, times, product, plus, sum, store}};
  Instruction instruction;
  instruction.name = name;
  instruction.op = KernelSpec(spec);
  instruction.inputs = {a};
  instruction.outputs = {out};
  if (const Bytes scratch = workspace_of(spec, plan.target).total(); scratch.value > 0) {
    const BufferId id = buffer(name + " scratch", scratch.value, DType::u8);
    instruction.workspace = whole(id);
  }
  return instruction;
}

Instruction SmallPlan::read(const std::string& name, BufferUse tokens, BufferUse targets, std::int64_t rows,
                            std::int64_t sequence) const {
  Instruction instruction;
  instruction.name = name;
  instruction.engine = Engine::storage;
  instruction.op = KernelSpec(ReadBatchSpec{rows, sequence, false});
  instruction.outputs = {tokens, targets};
  return instruction;
}

Instruction SmallPlan::collective(const std::string& name, CollectiveKind kind, BufferUse from, BufferUse to,
                                  std::int64_t piece_elements, bool wire_bf16) const {
  CollectiveSpec spec;
  spec.kind = kind;
  spec.mesh_axes = plan.contract.layout.batch_axes;
  spec.wire_bf16 = wire_bf16;
  spec.parts = {{from, to, piece_elements, plan.buffer(from.buffer).type}};
  Instruction instruction;
  instruction.name = name;
  instruction.engine = Engine::communication;
  instruction.op = spec;
  return instruction;
}

void SmallPlan::finish() {
  plan.memory.packed = plan.buffers.back().offset + plan.buffers.back().bytes;
  plan.memory.device_arena = align_up(plan.memory.packed, plan.target.page);
}

TestArenas::TestArenas(const Plan& plan) {
  const std::int64_t slack = plan.target.alignment.value;
  for (std::int64_t rank = 0; rank < plan.contract.layout.world_size(); ++rank) {
    memory_.emplace_back(static_cast<std::size_t>(plan.memory.device_arena.value + slack));
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.back().data());
    bases_.push_back(memory_.back().data() + (slack - static_cast<std::int64_t>(address % slack)) % slack);
  }
}

float* TestArenas::floats(const Plan& plan, BufferId id, std::size_t rank) const {
  return reinterpret_cast<float*>(bases_[rank] + plan.buffer(id).offset.value);
}

}  // namespace dsc_test
