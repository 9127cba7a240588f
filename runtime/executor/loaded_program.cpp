#include "runtime/executor/loaded_program.h"

#include <algorithm>

#include "compiler/support/check.h"
#include "runtime/arena/ranks.h"

namespace dsc {
namespace {

constexpr int kMostSlots = 64;  // bits of Work::free_slots

struct Loader {
  const Plan& plan;
  const std::vector<std::byte*>& arenas;
  std::vector<std::int64_t> data_ranks;  // by rank

  std::byte* address(const BufferUse& use, std::size_t rank) const {
    const Buffer& buffer = plan.buffer(use.buffer);
    const std::int64_t at = use.offset.value + data_ranks[rank] * use.rank_stride.value;
    DSC_CHECK(at >= 0 && use.bytes.value >= 0 && at + use.bytes.value <= buffer.bytes.value && buffer.offset.value >= 0 &&
                  buffer.offset.value + buffer.bytes.value <= plan.memory.device_arena.value,
              "an instruction reaches outside " + buffer.name);
    return arenas[rank] + buffer.offset.value + at;
  }

  Status load_kernel(const Instruction& instruction, const KernelSpec& spec, std::size_t rank, Work& work) const {
    if (const auto* read = std::get_if<ReadBatchSpec>(&spec)) {
      DSC_CHECK(!instruction.outputs.empty(), "read_batch without outputs");
      work.rows = {read->validation, data_ranks[rank], 0, read->rows, read->sequence,
                   reinterpret_cast<std::int32_t*>(address(instruction.outputs[0], rank)),
                   instruction.outputs.size() < 2 ? nullptr : reinterpret_cast<std::int32_t*>(address(instruction.outputs[1], rank))};
      return {};
    }
    Bindings bindings;
    for (const BufferUse& use : instruction.inputs) bindings.inputs.push_back(address(use, rank));
    for (const BufferUse& use : instruction.outputs) bindings.outputs.push_back(address(use, rank));
    if (instruction.workspace) bindings.workspace = address(*instruction.workspace, rank);
    bindings.train = &plan.contract.train;
    Result<std::unique_ptr<Kernel>> kernel = prepare(spec, bindings, plan.target);
    if (!kernel) return kernel.error();
    work.kernel = std::move(*kernel);
    work.slots = static_cast<int>(std::clamp<std::int64_t>(workspace_of(spec, plan.target).slots, 1, kMostSlots));
    work.flops = flops_of(spec);
    return {};
  }

  std::unique_ptr<SharedCollective> load_collective(const CollectiveSpec& spec, const std::vector<std::int64_t>& group) const {
    std::vector<CollectiveMember> members;
    for (std::int64_t rank : group) members.push_back({arenas[rank], data_ranks[rank]});
    std::vector<std::int64_t> sizes;
    for (int axis : spec.mesh_axes) sizes.push_back(plan.contract.layout.mesh[axis].size);
    return std::make_unique<SharedCollective>(spec, plan, sizes, members);
  }
};

std::string kind_of(const Instruction& instruction) {
  if (const auto* collective = std::get_if<CollectiveSpec>(&instruction.op)) return name_of(collective->kind);
  std::string kind = name_of(std::get<KernelSpec>(instruction.op));
  for (const Performed& performed : instruction.performs)
    if (performed.pass == Pass::gradient) return kind + " backward";
  return kind;
}

void count_dependencies(const Section& section, LoadedSection& loaded) {
  const std::size_t n = section.instructions.size();
  std::vector<std::vector<int>> after(n);
  loaded.predecessors.assign(n, 0);
  int last[3] = {-1, -1, -1};
  for (std::size_t i = 0; i < n; ++i) {
    const Instruction& instruction = section.instructions[i];
    std::vector<int> before = instruction.waits;
    int& previous = last[static_cast<int>(instruction.engine)];
    if (previous >= 0) before.push_back(previous);
    previous = static_cast<int>(i);
    std::sort(before.begin(), before.end());
    before.erase(std::unique(before.begin(), before.end()), before.end());
    loaded.predecessors[i] = static_cast<int>(before.size());
    for (int b : before) {
      DSC_CHECK(b >= 0 && b < static_cast<int>(i), instruction.name + " waits for a later instruction");
      after[b].push_back(static_cast<int>(i));
    }
  }
  for (const std::vector<int>& list : after) {
    loaded.successor_begin.push_back(static_cast<int>(loaded.successors.size()));
    loaded.successors.insert(loaded.successors.end(), list.begin(), list.end());
  }
  loaded.successor_begin.push_back(static_cast<int>(loaded.successors.size()));
}

}  // namespace

int ProfileKinds::of(Engine engine, const std::string& kind) {
  for (std::size_t i = 0; i < list.size(); ++i)
    if (list[i].first == engine && list[i].second == kind) return static_cast<int>(i);
  list.emplace_back(engine, kind);
  return static_cast<int>(list.size()) - 1;
}

Result<std::unique_ptr<LoadedProgram>> load_program(const Plan& plan, const Program& program,
                                                    const std::vector<std::byte*>& arenas, ProfileKinds& kinds) {
  Loader loader{plan, arenas, {}};
  for (std::size_t rank = 0; rank < arenas.size(); ++rank)
    loader.data_ranks.push_back(data_rank(plan.contract.layout, static_cast<std::int64_t>(rank)));
  auto loaded = std::make_unique<LoadedProgram>();
  loaded->name = program.name;
  for (const Section& section : program.sections) {
    LoadedSection& to = loaded->sections.emplace_back();
    to.first_micro_batch = section.first_micro_batch;
    to.iterations = section.iterations;
    to.instructions = section.instructions.size();
    to.works.assign(arenas.size() * to.instructions, nullptr);
    loaded->largest_section = std::max(loaded->largest_section, to.instructions);
    count_dependencies(section, to);
    for (std::size_t i = 0; i < to.instructions; ++i) {
      const Instruction& instruction = section.instructions[i];
      const int kind = kinds.of(instruction.engine, kind_of(instruction));
      const auto* collective = std::get_if<CollectiveSpec>(&instruction.op);
      for (std::size_t rank = 0; rank < arenas.size(); ++rank) {
        Work*& slot = to.works[rank * to.instructions + i];
        if (slot != nullptr) continue;  // a collective that an earlier member made
        Work& work = loaded->works.emplace_back();
        work.instruction = &instruction;
        work.index = static_cast<int>(i);
        work.kind = kind;
        work.urgent = instruction.engine != Engine::compute;
        slot = &work;
        work.ranks = {static_cast<int>(rank)};
        if (collective == nullptr) {
          if (Status status = loader.load_kernel(instruction, std::get<KernelSpec>(instruction.op), rank, work); !status)
            return status.error();
          continue;
        }
        const std::vector<std::int64_t> group =
            group_of(plan.contract.layout, collective->mesh_axes, static_cast<std::int64_t>(rank));
        work.collective = loader.load_collective(*collective, group);
        work.slots = kMostSlots;  // it needs no scratch
        work.ranks.assign(group.begin(), group.end());
        for (std::int64_t member : group) to.works[static_cast<std::size_t>(member) * to.instructions + i] = &work;
      }
    }
  }
  return loaded;
}

}  // namespace dsc
