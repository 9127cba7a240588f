#include "runtime/executor/scheduler.h"

#include <bit>
#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "compiler/support/diagnostic_codes.h"

namespace dsc {
namespace {

// How long a worker looks for work before it sleeps, about twice what it takes to wake one.
constexpr std::chrono::microseconds kMoment{50};

}  // namespace

Scheduler::Scheduler(ExecutorOptions options, int threads, std::size_t ranks, std::size_t largest_section, std::size_t kinds)
    : options_(std::move(options)), may_yield_(threads > 1 && threads <= affinity_cores()), ranks_(ranks), shared_tallies_(kinds), worker_tallies_(threads) {
  for (Rank& rank : ranks_) rank.pending.assign(largest_section, 0);
  // A rank has at most one open instruction an engine, but what completes at once may be as long as a section.
  for (std::vector<Work*>* list : {&urgent_, &open_}) list->reserve(ranks * 3 + 1);
  completed_.reserve(ranks * (largest_section + 1));
  for (std::vector<Tally>& tallies : worker_tallies_) tallies.assign(kinds, {});
}

Status Scheduler::start(int threads) {
  try {
    for (int i = 0; i < threads; ++i) workers_.emplace_back([this, i] { worker(static_cast<std::size_t>(i)); });
  } catch (const std::system_error& refused) {
    return Error{str(Code::step_failed), "cannot start worker thread " + std::to_string(workers_.size() + 1) + " of " +
                                             std::to_string(threads) + ": " + refused.code().message(),
                 "ask for fewer with --threads, or raise the limit on processes (`ulimit -u`)"};
  }
  return {};
}

Scheduler::~Scheduler() {
  {
    std::lock_guard lock(mutex_);
    quit_ = true;
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

std::int64_t Scheduler::now() const {
  if (!options_.profile) return 0;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Status Scheduler::run(LoadedProgram& program) {
  std::unique_lock lock(mutex_);
  if (error_) return *error_;
  const std::int64_t begun = now();
  program_ = &program;
  ranks_left_ = ranks_.size();
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    ranks_[rank].section = 0;
    ranks_[rank].iteration = -1;
    ranks_[rank].left = 0;
    ranks_[rank].completed = 0;
  }
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) start_iteration(rank);
  settle();
  wake_.notify_one();
  done_.wait(lock, [&] { return running_ == 0 && (ranks_left_ == 0 || error_); });
  program_ = nullptr;
  wall_ns_ += now() - begun;
  ++runs_;
  if (error_) return *error_;
  return {};
}

// ---- Under the lock: streams -------------------------------------------------------------------------------------------

void Scheduler::start_iteration(std::size_t number) {
  Rank& rank = ranks_[number];
  ++rank.iteration;
  while (rank.section < program_->sections.size() && (rank.iteration >= program_->sections[rank.section].iterations ||
                                                      program_->sections[rank.section].instructions == 0)) {
    ++rank.section;
    rank.iteration = 0;
  }
  if (rank.section == program_->sections.size()) {
    --ranks_left_;
    return;
  }
  const LoadedSection& section = program_->sections[rank.section];
  rank.left = section.instructions;
  for (std::size_t i = 0; i < section.instructions; ++i) rank.pending[i] = section.predecessors[i];
  for (std::size_t i = 0; i < section.instructions; ++i)
    if (section.predecessors[i] == 0) arrive(number, i);
}

void Scheduler::arrive(std::size_t number, std::size_t index) {
  const Rank& rank = ranks_[number];
  const LoadedSection& section = program_->sections[rank.section];
  Work& work = *section.works[number * section.instructions + index];
  if (options_.profile && work.ranks.size() > 1) work.arrivals_ns += now();
  if (++work.arrived < static_cast<int>(work.ranks.size())) return;
  work.arrived = 0;
  if (!work.kernel && !work.collective) work.rows.micro_batch = section.first_micro_batch + rank.iteration;
  if (options_.profile) {
    const std::int64_t at = now();
    work.ready_ns = at;
    Tally& tally = shared_tallies_[work.kind];
    ++tally.count;
    tally.flops += work.flops;
    if (work.ranks.size() > 1) {
      tally.waiting_ns += at * static_cast<std::int64_t>(work.ranks.size()) - work.arrivals_ns;
      work.arrivals_ns = 0;
    }
  }
  open_phase(work, 0);
}

void Scheduler::open_phase(Work& work, int phase) {
  while (phase < work.phases() && work.tiles_of(phase) == 0) ++phase;
  if (phase == work.phases()) {
    completed_.push_back(&work);
    return;
  }
  work.phase = phase;
  work.tiles.open(work.tiles_of(phase), threads());
  work.free_slots = work.slots >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << work.slots) - 1;
  (work.urgent ? urgent_ : open_).push_back(&work);
  opened_.fetch_add(1, std::memory_order_relaxed);
}

void Scheduler::settle() {
  while (!completed_.empty()) {
    Work& work = *completed_.back();
    completed_.pop_back();
    for (int number : work.ranks) {
      Rank& rank = ranks_[number];
      const LoadedSection& section = program_->sections[rank.section];
      ++rank.completed;
      if (--rank.left == 0) {
        start_iteration(static_cast<std::size_t>(number));
        continue;
      }
      for (int s = section.successor_begin[work.index]; s < section.successor_begin[work.index + 1]; ++s) {
        const int next = section.successors[s];
        if (--rank.pending[next] == 0) arrive(static_cast<std::size_t>(number), static_cast<std::size_t>(next));
      }
    }
  }
}

// ---- Under the lock: seats ---------------------------------------------------------------------------------------------

bool Scheduler::claim(Work& work, std::size_t worker, Seat& seat) {
  const std::int64_t tile = work.tiles.take(worker);
  if (tile == TileRuns::none) return false;
  const int slot = std::countr_zero(work.free_slots);
  work.free_slots &= work.free_slots - 1;
  ++work.inside;
  ++running_;
  seat = {&work, slot, tile};
  return true;
}

// First comes what all members of a group wait for; then the rank that this worker was at last, whose data its caches hold; then of the
// ranks that no worker is at the one that lags; then a hand for another worker.
Work* Scheduler::best(int home) {
  for (std::vector<Work*>* list : {&urgent_, &open_}) {
    std::erase_if(*list, [](const Work* work) { return !work->tiles.left(); });
    Work* best = nullptr;
    std::pair<int, std::int64_t> least;
    for (Work* work : *list) {
      if (work->free_slots == 0) continue;
      const int rank = work->ranks[0];
      const std::pair<int, std::int64_t> key{rank == home ? 0 : work->inside == 0 ? 1 : 2, ranks_[rank].completed};
      if (best == nullptr || key < least) best = work, least = key;
    }
    if (best != nullptr) return best;
  }
  return nullptr;
}

bool Scheduler::take(std::size_t worker, Seat& seat, int& home) {
  while (!stopping_.load(std::memory_order_relaxed)) {
    Work* work = best(home);
    if (work == nullptr) return false;
    const bool first = work->inside == 0 && work->phase == 0;
    if (!claim(*work, worker, seat)) continue;  // its last tile is gone by now
    if (first && options_.profile) shared_tallies_[work->kind].waiting_ns += now() - work->ready_ns;
    if (!work->urgent) home = work->ranks[0];
    return true;
  }
  return false;
}

bool Scheduler::more_to_take() const {
  for (const std::vector<Work*>* list : {&urgent_, &open_})
    for (const Work* work : *list)
      if (work->free_slots != 0 && work->tiles.left()) return true;
  return false;
}

void Scheduler::leave(const Seat& seat) {
  Work& work = *seat.work;
  work.free_slots |= std::uint64_t{1} << seat.slot;
  --work.inside;
  --running_;
  if (work.inside > 0 || stopping_.load(std::memory_order_relaxed)) return;
  // All tiles are claimed (else this worker would still be at them) and nobody is inside: the phase has ended. The list
  // may still hold the work; it must leave it before it can open again.
  std::erase(work.urgent ? urgent_ : open_, &work);
  open_phase(work, work.phase + 1);
  settle();
}

void Scheduler::fail(const Error& error) {
  if (!error_) error_ = error;
  stopping_ = true;
}

// ---- The workers -------------------------------------------------------------------------------------------------------

void Scheduler::worker(std::size_t number) {
  Tally* tallies = worker_tallies_[number].data();
  std::unique_lock lock(mutex_);
  int home = -1;
  while (true) {
    Seat seat;
    if (take(number, seat, home)) {
      const bool wake = sleeping_ > 0 && more_to_take();
      lock.unlock();
      if (wake) wake_.notify_one();
      run_tiles(number, seat, tallies);
      lock.lock();
      leave(seat);
      if (running_ == 0 && (ranks_left_ == 0 || error_)) done_.notify_one();
      continue;
    }
    if (quit_) return;
    if (program_ != nullptr && running_ == 0 && ranks_left_ > 0 && !error_) {
      // Nothing runs and nothing is open, so nothing will ever be.
      fail({str(Code::step_failed), "the plan's " + program_->name + " program cannot go on: every rank waits for another",
            "plan again with `dsc plan`, and check the plan with `dsc verify`"});
      done_.notify_one();
    }
    const std::uint32_t seen = opened_.load(std::memory_order_relaxed);
    if (may_yield_ && program_ != nullptr && running_ > 0) {
      lock.unlock();
      const bool opened = opens_soon(seen);
      lock.lock();
      if (opened || opened_.load(std::memory_order_relaxed) != seen) continue;
    }
    if (quit_) return;
    ++sleeping_;
    wake_.wait(lock);
    --sleeping_;
  }
}

bool Scheduler::opens_soon(std::uint32_t seen) const {
  const auto until = std::chrono::steady_clock::now() + kMoment;
  while (std::chrono::steady_clock::now() < until) {
    if (opened_.load(std::memory_order_relaxed) != seen) return true;
    std::this_thread::yield();
  }
  return false;
}

void Scheduler::run_tiles(std::size_t worker, const Seat& seat, Tally* tallies) {
  Work& work = *seat.work;
  const std::int64_t begun = now();
  try {
    for (std::int64_t tile = seat.tile; tile != TileRuns::none; tile = work.tiles.take(worker)) {
      if (stopping_.load(std::memory_order_relaxed)) return;
      run_tile(work, tile, seat.slot);
    }
  } catch (const std::exception& failure) {
    std::lock_guard lock(mutex_);
    fail({str(Code::step_failed), "`" + work.instruction->name + "` failed on rank " + std::to_string(work.ranks[0]) + ": " + failure.what(),
          "the last checkpoint is intact: go on from it with --resume"});
  }
  if (options_.profile) tallies[work.kind].busy_ns += now() - begun;
}

void Scheduler::run_tile(const Work& work, std::int64_t tile, int slot) {
  if (options_.before_tile) options_.before_tile(*work.instruction, work.ranks[0]);
  if (work.kernel) {
    work.kernel->run(work.phase, static_cast<int>(tile), slot);
  } else if (work.collective) {
    work.collective->run(work.phase, tile);
  } else if (Status status = options_.reader(work.rows); !status) {
    std::lock_guard lock(mutex_);
    fail(status.error());
  }
}

void Scheduler::add_to(Profile& profile) const {
  std::lock_guard lock(mutex_);
  for (std::size_t kind = 0; kind < shared_tallies_.size(); ++kind) {
    ProfileRow& row = profile.rows[kind];
    row.count += shared_tallies_[kind].count;
    row.flops += shared_tallies_[kind].flops;
    row.waiting_seconds += static_cast<double>(shared_tallies_[kind].waiting_ns) * 1e-9;
    for (const std::vector<Tally>& tallies : worker_tallies_) row.busy_seconds += static_cast<double>(tallies[kind].busy_ns) * 1e-9;
  }
  profile.wall_seconds += static_cast<double>(wall_ns_) * 1e-9;
  profile.runs += runs_;
  profile.threads = threads();
}

}  // namespace dsc
