// GFLOP/s of the kernels of blocks alone (LIBXSMM's; dsc's own for bf16 in matrix registers), on all cores, on products weighted by their FLOPs: operands packed beforehand, panels of the
// Target's width into a tile of f32. One number on stdout. bf16 is multiplied in f32 where the CPU has no products of bf16, as in dsc.
// Usage: product_rate fp32|bf16 MxNxKxCOUNT...
#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/ops.h"

namespace {

using namespace dsc;
using std::int64_t;

struct Shape {
  int64_t m = 0, n = 0, k = 0, count = 0;
};

// One worker's part of a product: tiles [first, last), on operands of its own.
class Part {
 public:
  Part(const Shape& s, const Target& target, DType type, int64_t first, int64_t last)
      : s_(s), size_(size_of(type)), tile_m_(std::min(target.tile_m, s.m)), tile_n_(std::min(target.tile_n, 4 * target.vector)), block_(std::min(target.block_k, s.k)),
        first_(first), last_(last), a_(static_cast<std::size_t>(s.m * s.k * size_), kByte),
        b_(static_cast<std::size_t>(n_tiles() * tile_n_ * s.k * size_), kByte), tile_(static_cast<std::size_t>(tile_m_ * tile_n_)) {
    cpu::GemmShape shape;
    shape.type = type;
    shape.m = tile_m_, shape.n = tile_n_, shape.k = block_, shape.lda = s.k, shape.ldb = shape.ldc = tile_n_;
    begin_ = cpu::Gemm(shape);
    shape.accumulate = true;
    go_on_ = cpu::Gemm(shape);
  }
  void multiply() {
    const int64_t m_tiles = std::max<int64_t>(1, s_.m / tile_m_);
    for (int64_t t = first_; t < last_; ++t) {
      const char* rows = a_.data() + t / n_tiles() % m_tiles * tile_m_ * s_.k * size_;
      const char* panel = b_.data() + t % n_tiles() * tile_n_ * s_.k * size_;
      for (int64_t k = 0; k + block_ <= s_.k; k += block_) (k == 0 ? begin_ : go_on_)(rows + k * size_, panel + k * tile_n_ * size_, tile_.data());
    }
  }

 private:
  static constexpr char kByte = 0x3d;  // a small number in either type
  int64_t n_tiles() const { return std::max<int64_t>(1, s_.n / tile_n_); }

  Shape s_;
  int64_t size_, tile_m_, tile_n_, block_, first_, last_;
  std::vector<char> a_, b_;
  std::vector<float> tile_;
  cpu::Gemm begin_, go_on_;
};

// The best of some runs on all cores.
double seconds(const Shape& s, const Target& target, DType type) {
  const int64_t tile_n = std::min(target.tile_n, 4 * target.vector);
  const int64_t tile_m = std::min(target.tile_m, s.m), block = std::min(target.block_k, s.k);
  const int64_t tiles = std::max<int64_t>(1, s.m / tile_m) * std::max<int64_t>(1, s.n / tile_n);
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  constexpr int repeats = 6;
  std::vector<std::vector<double>> times(repeats, std::vector<double>(static_cast<std::size_t>(cores)));
  std::barrier together(cores);
  std::vector<std::thread> workers;
  for (int w = 0; w < cores; ++w)
    workers.emplace_back([&, w] {
      Part part(s, target, type, tiles * w / cores, tiles * (w + 1) / cores);
      for (int r = 0; r < repeats; ++r) {
        together.arrive_and_wait();
        const auto begin = std::chrono::steady_clock::now();
        part.multiply();
        times[static_cast<std::size_t>(r)][static_cast<std::size_t>(w)] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      }
    });
  for (std::thread& worker : workers) worker.join();
  double best = 1e30;
  for (const std::vector<double>& run : times) best = std::min(best, *std::max_element(run.begin(), run.end()));
  // What was really multiplied: whole tiles and blocks.
  const double done = 2.0 * static_cast<double>(tiles * tile_m * tile_n) * static_cast<double>(s.k / block * block);
  return best * 2.0 * static_cast<double>(s.m * s.n) * static_cast<double>(s.k) / done;
}

}  // namespace

int main(int argc, char** argv) {
  const Target target = cpu_target();
  const bool bf16 = argc > 1 && std::strcmp(argv[1], "bf16") == 0 && target.bf16_products;
  if (argc < 3) {
    std::fprintf(stderr, "usage: product_rate fp32|bf16 MxNxKxCOUNT...\n");
    return 2;
  }
  double flops = 0, total = 0;
  for (int i = 2; i < argc; ++i) {
    long long m, n, k, count;
    if (std::sscanf(argv[i], "%lldx%lldx%lldx%lld", &m, &n, &k, &count) != 4 || m < 1 || n < 1 || k < 2 || count < 1) {
      std::fprintf(stderr, "product_rate: `%s` is not MxNxKxCOUNT\n", argv[i]);
      return 2;
    }
    const Shape shape{m, n, k, count};
    const double best = seconds(shape, target, bf16 ? DType::bf16 : DType::f32);
    flops += 2.0 * static_cast<double>(m * n) * static_cast<double>(k) * static_cast<double>(count);
    total += best * static_cast<double>(count);
  }
  std::printf("%.1f\n", flops / total * 1e-9);
  return 0;
}
