#include "compiler/explain/explain.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "compiler/support/check.h"

namespace dsc {
namespace {

// A span of positions in a program's instruction order, both ends included.
struct Span {
  std::int64_t first = -1, last = -1;
  void cover(std::int64_t position) {
    if (first < 0) first = position;
    first = std::min(first, position);
    last = std::max(last, position);
  }
};

template <class Visit>
void for_each_use(const Instruction& instruction, Visit visit) {
  for (const BufferUse& use : instruction.inputs) visit(use, false);
  if (const auto* collective = std::get_if<CollectiveSpec>(&instruction.op)) {
    for (const CollectivePart& part : collective->parts) visit(part.from, false);
    for (const CollectivePart& part : collective->parts) visit(part.to, true);
  }
  for (const BufferUse& use : instruction.outputs) visit(use, true);
  if (instruction.workspace) visit(*instruction.workspace, true);
}

// Where each buffer is live in one program. What a repeated section hands from one iteration to the next, or shares with
// the code around it, is live through all of that section.
std::vector<Span> live_spans(const Plan& plan, const Program& program) {
  std::vector<Span> spans(plan.buffers.size());
  std::int64_t begin = 0;
  for (const Section& section : program.sections) {
    std::int64_t end = begin + static_cast<std::int64_t>(section.instructions.size());
    std::vector<char> seen(plan.buffers.size(), 0);
    for (std::int64_t i = begin; i < end; ++i)
      for_each_use(section.instructions[i - begin], [&](const BufferUse& use, bool) {
        std::size_t b = use.buffer.index();
        if (!seen[b] && section.iterations > 1 && spans[b].first >= 0) spans[b].cover(end - 1);
        seen[b] = 1;
        spans[b].cover(i);
      });
    begin = end;
  }
  // A value used after a repeated section that also used it stays live to that section's end: covered by its later use.
  begin = 0;
  for (const Section& section : program.sections) {
    std::int64_t end = begin + static_cast<std::int64_t>(section.instructions.size());
    if (section.iterations > 1)
      for (Span& span : spans)
        if (span.first >= begin && span.first < end && span.last >= end) span.cover(begin);
    begin = end;
  }
  return spans;
}

const Instruction& instruction_at(const Program& program, std::int64_t position) {
  for (const Section& section : program.sections) {
    if (position < static_cast<std::int64_t>(section.instructions.size())) return section.instructions[position];
    position -= static_cast<std::int64_t>(section.instructions.size());
  }
  DSC_CHECK(false, "position past the end of the program");
}

std::string place(const Plan& plan, SourceRange range) {
  if (range.end == 0 || range.file >= plan.sources.size()) return "";
  const PlanSource& file = plan.sources[range.file];
  std::size_t at = std::min<std::size_t>(range.begin, file.text.size());
  auto line = 1 + std::count(file.text.begin(), file.text.begin() + at, '\n');
  std::size_t start = at == 0 ? std::string::npos : file.text.rfind('\n', at - 1);
  std::size_t column = start == std::string::npos ? at + 1 : at - start;
  return file.name + ":" + std::to_string(line) + ":" + std::to_string(column);
}

RankClass memory_of(const Plan& plan) {
  RankClass out;
  for (std::int64_t rank = 0; rank < plan.contract.layout.world_size(); ++rank) out.ranks.push_back(rank);
  out.device_arena = plan.memory.device_arena;
  out.host_arena = plan.memory.host_arena;
  out.storage = plan.memory.storage;
  out.lower_bound = plan.memory.lower_bound;
  out.persistent = plan.memory.persistent;

  auto size = [&](std::size_t b) { return align_up(plan.buffers[b].bytes, plan.target.alignment); };
  Bytes persistent{0};
  for (std::size_t b = 0; b < plan.buffers.size(); ++b)
    if (plan.buffers[b].persistent) persistent += size(b);

  const Program* peak_program = nullptr;
  std::int64_t peak_position = 0;
  std::vector<Span> peak_spans;
  Bytes peak{-1};
  for (const Program& program : plan.programs) {
    std::vector<Span> spans = live_spans(plan, program);
    std::int64_t length = 0;
    for (const Section& section : program.sections) length += static_cast<std::int64_t>(section.instructions.size());
    std::vector<std::int64_t> change(length + 1, 0);
    for (std::size_t b = 0; b < spans.size(); ++b) {
      if (plan.buffers[b].persistent || spans[b].first < 0) continue;
      change[spans[b].first] += size(b).value;
      change[spans[b].last + 1] -= size(b).value;
    }
    std::int64_t live = persistent.value;
    bool here = false;
    for (std::int64_t i = 0; i < length; ++i) {
      live += change[i];
      if (live <= peak.value) continue;
      peak = Bytes(live);
      peak_program = &program;
      peak_position = i;
      here = true;
    }
    if (here) peak_spans = std::move(spans);
  }
  if (peak_program == nullptr) return out;
  out.peak_program = peak_program->name;
  out.peak_instruction = instruction_at(*peak_program, peak_position).name;
  Bytes used{0};
  for (std::size_t b = 0; b < plan.buffers.size(); ++b) {
    const Buffer& buffer = plan.buffers[b];
    bool live = buffer.persistent || (peak_spans[b].first >= 0 && peak_spans[b].first <= peak_position && peak_position <= peak_spans[b].last);
    if (!live) continue;
    out.by_class[static_cast<std::size_t>(buffer.cls)] += size(b);
    used += size(b);
    out.peak_buffers.push_back({buffer.name, size(b), buffer.cls, place(plan, buffer.source)});
  }
  out.unused = out.device_arena - used;
  std::stable_sort(out.peak_buffers.begin(), out.peak_buffers.end(),
                   [](const PeakBuffer& a, const PeakBuffer& b) { return a.bytes > b.bytes; });
  return out;
}

std::string axis_names(const Plan& plan, const std::vector<int>& axes) {
  std::string names;
  for (int axis : axes) names += (names.empty() ? "" : ", ") + plan.contract.layout.mesh[axis].name;
  return names;
}

std::vector<CollectiveLine> collectives_of(const Plan& plan) {
  std::vector<CollectiveLine> lines;
  const Program& step = plan.programs.front();
  std::int64_t members = plan.contract.layout.data_ranks();
  for (const Section& section : step.sections)
    for (const Instruction& instruction : section.instructions) {
      const auto* spec = std::get_if<CollectiveSpec>(&instruction.op);
      if (spec == nullptr) continue;
      std::string op = name_of(spec->kind), axis = axis_names(plan, spec->mesh_axes);
      auto same = [&](const CollectiveLine& line) { return std::tie(line.op, line.axis, line.cause) == std::tie(op, axis, spec->cause); };
      auto line = std::find_if(lines.begin(), lines.end(), same);
      if (line == lines.end()) line = lines.insert(lines.end(), {op, axis, spec->cause, 0, Bytes{0}});
      line->count += section.iterations;
      for (const CollectivePart& part : spec->parts)
        line->bytes_per_rank += Bytes(part.piece_elements * members * size_of(part.type)) * section.iterations;
    }
  return lines;
}

// Score and value products of causal attention touch half the pairs; of a window, those inside it.
double attended_pairs(const AttendSpec& attend) {
  double n = static_cast<double>(attend.length);
  if (attend.mask == Mask::full) return n * n;
  if (attend.mask == Mask::causal) return n * n / 2;
  double w = std::min(n, static_cast<double>(attend.window));
  return n * w - w * w / 2;
}

double attend_flops(const AttendSpec& attend) {
  double batch = 1;
  for (const AttendDim& dim : attend.batch) batch *= static_cast<double>(dim.size);
  return 2 * batch * attended_pairs(attend) * static_cast<double>(attend.qk_size + attend.v_size);
}

double product_flops(const KernelSpec& spec) {
  if (const auto* product = std::get_if<ProductSpec>(&spec)) {
    double n = 2.0 * static_cast<double>(product->m) * static_cast<double>(product->n) * static_cast<double>(product->k);
    for (const ProductDim& dim : product->batch) n *= static_cast<double>(dim.size);
    return n;
  }
  if (const auto* classifier = std::get_if<ClassifierSpec>(&spec))
    return (classifier->backward ? 6.0 : 2.0) * static_cast<double>(classifier->rows) * static_cast<double>(classifier->entries) *
           static_cast<double>(classifier->width);
  if (const auto* forward = std::get_if<AttendForwardSpec>(&spec)) return attend_flops(forward->attend);
  // Of the backward pass the recomputed scores are not counted.
  if (const auto* backward = std::get_if<AttendBackwardSpec>(&spec)) return 2 * attend_flops(backward->attend);
  return 0;
}

double flops_of_step(const Plan& plan) {
  double total = 0;
  for (const Section& section : plan.programs.front().sections)
    for (const Instruction& instruction : section.instructions)
      if (const auto* spec = std::get_if<KernelSpec>(&instruction.op)) total += product_flops(*spec) * static_cast<double>(section.iterations);
  return total * static_cast<double>(plan.contract.layout.world_size());
}

}  // namespace

Explanation explain(const Plan& plan) {
  Explanation out;
  const Contract& contract = plan.contract;
  out.layout = contract.layout.name;
  out.target = plan.target.name;
  out.world_size = contract.layout.world_size();
  out.mesh = contract.layout.mesh;
  for (std::size_t p = 0; p < contract.model.parameters.size(); ++p) out.parameters += element_count(contract.model, ParameterId(p));
  out.flops_per_step = flops_of_step(plan);
  out.rank_classes.push_back(memory_of(plan));
  out.collectives = collectives_of(plan);
  out.autos = contract.autos;
  return out;
}

}  // namespace dsc
