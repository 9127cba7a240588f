// A program with everything resolved: kernels prepared, addresses bound, dependencies counted. A plan, the arenas and the
// options in, what the scheduler runs out.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"
#include "kernels/ops.h"
#include "runtime/collectives/shared_collective.h"
#include "runtime/executor/executor.h"
#include "runtime/executor/tile_runs.h"

namespace dsc {

// What workers run: a kernel on one rank, or a collective of a group. The mutable part belongs to the scheduler.
struct Work {
  // fixed
  std::unique_ptr<Kernel> kernel;
  std::unique_ptr<SharedCollective> collective;
  RowsWanted rows;                     // neither of the two: a read_batch
  const Instruction* instruction = nullptr;
  int index = 0;                       // of the instruction, in its section
  std::vector<int> ranks;              // one, or the members
  int slots = 1;                       // workers inside at once
  int kind = 0;                        // row of the profile
  bool urgent = false;                 // not compute: others wait for it
  double flops = 0;

  // under the scheduler's lock
  int phase = 0, arrived = 0, inside = 0;
  std::uint64_t free_slots = 0;
  std::int64_t ready_ns = 0, arrivals_ns = 0;
  // claimed without it
  TileRuns tiles;                      // of the phase

  int phases() const { return kernel ? kernel->phases() : collective ? collective->phases() : 1; }
  std::int64_t tiles_of(int p) const { return kernel ? kernel->tiles(p) : collective ? collective->tiles(p) : 1; }
};

struct LoadedSection {
  std::int64_t first_micro_batch = 0, iterations = 1;
  std::size_t instructions = 0;
  std::vector<int> predecessors;     // how many, by instruction: engine order and waits
  std::vector<int> successor_begin;  // successors[successor_begin[i] .. successor_begin[i + 1])
  std::vector<int> successors;
  std::vector<Work*> works;          // [rank * instructions + index]
};

struct LoadedProgram {
  std::string name;
  std::vector<LoadedSection> sections;
  std::deque<Work> works;
  std::size_t largest_section = 0;
};

// Kinds of instructions, in order of first appearance over all programs.
struct ProfileKinds {
  std::vector<std::pair<Engine, std::string>> list;
  int of(Engine engine, const std::string& kind);
};

Result<std::unique_ptr<LoadedProgram>> load_program(const Plan& plan, const Program& program,
                                                    const std::vector<std::byte*>& arenas, ProfileKinds& kinds);

}  // namespace dsc
