// Buffers lie in the arena, uses in their buffers for every rank, operands are those of the specs, workspaces have the
// size that the target's kernels need, every instruction stands on its engine.
#include <algorithm>

#include "compiler/plan/verify_context.h"
#include "compiler/support/kernel_workspace.h"

namespace dsc::verifying {
namespace {

using Kind = VerifyErrorKind;

void check_buffers(const Context& context) {
  const Plan& plan = context.plan;
  for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& b = plan.buffers[i];
    BufferId id(i);
    if (__int128(b.elements) * size_of(b.type) != b.bytes.value)
      context.fail(Kind::buffer_size, {}, std::to_string(b.elements) + " elements in " + std::to_string(b.bytes.value) + " bytes", id);
    if (b.offset.value % plan.target.alignment.value != 0)
      context.fail(Kind::buffer_alignment, {}, "offset " + std::to_string(b.offset.value) + " is not aligned", id);
    if (b.offset.value + b.bytes.value > plan.memory.device_arena.value)
      context.fail(Kind::buffer_outside_arena, {}, "ends at byte " + std::to_string(b.offset.value + b.bytes.value) + " of an arena of " +
                                                       std::to_string(plan.memory.device_arena.value), id);
    if (b.cls != class_of(b.role))
      context.fail(Kind::buffer_class, {}, std::string("a ") + name_of(b.role) + " that counts as " + name_of(b.cls) + ", not as " + name_of(class_of(b.role)), id);
    if (b.persistent != is_persistent(b.role))
      context.fail(Kind::buffer_size, {}, std::string("a ") + name_of(b.role) + (b.persistent ? " that persists" : " that does not persist"), id);
  }
}

struct Builder {
  const Context& context;
  Context::At at;
  InstructionFacts& facts;

  // The whole range of the use; false where it leaves its buffer.
  bool inside(const BufferUse& use, const char* what) {
    const Buffer& b = context.buffer(use.buffer);
    std::int64_t last = use.offset.value + use.bytes.value + (context.ranks - 1) * use.rank_stride.value;
    if (last <= b.bytes.value) return true;
    context.fail(Kind::use_outside_buffer, at, std::string(what) + " reaches byte " + std::to_string(last) + " of " + std::to_string(b.bytes.value), use.buffer);
    return false;
  }
  // [begin, end) relative to the use's start.
  Access access(const BufferUse& use, std::int64_t begin, std::int64_t end) {
    Access a{.buffer = use.buffer};
    a.begin = use.offset.value + begin;
    a.width = end - begin;
    a.stride = use.rank_stride.value;
    a.end = a.begin + a.width + (a.width > 0 ? (context.ranks - 1) * a.stride : 0);
    a.table = context.buffer(use.buffer).role == BufferRole::norm_table || context.buffer(use.buffer).role == BufferRole::loss_table;
    std::int64_t size = context.buffer(use.buffer).bytes.value;
    a.begin = std::min(a.begin, size);
    a.end = std::clamp(a.end, a.begin, size);
    return a;
  }

  void operands(const std::vector<BufferUse>& uses, const std::vector<OperandExtent>& extents, bool output) {
    const char* what = output ? "outputs" : "inputs";
    if (uses.size() != extents.size())
      context.fail(Kind::operand_count, at, std::to_string(uses.size()) + " " + what + ", a " + name_of(*facts.kernel) + " has " + std::to_string(extents.size()));
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const BufferUse& use = uses[i];
      const Buffer& b = context.buffer(use.buffer);
      bool ok = inside(use, output ? "an output" : "an input");
      if (i >= extents.size()) continue;
      const OperandExtent& e = extents[i];
      std::int64_t size = e.state ? 1 : size_of(e.type);
      if (ok && e.end * size > use.bytes.value) {
        context.fail(Kind::operand_size, at, std::string(e.name) + " covers " + std::to_string(e.end * size) + " bytes of a use of " + std::to_string(use.bytes.value), use.buffer);
      }
      bool scalar_of_state = b.role == BufferRole::state && !output && e.end == 1 && e.type == DType::f32;
      if (e.state ? b.role != BufferRole::state : (!scalar_of_state && b.type != e.type))
        context.fail(Kind::operand_type, at, std::string(e.name) + " is " + std::string(name_of(e.type)) + ", the buffer holds " + std::string(name_of(b.type)), use.buffer);
      Access a = access(use, e.begin * size, e.end * size);
      a.read = !output || e.reads;
      a.write = output;
      a.defines = output && e.dense;
      if (e.end > e.begin) facts.accesses.push_back(a);
    }
  }

  void kernel() {
    facts.operands = operands_of(*facts.kernel, context.contract.train.optimizer.kind);
    const Instruction& instruction = *facts.instruction;
    operands(instruction.inputs, facts.operands.inputs, false);
    operands(instruction.outputs, facts.operands.outputs, true);
    std::int64_t needed = workspace_of(*facts.kernel, context.plan.target).total().value;
    std::int64_t given = instruction.workspace ? instruction.workspace->bytes.value : 0;
    if (needed != given)
      context.fail(Kind::workspace_size, at, "a workspace of " + std::to_string(given) + " bytes where " + std::to_string(needed) + " are needed");
    if (instruction.workspace) {
      inside(*instruction.workspace, "the workspace");
      if (context.buffer(instruction.workspace->buffer).role != BufferRole::workspace || instruction.workspace->rank_stride.value != 0)
        context.fail(Kind::operand_type, at, "a workspace in a buffer that is none", instruction.workspace->buffer);
      Access a = access(*instruction.workspace, 0, given);
      a.write = a.defines = a.workspace = true;
      if (given > 0) facts.accesses.push_back(a);
    }
    Engine engine = std::holds_alternative<ReadBatchSpec>(*facts.kernel) ? Engine::storage : Engine::compute;
    if (instruction.engine != engine)
      context.fail(Kind::wrong_engine, at, std::string("a ") + name_of(*facts.kernel) + " on the " + name_of(instruction.engine) + " engine");
    overlaps();
  }

  void collective() {
    const Instruction& instruction = *facts.instruction;
    if (!instruction.inputs.empty() || !instruction.outputs.empty() || instruction.workspace)
      context.fail(Kind::operand_count, at, "a collective with operands beside its parts");
    if (instruction.engine != Engine::communication)
      context.fail(Kind::wrong_engine, at, std::string("a collective on the ") + name_of(instruction.engine) + " engine");
    for (const CollectivePart& part : facts.collective->parts) {
      inside(part.from, "a part's source");
      inside(part.to, "a part's destination");
      Access from = access(part.from, 0, part.from.bytes.value), to = access(part.to, 0, part.to.bytes.value);
      from.read = true;
      to.write = to.defines = true;
      facts.accesses.push_back(from);
      facts.accesses.push_back(to);
    }
    overlaps();
  }

  // No operand may share bytes with an output: what is updated in place is one operand. A gather's own piece and an
  // all-reduce are where they end up.
  void overlaps() {
    auto range = [&](const Access& a) { return context.buffer(a.buffer).offset.value; };
    std::vector<std::size_t> order(facts.accesses.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
      return range(facts.accesses[x]) + facts.accesses[x].begin < range(facts.accesses[y]) + facts.accesses[y].begin;
    });
    // Scanning by address: the farthest end of a write and of any access so far.
    std::int64_t any_end = -1, write_end = -1;
    std::size_t any = 0, write = 0;
    for (std::size_t i : order) {
      const Access& a = facts.accesses[i];
      std::int64_t begin = range(a) + a.begin, end = range(a) + a.end;
      if (begin == end) continue;
      if (a.write && begin < any_end && !together(any, i)) report(any, i);
      else if (begin < write_end && !together(write, i)) report(write, i);
      if (end > any_end) { any_end = end; any = i; }
      if (a.write && end > write_end) { write_end = end; write = i; }
    }
  }
  bool together(std::size_t x, std::size_t y) const {
    if (!facts.collective || x / 2 != y / 2 || x == y) return false;
    if (facts.collective->kind == CollectiveKind::reduce_scatter) return false;
    return facts.accesses[x].buffer == facts.accesses[y].buffer;
  }
  void report(std::size_t x, std::size_t y) {
    context.fail(Kind::operands_overlap, at, "operands share bytes: " + context.name(facts.accesses[x].buffer) + " and " + context.name(facts.accesses[y].buffer),
                 facts.accesses[y].buffer);
  }
};

}  // namespace

void check_structure(Context& context) {
  check_buffers(context);
  const Plan& plan = context.plan;
  for (std::size_t p = 0; p < plan.programs.size(); ++p) {
    context.facts.emplace_back();
    for (std::size_t s = 0; s < plan.programs[p].sections.size(); ++s) {
      context.facts.back().emplace_back();
      const Section& section = plan.programs[p].sections[s];
      context.facts.back().back().resize(section.instructions.size());
      for (std::size_t i = 0; i < section.instructions.size(); ++i) {
        InstructionFacts& facts = context.facts.back().back()[i];
        facts.instruction = &section.instructions[i];
        facts.kernel = std::get_if<KernelSpec>(&section.instructions[i].op);
        facts.collective = std::get_if<CollectiveSpec>(&section.instructions[i].op);
        Builder builder{context, {static_cast<int>(p), static_cast<int>(s), static_cast<int>(i)}, facts};
        if (facts.kernel) builder.kernel(); else builder.collective();
        ++context.report.instructions;
      }
    }
  }
}

}  // namespace dsc::verifying
