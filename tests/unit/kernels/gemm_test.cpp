// The product of a block against sums in double, at the edges of vectors, of matrix registers and of steps along the contraction: what
// lies beside C stays as it was, and an element has the same bits in a block of any size.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/ops.h"
#include "tests/unit/kernels/harness.h"

namespace dsc::test {
namespace {

using std::int64_t;

struct Operands {
  std::vector<float> a, b;              // [m, k], [k, n]
  std::vector<std::uint16_t> a16, b16;  // rows; pairs of rows
};

Operands operands(int64_t m, int64_t n, int64_t k, int64_t lda, int64_t ldb) {
  Random random(static_cast<std::uint64_t>(m * 10000 + n * 100 + k));
  Operands out;
  out.a.assign(static_cast<std::size_t>(m * k), 0), out.b.assign(static_cast<std::size_t>(k * n), 0);
  // Beside the operands lies what must not be read into a sum.
  out.a16.assign(static_cast<std::size_t>(m * lda), 0x7fc0), out.b16.assign(static_cast<std::size_t>(k * ldb), 0x7fc0);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p) {
      std::uint16_t& at = out.a16[static_cast<std::size_t>(i * lda + p)];
      at = cpu::f32_to_bf16(static_cast<float>(random.between(-1, 1)));
      out.a[static_cast<std::size_t>(i * k + p)] = cpu::bf16_to_f32(at);
    }
  for (int64_t p = 0; p < k; ++p)
    for (int64_t j = 0; j < n; ++j) {
      std::uint16_t& at = out.b16[static_cast<std::size_t>((p / 2 * ldb + j) * 2 + p % 2)];
      at = cpu::f32_to_bf16(static_cast<float>(random.between(-1, 1)));
      out.b[static_cast<std::size_t>(p * n + j)] = cpu::bf16_to_f32(at);
    }
  return out;
}

TEST(Gemm, OfBf16AtEveryEdge) {
  if (!cpu_target().bf16_products) GTEST_SKIP() << "this CPU has no products of bf16";
  for (const int64_t m : {1, 15, 16, 17, 31, 32, 33, 65})
    for (const int64_t n : {17, 31, 32, 33, 48, 64, 80})
      for (const int64_t k : {2, 30, 32, 34, 64, 98})
        for (const bool accumulate : {false, true}) {
          const int64_t lda = k + 2, ldb = n + 3, ldc = n + 5;
          const Operands o = operands(m, n, k, lda, ldb);
          cpu::GemmShape shape;
          shape.type = DType::bf16;
          shape.m = m, shape.n = n, shape.k = k, shape.lda = lda, shape.ldb = ldb, shape.ldc = ldc, shape.accumulate = accumulate;
          std::vector<float> c(static_cast<std::size_t>(m * ldc), 0.5f);
          cpu::Gemm{shape}(o.a16.data(), o.b16.data(), c.data());
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < ldc; ++j) {
              const float value = c[static_cast<std::size_t>(i * ldc + j)];
              if (j >= n) {
                ASSERT_EQ(value, 0.5f) << m << "x" << n << "x" << k << ": beside row " << i;
                continue;
              }
              double sum = accumulate ? 0.5 : 0;
              for (int64_t p = 0; p < k; ++p)
                sum += static_cast<double>(o.a[static_cast<std::size_t>(i * k + p)]) * o.b[static_cast<std::size_t>(p * n + j)];
              ASSERT_NEAR(value, sum, 1e-6 * static_cast<double>(k + 4)) << m << "x" << n << "x" << k << " at " << i << ", " << j;
            }
        }
}

TEST(Gemm, OfBf16HasTheSameBitsInABlockOfAnySize) {
  if (!cpu_target().bf16_products) GTEST_SKIP() << "this CPU has no products of bf16";
  const int64_t m = 96, n = 64, k = 130;
  const Operands o = operands(m, n, k, k, n);
  auto product = [&](int64_t rows, int64_t columns) {
    std::vector<float> c(static_cast<std::size_t>(m * n));
    cpu::GemmShape shape;
    shape.type = DType::bf16;
    shape.m = rows, shape.n = columns, shape.k = k, shape.lda = k, shape.ldb = n, shape.ldc = n;
    const cpu::Gemm gemm(shape);
    for (int64_t i = 0; i < m; i += rows)
      for (int64_t j = 0; j < n; j += columns) gemm(o.a16.data() + i * k, o.b16.data() + 2 * j, c.data() + i * n + j);
    return c;
  };
  const std::vector<float> whole = product(m, n);
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{16, 32}, {32, 64}, {48, 32}, {24, 64}}) EXPECT_EQ(product(rows, columns), whole);
}

}  // namespace
}  // namespace dsc::test
