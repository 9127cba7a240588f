// The workers and the lists of what they may run. One lock guards the lists; it is taken to enter and to leave an
// instruction, never for a tile. A worker that finds nothing yields its core for a moment, then sleeps until an
// instruction opens: waking a sleeper takes as long as many an instruction.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/executor/loaded_program.h"

namespace dsc {

class Scheduler {
 public:
  // `largest`: the largest section and the number of ranks bound every list, which never grow afterwards.
  Scheduler(ExecutorOptions options, int threads, std::size_t ranks, std::size_t largest_section, std::size_t kinds);
  ~Scheduler();

  // Starts the workers. An error where the system refuses one; call nothing else then.
  Status start(int threads);
  Status run(LoadedProgram& program);
  int threads() const { return static_cast<int>(workers_.size()); }
  void add_to(Profile& profile) const;  // rows are already there, by kind

 private:
  struct Rank {
    std::size_t section = 0;
    std::int64_t iteration = 0;
    std::size_t left = 0;           // instructions of this iteration
    std::int64_t completed = 0;     // in this program: who lags is served first
    std::vector<int> pending;       // predecessors left, by instruction
  };
  struct Tally {  // by kind
    std::int64_t count = 0, busy_ns = 0, waiting_ns = 0;
    double flops = 0;
  };
  struct Seat {  // a worker's place in an instruction
    Work* work = nullptr;
    int slot = 0;
    std::int64_t tile = 0;
  };

  void worker(std::size_t number);
  bool claim(Work& work, std::size_t worker, Seat& seat);
  Work* best(int home);
  bool take(std::size_t worker, Seat& seat, int& home);  // home: the rank that the worker was at last
  bool more_to_take() const;
  // Without the lock: whether an instruction opened within a moment.
  bool opens_soon(std::uint32_t seen) const;
  void run_tiles(std::size_t worker, const Seat& seat, Tally* tallies);
  void run_tile(const Work& work, std::int64_t tile, int slot);
  void leave(const Seat& seat);
  // Opens the work's phase, or the next one that has tiles; completes it where none has.
  void open_phase(Work& work, int phase);
  void arrive(std::size_t rank, std::size_t index);
  void start_iteration(std::size_t rank);
  void settle();  // finishes what open_phase completed
  void fail(const Error& error);
  std::int64_t now() const;

  const ExecutorOptions options_;
  const bool may_yield_;  // not where workers outnumber cores
  mutable std::mutex mutex_;
  std::condition_variable wake_, done_;
  LoadedProgram* program_ = nullptr;
  std::vector<Rank> ranks_;
  std::vector<Work*> urgent_, open_, completed_;
  std::size_t ranks_left_ = 0;
  int sleeping_ = 0, running_ = 0;
  bool quit_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint32_t> opened_{0};  // changes whenever there is something new to take
  std::optional<Error> error_;

  std::vector<Tally> shared_tallies_;
  std::vector<std::vector<Tally>> worker_tallies_;
  std::int64_t wall_ns_ = 0, runs_ = 0;
  std::vector<std::thread> workers_;  // last: they use all of the above
};

}  // namespace dsc
