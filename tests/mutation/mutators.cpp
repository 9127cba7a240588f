#include "tests/mutation/mutators.h"

#include <algorithm>
#include <set>

#include "tests/mutation/plan_facts.h"

namespace dsc::testing {
namespace {

using K = VerifyErrorKind;

Section& section_of(Plan& plan, const Place& at) { return plan.programs[at.program].sections[at.section]; }
const Section& section_of(const Plan& plan, const Place& at) { return plan.programs[at.program].sections[at.section]; }
Instruction& instruction_of(Plan& plan, const Place& at) { return section_of(plan, at).instructions[at.instruction]; }
const Instruction& instruction_of(const Plan& plan, const Place& at) { return section_of(plan, at).instructions[at.instruction]; }

template <class Spec>
const Spec* kernel_of(const Instruction& instruction) {
  const auto* kernel = std::get_if<KernelSpec>(&instruction.op);
  return kernel ? std::get_if<Spec>(kernel) : nullptr;
}
template <class Spec>
Spec* kernel_of(Instruction& instruction) {
  return const_cast<Spec*>(kernel_of<Spec>(static_cast<const Instruction&>(instruction)));
}
const CollectiveSpec* collective_of(const Instruction& instruction) { return std::get_if<CollectiveSpec>(&instruction.op); }
CollectiveSpec& collective_of(Plan& plan, const Place& at) { return std::get<CollectiveSpec>(instruction_of(plan, at).op); }
bool is_step(const Plan& plan, const Place& at) { return plan.programs[at.program].name == "step"; }
BufferRole role(const Plan& plan, const BufferUse& use) { return plan.buffer(use.buffer).role; }
bool is_gradient(BufferRole r) { return r == BufferRole::gradient || r == BufferRole::gradient_piece; }

// Every instruction for which f says how many places it has (k from 0).
std::vector<Place> everywhere(const Plan& plan, const std::function<int(const Instruction&)>& count) {
  std::vector<Place> places;
  for (int p = 0; p < static_cast<int>(plan.programs.size()); ++p)
    for (int s = 0; s < static_cast<int>(plan.programs[p].sections.size()); ++s) {
      const auto& list = plan.programs[p].sections[s].instructions;
      for (int i = 0; i < static_cast<int>(list.size()); ++i)
        for (int k = 0, n = count(list[i]); k < n; ++k) places.push_back({p, s, i, k, 0});
    }
  return places;
}
std::function<std::vector<Place>(const Plan&)> instructions(std::function<int(const Instruction&)> count) {
  return [count](const Plan& plan) { return everywhere(plan, count); };
}
template <class Spec>
std::function<std::vector<Place>(const Plan&)> kernels() {
  return instructions([](const Instruction& i) { return kernel_of<Spec>(i) ? 1 : 0; });
}
std::function<std::vector<Place>(const Plan&)> collectives() {
  return instructions([](const Instruction& i) { return collective_of(i) ? 1 : 0; });
}
std::function<std::vector<Place>(const Plan&)> parts() {
  return instructions([](const Instruction& i) { return collective_of(i) ? static_cast<int>(collective_of(i)->parts.size()) : 0; });
}
std::function<std::vector<Place>(const Plan&)> outputs() {
  return instructions([](const Instruction& i) { return static_cast<int>(i.outputs.size()); });
}
std::function<std::vector<Place>(const Plan&)> inputs() {
  return instructions([](const Instruction& i) { return static_cast<int>(i.inputs.size()); });
}
std::function<std::vector<Place>(const Plan&)> performed() {
  return instructions([](const Instruction& i) { return static_cast<int>(i.performs.size()); });
}
std::vector<Place> buffers(const Plan& plan) {
  std::vector<Place> places;
  for (int b = 0; b < static_cast<int>(plan.buffers.size()); ++b) places.push_back({0, 0, 0, b, 0});
  return places;
}
std::vector<Place> sections(const Plan& plan) {
  std::vector<Place> places;
  for (int p = 0; p < static_cast<int>(plan.programs.size()); ++p)
    for (int s = 0; s < static_cast<int>(plan.programs[p].sections.size()); ++s) places.push_back({p, s, 0, 0, 0});
  return places;
}
std::vector<Place> once(const Plan&) { return {Place{}}; }
bool always(const Plan&, const Place&) { return true; }

bool* accumulate_flag(Instruction& instruction, int output) {
  if (auto* map = kernel_of<MapSpec>(instruction)) return &map->outputs[output].accumulate;
  if (auto* product = kernel_of<ProductSpec>(instruction)) return &product->outputs[output].accumulate;
  if (auto* lookup = kernel_of<LookupBackwardSpec>(instruction)) return &lookup->accumulate;
  return nullptr;
}
bool accumulates(const Instruction& instruction, int output) {
  bool* flag = accumulate_flag(const_cast<Instruction&>(instruction), output);
  return flag && *flag;
}
bool can_accumulate(const Instruction& instruction, int output) { return accumulate_flag(const_cast<Instruction&>(instruction), output) != nullptr; }

// Places of two buffers (k, other) that are used in one program at one time: a few partners for each.
std::vector<Place> live_together(const Plan& plan) {
  std::vector<Place> places;
  for (int p = 0; p < static_cast<int>(plan.programs.size()); ++p) {
    std::vector<Span> span = spans(plan, plan.programs[p]);
    for (int b = 0; b < static_cast<int>(span.size()); ++b) {
      int found = 0;
      for (int d = 1; d < static_cast<int>(span.size()) && found < 2; ++d) {
        int c = (b + d) % static_cast<int>(span.size());
        if (span[b].first < 0 || span[c].first < 0 || span[b].first > span[c].last || span[c].first > span[b].last) continue;
        places.push_back({p, 0, 0, b, c});
        ++found;
      }
    }
  }
  return places;
}

// Whether what the buffer means differs, so that reading one for the other is wrong.
bool different(const Buffer& a, const Buffer& b) {
  return a.role != b.role || a.op != b.op || a.parameter != b.parameter || a.segment != b.segment;
}

std::vector<Place> adjacent(const Plan& plan) {
  std::vector<Place> places;
  for (Place at : everywhere(plan, [](const Instruction&) { return 1; }))
    if (at.instruction + 1 < static_cast<int>(section_of(plan, at).instructions.size())) places.push_back(at);
  return places;
}

void shift_waits_after_insert(Section& section, int index) {
  for (Instruction& instruction : section.instructions)
    for (int& wait : instruction.waits)
      if (wait >= index) ++wait;
}

// ---- Waits -------------------------------------------------------------------------------------------------------------

std::vector<Mutator> wait_mutators() {
  std::vector<Mutator> list;
  list.push_back({"dropped wait", "without the wait two instructions touch a byte that one writes, unordered", {K::race},
                  instructions([](const Instruction& i) { return static_cast<int>(i.waits.size()); }),
                  [](const Plan& plan, const Place& at) {
                    Section section = section_of(plan, at);
                    auto& waits = section.instructions[at.instruction].waits;
                    waits.erase(waits.begin() + at.k);
                    return has_race(plan, section);
                  },
                  [](Plan& plan, const Place& at) { auto& waits = instruction_of(plan, at).waits; waits.erase(waits.begin() + at.k); }});
  list.push_back({"redundant wait", "the earlier instruction, of another engine, has ended anyhow", {K::redundant_wait},
                  [](const Plan& plan) {
                    std::vector<Place> places;
                    for (Place at : everywhere(plan, [](const Instruction&) { return 1; }))
                      for (int back : {1, 2, 3, 5, 8})
                        if (at.instruction - back >= 0) places.push_back({at.program, at.section, at.instruction, at.instruction - back, 0});
                    return places;
                  },
                  [](const Plan& plan, const Place& at) {
                    const Section& section = section_of(plan, at);
                    const auto& waits = section.instructions[at.instruction].waits;
                    if (section.instructions[at.k].engine == section.instructions[at.instruction].engine || std::count(waits.begin(), waits.end(), at.k)) return false;
                    // Ordered naively: reachable through the engine's predecessor or a wait.
                    std::set<int> reached;
                    std::vector<int> todo = {at.instruction};
                    while (!todo.empty()) {
                      int i = todo.back();
                      todo.pop_back();
                      auto reach = [&](int j) { if (reached.insert(j).second) todo.push_back(j); };
                      for (int wait : section.instructions[i].waits) reach(wait);
                      for (int j = i - 1; j >= 0; --j)
                        if (section.instructions[j].engine == section.instructions[i].engine) { reach(j); break; }
                    }
                    return reached.count(at.k) > 0;
                  },
                  [](Plan& plan, const Place& at) {
                    auto& waits = instruction_of(plan, at).waits;
                    waits.push_back(at.k);
                    std::sort(waits.begin(), waits.end());
                  }});
  list.push_back({"wait in a circle", "the later instruction is after this one on its engine's order or another waits for this one", {K::bad_wait, K::collective_deadlock},
                  adjacent,
                  [](const Plan& plan, const Place& at) {
                    const Section& section = section_of(plan, at);
                    const Instruction& next = section.instructions[at.instruction + 1];
                    return std::count(next.waits.begin(), next.waits.end(), at.instruction) > 0;
                  },
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).waits.push_back(at.instruction + 1); }});
  return list;
}

// ---- Collectives -------------------------------------------------------------------------------------------------------

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

// ---- Memory ------------------------------------------------------------------------------------------------------------

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

// ---- Gradients ---------------------------------------------------------------------------------------------------------

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

// ---- The step ----------------------------------------------------------------------------------------------------------

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

// ---- The graph ---------------------------------------------------------------------------------------------------------

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

}  // namespace

const std::vector<Mutator>& mutators() {
  static const std::vector<Mutator> all = [] {
    std::vector<Mutator> list;
    for (auto part : {wait_mutators(), collective_mutators(), memory_mutators(), gradient_mutators(), step_mutators(), graph_mutators()}) list.insert(list.end(), part.begin(), part.end());
    return list;
  }();
  return all;
}

}  // namespace dsc::testing
