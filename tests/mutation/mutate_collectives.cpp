// Mutations of collectives: parts, groups, order, what they reduce.
#include <algorithm>
#include <set>

#include "tests/mutation/places.h"

namespace dsc::testing {

const std::vector<K> kMissing = {K::read_before_write, K::unreduced_gradient, K::stale_parameter, K::norm_table, K::loss_table, K::missing_input};

std::vector<Mutator> collective_mutators() {
  std::vector<Mutator> list;
  list.push_back({"missing collective", "every collective of a valid plan is needed", kMissing, collectives(), always,
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"missing part of a collective", "every part is needed, and it is not the only one", kMissing, parts(),
                  [](const Plan& plan, const Place& at) { return collective_of(instruction_of(plan, at))->parts.size() > 1; },
                  [](Plan& plan, const Place& at) { auto& parts = collective_of(plan, at).parts; parts.erase(parts.begin() + at.k); }});
  list.push_back({"missing reduction", "it sums gradients over more than one rank", {K::unreduced_gradient, K::read_before_write, K::missing_input, K::accumulation, K::wrong_value}, collectives(),
                  [](const Plan& plan, const Place& at) { return collective_of(instruction_of(plan, at))->kind != CollectiveKind::all_gather; },
                  [](Plan& plan, const Place& at) { remove_instruction(section_of(plan, at), at.instruction); }});
  list.push_back({"duplicated collective", "it sums in place, so that the second sums sums", {K::reduced_twice}, collectives(),
                  [](const Plan& plan, const Place& at) { return collective_of(instruction_of(plan, at))->kind == CollectiveKind::all_reduce; },
                  [](Plan& plan, const Place& at) {
                    Section& section = section_of(plan, at);
                    Instruction copy = section.instructions[at.instruction];
                    copy.waits.clear();
                    shift_waits_after_insert(section, at.instruction + 1);
                    section.instructions.insert(section.instructions.begin() + at.instruction + 1, copy);
                  }});
  list.push_back({"swapped collectives", "a kernel between the two needs the first, or makes what the second sends",
                  {K::read_before_write, K::race, K::missing_input, K::unfinished_gradient, K::wrong_value, K::unreduced_gradient, K::stale_parameter, K::wrong_reduction_time, K::norm_table, K::loss_table, K::accumulation},
                  [](const Plan& plan) {
                    std::vector<Place> places;
                    for (Place at : everywhere(plan, [](const Instruction& i) { return collective_of(i) ? 1 : 0; })) {
                      const auto& list = section_of(plan, at).instructions;
                      for (int j = at.instruction + 1; j < static_cast<int>(list.size()); ++j)
                        if (collective_of(list[j])) { places.push_back({at.program, at.section, at.instruction, j, 0}); break; }
                    }
                    return places;
                  },
                  [](const Plan& plan, const Place& at) {
                    const auto& list = section_of(plan, at).instructions;
                    auto uses = [&](int i, bool write) {
                      std::set<std::size_t> found;
                      for (const Touch& touch : touches(plan, list[i]))
                        if (touch.write == write) found.insert(touch.buffer.index());
                      return found;
                    };
                    std::set<std::size_t> first_to = uses(at.instruction, true), second_from = uses(at.k, false);
                    for (int i = at.instruction + 1; i < at.k; ++i) {
                      for (std::size_t b : uses(i, false)) if (first_to.count(b)) return true;
                      for (std::size_t b : uses(i, true)) if (second_from.count(b)) return true;
                    }
                    return false;
                  },
                  [](Plan& plan, const Place& at) {
                    auto& list = section_of(plan, at).instructions;
                    std::swap(list[at.instruction].op, list[at.k].op);
                  }});
  list.push_back({"wrong group", "the group leaves out a mesh axis that splits batch", {K::collective_group}, collectives(), always,
                  [](Plan& plan, const Place& at) { collective_of(plan, at).mesh_axes.pop_back(); }});
  list.push_back({"wrong kind", "a gather is not a sum, nor a sum a gather", {K::collective_count, K::collective_shape, K::collective_type, K::wrong_value, K::wrong_wire}, collectives(), always,
                  [](Plan& plan, const Place& at) {
                    CollectiveSpec& spec = collective_of(plan, at);
                    spec.kind = spec.kind == CollectiveKind::all_gather ? CollectiveKind::reduce_scatter : CollectiveKind::all_gather;
                  }});
  list.push_back({"wrong count", "one element less in every piece", {K::collective_count}, parts(), always,
                  [](Plan& plan, const Place& at) { collective_of(plan, at).parts[at.k].piece_elements -= 1; }});
  list.push_back({"wrong count, agreeing bytes", "one element less in every piece and in the bytes", {K::wrong_piece, K::read_before_write, K::norm_table, K::collective_shape, K::collective_count}, parts(),
                  [](const Plan& plan, const Place& at) { return collective_of(instruction_of(plan, at))->parts[at.k].piece_elements > 1; },
                  [](Plan& plan, const Place& at) {
                    CollectiveSpec& spec = collective_of(plan, at);
                    CollectivePart& part = spec.parts[at.k];
                    std::int64_t size = size_of(part.type), ranks = plan.contract.layout.data_ranks();
                    part.piece_elements -= 1;
                    Bytes one(part.piece_elements * size), all(one.value * ranks);
                    part.from.bytes = spec.kind == CollectiveKind::all_gather ? one : all;
                    part.to.bytes = spec.kind == CollectiveKind::reduce_scatter ? one : all;
                  }});
  list.push_back({"wrong type", "the part's type is not its buffers'", {K::collective_type}, parts(), always,
                  [](Plan& plan, const Place& at) { DType& type = collective_of(plan, at).parts[at.k].type; type = type == DType::f32 ? DType::i32 : DType::f32; }});
  list.push_back({"wrong wire", "the layout says otherwise", {K::wrong_wire}, collectives(), always,
                  [](Plan& plan, const Place& at) { bool& wire = collective_of(plan, at).wire_bf16; wire = !wire; }});
  list.push_back({"reduction before the last micro-batch", "gradients are to be summed once, after the last of several micro-batches", {K::wrong_reduction_time, K::read_before_write, K::missing_input, K::wrong_value}, collectives(),
                  [](const Plan& plan, const Place& at) {
                    return collective_of(instruction_of(plan, at))->kind != CollectiveKind::all_gather && at.section > 0 && plan.contract.train.reduce == Reduce::once;
                  },
                  [](Plan& plan, const Place& at) {
                    Instruction moved = instruction_of(plan, at);
                    remove_instruction(section_of(plan, at), at.instruction);
                    moved.waits.clear();
                    plan.programs[at.program].sections[0].instructions.push_back(moved);
                  }});
  list.push_back({"stale parameter", "the whole copy that persists is not gathered after the update", {K::stale_parameter}, parts(),
                  [](const Plan& plan, const Place& at) {
                    const CollectivePart& part = collective_of(instruction_of(plan, at))->parts[at.k];
                    return part.from.buffer == part.to.buffer && role(plan, part.to) == BufferRole::parameter;
                  },
                  [](Plan& plan, const Place& at) {
                    auto& parts = collective_of(plan, at).parts;
                    parts.erase(parts.begin() + at.k);
                    if (parts.empty()) remove_instruction(section_of(plan, at), at.instruction);
                  }});
  list.push_back({"gathered from another parameter", "a parameter's gather reads another's piece of the same size", {K::wrong_value, K::missing_input}, parts(),
                  [](const Plan& plan, const Place& at) {
                    const CollectivePart& part = collective_of(instruction_of(plan, at))->parts[at.k];
                    if (role(plan, part.from) != BufferRole::parameter_piece) return false;
                    const Buffer& own = plan.buffer(part.from.buffer);
                    return std::any_of(plan.buffers.begin(), plan.buffers.end(), [&](const Buffer& b) { return b.role == own.role && b.elements == own.elements && b.parameter != own.parameter; });
                  },
                  [](Plan& plan, const Place& at) {
                    CollectivePart& part = collective_of(plan, at).parts[at.k];
                    const Buffer own = plan.buffer(part.from.buffer);
                    for (std::size_t b = 0; b < plan.buffers.size(); ++b)
                      if (plan.buffers[b].role == own.role && plan.buffers[b].elements == own.elements && plan.buffers[b].parameter != own.parameter) { part.from.buffer = BufferId(b); return; }
                  }});
  list.push_back({"gathered parameter kept", "a later section reads what an earlier one gathered", {K::gathered_not_released}, inputs(),
                  [](const Plan& plan, const Place& at) {
                    return at.section > 0 && role(plan, instruction_of(plan, at).inputs[at.k]) == BufferRole::gathered;
                  },
                  [](Plan& plan, const Place& at) {
                    BufferUse& use = instruction_of(plan, at).inputs[at.k];
                    std::optional<ParameterId> parameter = plan.buffer(use.buffer).parameter;
                    for (const Instruction& instruction : plan.programs[at.program].sections[0].instructions)
                      if (const CollectiveSpec* spec = collective_of(instruction))
                        for (const CollectivePart& part : spec->parts)
                          if (role(plan, part.to) == BufferRole::gathered && plan.buffer(part.to.buffer).parameter == parameter) use.buffer = part.to.buffer;
                  }});
  return list;
}

}  // namespace dsc::testing
