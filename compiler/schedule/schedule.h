// One rank's instructions in, one order over the engines compute, communication and storage out: parameters gathered
// ahead of use within the layout's bucket, prefetch, max_live and reuse_distance, gradients reduced in buckets as they
// are complete, and the waits that the data need.
//
// Guarantees: at every place of the order the gathered parameters are within max_live (or are just those of one
// instruction), and no wait is implied by the others.
#pragma once

#include <string>
#include <vector>

#include "compiler/partition/partition.h"
#include "compiler/support/layout.h"

namespace dsc::local {

struct ScheduledInstruction {
  Instruction instruction;  // every input has its buffer
  std::vector<int> waits;   // indices in the section, of other engines, ascending
};

struct ScheduledSection {
  std::string name;
  std::int64_t first_micro_batch = 0, iterations = 1;
  std::vector<ScheduledInstruction> instructions;
};

struct ScheduledProgram {
  std::string name;
  std::vector<ScheduledSection> sections;
};

struct Scheduled {
  std::vector<Buffer> buffers;  // those of the partition, in the same places, then the gathered ones
  std::vector<ScheduledProgram> programs;
};

}  // namespace dsc::local

namespace dsc {

local::Scheduled schedule(const local::Partitioned& partitioned, const LayoutSpec& layout);

// For `--emit schedule`: one line an instruction, one column an engine.
std::string print(const local::Scheduled& scheduled);

}  // namespace dsc
