// When to gather the parameters of which this rank keeps pieces, and which together. In: the instructions of a section
// in order. Out: gathers, each before an instruction, and which of them serves each read.
#pragma once

#include <vector>

#include "compiler/partition/partition.h"
#include "compiler/support/layout.h"

namespace dsc::local {

struct Gather {
  std::size_t before = 0;  // index of an instruction
  std::vector<ParameterId> parameters;
  bool backward = false;   // of the first use
};

struct GatherPlan {
  std::vector<Gather> gathers;  // ascending `before`
  // [instruction][k]: which gather serves instruction.reads[k].
  std::vector<std::vector<std::size_t>> served_by;
};

GatherPlan plan_gathers(const std::vector<Instruction>& instructions, const Partitioned& partitioned, const LayoutSpec& layout);

}  // namespace dsc::local
