#include "tests/mutation/plan_facts.h"

#include <algorithm>

namespace dsc::testing {
namespace {

bool reads_output(const KernelSpec& spec, std::size_t output) {
  if (const auto* map = std::get_if<MapSpec>(&spec)) return map->outputs[output].accumulate;
  if (const auto* product = std::get_if<ProductSpec>(&spec)) return product->outputs[output].accumulate;
  if (const auto* lookup = std::get_if<LookupBackwardSpec>(&spec)) return lookup->accumulate;
  if (const auto* loss = std::get_if<AddLossSpec>(&spec)) return !loss->first;
  return std::holds_alternative<UpdateSpec>(spec) || std::holds_alternative<ControlSpec>(spec) || std::holds_alternative<BeginStepSpec>(spec);
}

}  // namespace

std::vector<Touch> touches(const Plan& plan, const Instruction& instruction) {
  std::vector<Touch> list;
  std::int64_t ranks = plan.contract.layout.data_ranks();
  auto add = [&](const BufferUse& use, bool write) {
    std::int64_t begin = plan.buffer(use.buffer).offset.value + use.offset.value;
    list.push_back({use.buffer, begin, begin + use.bytes.value + (ranks - 1) * use.rank_stride.value, write});
  };
  for (const BufferUse& use : instruction.inputs) add(use, false);
  for (std::size_t i = 0; i < instruction.outputs.size(); ++i) {
    if (const auto* kernel = std::get_if<KernelSpec>(&instruction.op); kernel && reads_output(*kernel, i)) add(instruction.outputs[i], false);
    add(instruction.outputs[i], true);
  }
  if (instruction.workspace) add(*instruction.workspace, true);
  if (const auto* collective = std::get_if<CollectiveSpec>(&instruction.op))
    for (const CollectivePart& part : collective->parts) {
      add(part.from, false);
      add(part.to, true);
    }
  return list;
}

std::vector<std::vector<bool>> ordered(const Section& section) {
  std::size_t n = section.instructions.size();
  std::vector<std::vector<bool>> before(n, std::vector<bool>(n, false));
  for (std::size_t b = 0; b < n; ++b) {
    auto after = [&](std::size_t a) {
      before[a][b] = true;
      for (std::size_t x = 0; x < n; ++x)
        if (before[x][a]) before[x][b] = true;
    };
    for (std::size_t a = b; a-- > 0;)
      if (section.instructions[a].engine == section.instructions[b].engine) {
        after(a);
        break;
      }
    for (int wait : section.instructions[b].waits) after(static_cast<std::size_t>(wait));
  }
  return before;
}

bool has_race(const Plan& plan, const Section& section) {
  std::vector<std::vector<bool>> before = ordered(section);
  std::vector<std::vector<Touch>> all;
  for (const Instruction& instruction : section.instructions) all.push_back(touches(plan, instruction));
  for (std::size_t b = 0; b < all.size(); ++b)
    for (std::size_t a = 0; a < b; ++a) {
      if (before[a][b]) continue;
      for (const Touch& x : all[a])
        for (const Touch& y : all[b])
          if ((x.write || y.write) && x.begin < y.end && y.begin < x.end) return true;
    }
  return false;
}

std::vector<Span> spans(const Plan& plan, const Program& program) {
  std::vector<Span> spans(plan.buffers.size());
  int position = 0;
  for (const Section& section : program.sections)
    for (const Instruction& instruction : section.instructions) {
      for (const Touch& touch : touches(plan, instruction)) {
        Span& span = spans[touch.buffer.index()];
        if (span.first < 0) span.first = position;
        span.last = position;
      }
      ++position;
    }
  for (std::size_t b = 0; b < spans.size(); ++b)
    if (plan.buffers[b].persistent) spans[b] = {0, position - 1};
  return spans;
}

void remove_instruction(Section& section, int index) {
  std::vector<int> inherited = section.instructions[index].waits;
  section.instructions.erase(section.instructions.begin() + index);
  for (Instruction& instruction : section.instructions) {
    std::vector<int> waits;
    for (int wait : instruction.waits) {
      if (wait < index) waits.push_back(wait);
      else if (wait > index) waits.push_back(wait - 1);
      else
        for (int w : inherited)
          if (section.instructions[w].engine != instruction.engine) waits.push_back(w);
    }
    std::sort(waits.begin(), waits.end());
    waits.erase(std::unique(waits.begin(), waits.end()), waits.end());
    instruction.waits = std::move(waits);
  }
}

}  // namespace dsc::testing
