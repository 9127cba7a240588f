// Runs a kernel on seeded operands: ascending, descending and on threads, with poisoned workspace and guarded buffers, and
// compares bits between the runs and values with the reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace dsc::test {

// A seeded generator of its own, so that tests read the same everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}
  std::uint64_t bits();
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(bits() % static_cast<std::uint64_t>(n)); }
  double unit() { return static_cast<double>(bits() >> 11) / 9007199254740992.0; }  // [0, 1)
  double between(double lo, double hi) { return lo + (hi - lo) * unit(); }
  bool chance(double p) { return unit() < p; }
  template <class T>
  T pick(const std::vector<T>& from) { return from[static_cast<std::size_t>(below(static_cast<std::int64_t>(from.size())))]; }

 private:
  std::uint64_t state_;
};

struct Buffer {
  DType type = DType::f32;
  std::int64_t elements = 0;
  std::vector<std::byte> bytes;  // a 64-byte guard on each side
  Buffer(DType type, std::int64_t elements);
  void* data() { return bytes.data() + 64; }
  const void* data() const { return bytes.data() + 64; }
  double get(std::int64_t i) const { return reference::get(data(), type, i); }
  void set(std::int64_t i, double value) { reference::set(data(), type, i, value); }
  void fill(Random& random, double lo = -1, double hi = 1);
  void fill_ids(Random& random, std::int64_t entries, double none = 0);  // i32 ids; -1 with probability `none`
  bool guards_hold() const;
};

struct Case {
  KernelSpec spec;
  std::vector<Buffer> inputs, outputs;
  Target target;
  const TrainSpec* train = nullptr;
  std::vector<double> tolerance;  // by output, relative to max(1, |reference|) times `scale`; missing: 0, the same bits
};

// EXPECTs that all runs agree with each other to the bit and with the reference within tolerance. Leaves the outputs of
// the kernel in `c.outputs`.
void check(Case& c, const std::string& what);

// Runs all tiles of all phases of the kernel on one thread.
void run_all(const Kernel& kernel, std::int64_t slots);

Bindings bind(Case& c, std::vector<Buffer>& outputs);

}  // namespace dsc::test
