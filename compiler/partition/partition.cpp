#include "compiler/partition/partition.h"

#include "compiler/partition/flatten.h"
#include "compiler/partition/program.h"
#include "compiler/partition/storage.h"
#include "compiler/partition/views.h"

namespace dsc {

local::Partitioned partition(const PartitionInput& input) {
  local::Partitioned out;
  const local::Storage storage = local::place_parameters(input, out);
  const local::Sizes sizes = local::local_sizes(input.model, input.layout.micro_batch);
  const auto add = [&](const Graph* graph, local::ProgramKind kind) {
    if (graph == nullptr) return;
    const local::FlatGraph flat = local::flatten(*graph, input.model, sizes, input.target);
    out.programs.push_back(local::build_program(input, *graph, flat, storage, kind, out));
  };
  add(input.step, local::ProgramKind::step);
  add(input.evaluate, local::ProgramKind::evaluate);
  add(input.sample, local::ProgramKind::sample);
  return out;
}

}  // namespace dsc
