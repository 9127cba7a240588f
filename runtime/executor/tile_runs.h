// The tiles of a phase, handed out to workers without a lock. Each worker has a run of neighbouring tiles, the same part of every
// phase, so that what one instruction leaves in its core's caches the next one finds there; where its own are gone it helps with others'.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace dsc {

class TileRuns {
 public:
  static constexpr int none = -1;

  // Before any worker takes one.
  void open(std::int64_t tiles, int workers) {
    count_ = std::clamp(workers, 1, most);
    for (int i = 0; i < count_; ++i) {
      runs_[i].next.store(tiles * i / count_, std::memory_order_relaxed);
      runs_[i].end = tiles * (i + 1) / count_;
    }
  }
  // A tile that nobody else has, or none.
  std::int64_t take(std::size_t worker) {
    const int own = static_cast<int>(worker % static_cast<std::size_t>(count_));
    for (int i = 0; i < count_; ++i) {
      Run& run = runs_[(own + i) % count_];
      if (run.next.load(std::memory_order_relaxed) >= run.end) continue;
      const std::int64_t tile = run.next.fetch_add(1, std::memory_order_relaxed);
      if (tile < run.end) return tile;
    }
    return none;
  }
  bool left() const {
    return std::any_of(runs_, runs_ + count_, [](const Run& run) { return run.next.load(std::memory_order_relaxed) < run.end; });
  }

 private:
  static constexpr int most = 4;
  struct alignas(64) Run {  // a cache line each
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  Run runs_[most];
  int count_ = 1;
};

}  // namespace dsc
