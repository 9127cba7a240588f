// Runs a plan's programs on the CPU: a plan, the mapped arenas of all ranks and a reader of rows in; programs executed.
//
// Every rank has one instruction stream an engine. An instruction is ready when the one before it on its rank and engine
// and those that it waits for have ended; a collective when all its members are. Its tiles then go to any free worker: the
// only choice made here, and it moves no byte, so results do not depend on the number of workers. Everything is prepared
// in load(); run() allocates nothing. A reader's error or an exception ends a run with one error; the executor is then dead.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"

namespace dsc {

// The rows that a read_batch instruction wants: `rows` times `sequence` tokens and targets.
struct RowsWanted {
  bool validation = false;
  std::int64_t data_rank = 0, micro_batch = 0, rows = 0, sequence = 0;
  std::int32_t* tokens = nullptr;
  std::int32_t* targets = nullptr;  // null in a sample plan
};
// Called from any worker, from several at once.
using RowReader = std::function<Status(const RowsWanted&)>;

struct ExecutorOptions {
  int threads = 0;       // 0: one per core of the affinity mask
  bool profile = false;
  RowReader reader;
  // For tests of faults: called before each tile of each instruction of a rank; it may throw.
  std::function<void(const Instruction&, std::int64_t rank)> before_tile;
};

// Where the time of one kind of instruction went, over all runs so far.
struct ProfileRow {
  Engine engine = Engine::compute;
  std::string kind;           // "product backward", "all_gather", "read_batch"
  std::int64_t count = 0;     // instructions run, on all ranks
  double busy_seconds = 0;    // of workers inside it
  double waiting_seconds = 0; // from ready to begun; of a collective, also each member's wait for the last one
  double flops = 0;
};
struct Profile {
  std::vector<ProfileRow> rows;  // most time first
  double wall_seconds = 0;       // inside run()
  double idle_seconds = 0;       // of workers, while a program ran
  int threads = 0;
  std::int64_t runs = 0;
};
// The table that `--profile` prints, a line each.
std::vector<std::string> to_lines(const Profile& profile);

class Executor {
 public:
  // arenas[rank] is the base of rank's arena. Plan and arenas outlive the executor.
  static Result<std::unique_ptr<Executor>> load(const Plan& plan, const std::vector<std::byte*>& arenas, ExecutorOptions options);
  virtual ~Executor() = default;

  // Runs plan.programs[program] to its end on all ranks.
  virtual Status run(std::size_t program) = 0;
  virtual int threads() const = 0;
  virtual Profile profile() const = 0;
};

// Cores in this process's affinity mask.
int affinity_cores();

}  // namespace dsc
