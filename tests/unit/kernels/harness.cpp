#include "tests/unit/kernels/harness.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <thread>

namespace dsc::test {
namespace {

constexpr std::byte guard{0xA5};

struct Free {
  void operator()(void* p) const { std::free(p); }
};

// Workspace of exactly the planned bytes between guards, filled with NaNs: what a kernel does not write it must not use.
struct Workspace_ {
  std::unique_ptr<void, Free> memory;
  std::int64_t bytes = 0;
  explicit Workspace_(std::int64_t size) : memory(std::aligned_alloc(64, static_cast<std::size_t>((size + 128 + 63) / 64 * 64))), bytes(size) {
    std::memset(memory.get(), static_cast<int>(guard), 64);
    std::memset(data(), 0xff, static_cast<std::size_t>(size));
    std::memset(data() + size, static_cast<int>(guard), 64);
  }
  char* data() const { return static_cast<char*>(memory.get()) + 64; }
  bool guards_hold() const {
    for (int i = 0; i < 64; ++i)
      if (data()[-64 + i] != static_cast<char>(guard) || data()[bytes + i] != static_cast<char>(guard)) return false;
    return true;
  }
};

enum class Order { ascending, descending, threads };

void run_in(const Kernel& kernel, std::int64_t slots, Order order) {
  for (int phase = 0; phase < kernel.phases(); ++phase) {
    const int tiles = kernel.tiles(phase);
    if (order == Order::ascending) {
      for (int tile = 0; tile < tiles; ++tile) kernel.run(phase, tile, 0);
    } else if (order == Order::descending) {
      for (int tile = tiles; tile-- > 0;) kernel.run(phase, tile, static_cast<int>(tile % slots));
    } else {
      std::atomic<int> next{0};
      std::vector<std::thread> threads;
      for (int slot = 0; slot < std::min<std::int64_t>(slots, 3); ++slot)
        threads.emplace_back([&, slot] { for (int tile; (tile = next++) < tiles;) kernel.run(phase, tile, slot); });
      for (std::thread& thread : threads) thread.join();
    }
  }
}

}  // namespace

std::uint64_t Random::bits() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

Buffer::Buffer(DType t, std::int64_t n) : type(t), elements(n), bytes(static_cast<std::size_t>(n * size_of(t)) + 128, guard) {
  std::memset(data(), 0, static_cast<std::size_t>(n * size_of(t)));
}

void Buffer::fill(Random& random, double lo, double hi) {
  for (std::int64_t i = 0; i < elements; ++i) set(i, type == DType::i32 ? static_cast<double>(random.below(7) - 3) : random.between(lo, hi));
}

void Buffer::fill_ids(Random& random, std::int64_t entries, double none) {
  for (std::int64_t i = 0; i < elements; ++i) set(i, random.chance(none) ? -1.0 : static_cast<double>(random.below(entries)));
}

bool Buffer::guards_hold() const {
  for (std::size_t i = 0; i < 64; ++i)
    if (bytes[i] != guard || bytes[bytes.size() - 1 - i] != guard) return false;
  return true;
}

Bindings bind(Case& c, std::vector<Buffer>& outputs) {
  Bindings bindings;
  for (Buffer& b : c.inputs) bindings.inputs.push_back(b.data());
  for (Buffer& b : outputs) bindings.outputs.push_back(b.data());
  bindings.train = c.train;
  return bindings;
}

void run_all(const Kernel& kernel, std::int64_t slots) { run_in(kernel, slots, Order::descending); }

void check(Case& c, const std::string& what) {
  const Workspace plan = workspace_of(c.spec, c.target);
  std::vector<Buffer> expected = c.outputs;
  reference::run(c.spec, bind(c, expected));
  std::vector<std::vector<Buffer>> results;
  for (Order order : {Order::ascending, Order::descending, Order::threads}) {
    results.push_back(c.outputs);
    Workspace_ workspace(plan.total().value);
    Bindings bindings = bind(c, results.back());
    bindings.workspace = workspace.data();
    auto kernel = prepare(c.spec, bindings, c.target);
    ASSERT_TRUE(kernel) << what;
    for (int phase = 0; phase < (*kernel)->phases(); ++phase) ASSERT_GE((*kernel)->tiles(phase), 1) << what;
    run_in(**kernel, plan.slots, order);
    EXPECT_TRUE(workspace.guards_hold()) << what << ": wrote outside the workspace";
    for (std::size_t o = 0; o < c.outputs.size(); ++o) EXPECT_TRUE(results.back()[o].guards_hold()) << what << ": wrote outside output " << o;
  }
  for (std::size_t run = 1; run < results.size(); ++run)
    for (std::size_t o = 0; o < c.outputs.size(); ++o)
      EXPECT_EQ(std::memcmp(results[0][o].data(), results[run][o].data(), results[0][o].bytes.size() - 128), 0)
          << what << ": output " << o << " depends on the order of tiles";
  for (std::size_t o = 0; o < c.outputs.size(); ++o) {
    const double tolerance = o < c.tolerance.size() ? c.tolerance[o] : 0;
    double worst = 0;
    std::int64_t where = -1;
    for (std::int64_t i = 0; i < c.outputs[o].elements; ++i) {
      const double a = results[0][o].get(i), b = expected[o].get(i);
      if (a == b || (std::isnan(a) && std::isnan(b))) continue;
      double error = std::fabs(a - b) / std::max(1.0, std::fabs(b));
      if (std::isnan(error)) error = INFINITY;
      if (error > worst) worst = error, where = i;
    }
    EXPECT_LE(worst, tolerance) << what << ": output " << o << " [" << where << "] is " << (where < 0 ? 0 : results[0][o].get(where)) << ", not "
                                << (where < 0 ? 0 : expected[o].get(where));
  }
  c.outputs = results[0];
}

}  // namespace dsc::test
