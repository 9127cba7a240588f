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

// f32, and bf16 where the CPU multiplies it.
std::vector<DType> types() {
  if (cpu_target().bf16_products) return {DType::f32, DType::bf16};
  return {DType::f32};
}

struct Operands {
  std::vector<float> a, b;              // [m, k], [k, n]: the values, in either type
  std::vector<float> a32, b32;          // f32: rows lda and ldb apart
  std::vector<std::uint16_t> a16, b16;  // bf16: rows; pairs of rows

  cpu::GemmShape shape;
  const void* a_at(int64_t row) const {
    return shape.type == DType::f32 ? static_cast<const void*>(a32.data() + row * shape.lda) : a16.data() + row * shape.lda;
  }
  const void* b_at(int64_t column) const {
    return shape.type == DType::f32 ? static_cast<const void*>(b32.data() + column) : b16.data() + 2 * column;
  }
};

Operands operands(const cpu::GemmShape& shape) {
  const auto [type, m, n, k, lda, ldb, ldc, transposed, accumulate, bf16x3] = shape;
  Random random(static_cast<std::uint64_t>(m * 10000 + n * 100 + k));
  Operands out;
  out.shape = shape;
  out.a.assign(static_cast<std::size_t>(m * k), 0), out.b.assign(static_cast<std::size_t>(k * n), 0);
  // Beside the operands lies what must not be read into a sum.
  const float nan = std::nanf("");
  out.a32.assign(static_cast<std::size_t>(m * lda), nan), out.b32.assign(static_cast<std::size_t>(k * ldb), nan);
  out.a16.assign(static_cast<std::size_t>(m * lda), 0x7fc0), out.b16.assign(static_cast<std::size_t>(k * ldb), 0x7fc0);
  const auto value = [&random] { return cpu::f32_to_bf16(static_cast<float>(random.between(-1, 1))); };
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p) {
      const auto at = static_cast<std::size_t>(i * lda + p);
      out.a16[at] = value();
      out.a32[at] = out.a[static_cast<std::size_t>(i * k + p)] = cpu::bf16_to_f32(out.a16[at]);
    }
  for (int64_t p = 0; p < k; ++p)
    for (int64_t j = 0; j < n; ++j) {
      std::uint16_t& pair = out.b16[static_cast<std::size_t>((p / 2 * ldb + j) * 2 + p % 2)];
      pair = value();
      out.b32[static_cast<std::size_t>(p * ldb + j)] = out.b[static_cast<std::size_t>(p * n + j)] = cpu::bf16_to_f32(pair);
    }
  return out;
}

void check_block(const cpu::GemmShape& shape) {
  const auto [type, m, n, k, lda, ldb, ldc, transposed, accumulate, bf16x3] = shape;
  const Operands o = operands(shape);
  std::vector<float> c(static_cast<std::size_t>(m * ldc), 0.5f);
  cpu::Gemm{shape}(o.a_at(0), o.b_at(0), c.data());
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < ldc; ++j) {
      const float result = c[static_cast<std::size_t>(i * ldc + j)];
      if (j >= n) {
        ASSERT_EQ(result, 0.5f) << name_of(type) << " " << m << "x" << n << "x" << k << ": beside row " << i;
        continue;
      }
      double sum = accumulate ? 0.5 : 0;
      for (int64_t p = 0; p < k; ++p)
        sum += static_cast<double>(o.a[static_cast<std::size_t>(i * k + p)]) * o.b[static_cast<std::size_t>(p * n + j)];
      ASSERT_NEAR(result, sum, 1e-6 * static_cast<double>(k + 4)) << name_of(type) << " " << m << "x" << n << "x" << k << " at " << i << ", " << j;
    }
}

TEST(Gemm, AtEveryEdge) {
  for (const DType type : types())
    for (const int64_t m : {1, 15, 16, 17, 31, 32, 33, 65})
      for (const int64_t n : {17, 31, 32, 33, 48, 64, 80})
        for (const int64_t k : {2, 30, 32, 34, 64, 98})
          for (const bool accumulate : {false, true}) {
            check_block({type, m, n, k, k + 2, n + 3, n + 5, false, accumulate});
            if (HasFatalFailure()) return;
          }
}

TEST(Gemm, TheSameBitsInABlockOfAnySize) {
  const int64_t m = 96, n = 64, k = 130;
  for (const DType type : types()) {
    const Operands o = operands({type, m, n, k, k, n, n, false, false});
    auto product = [&](int64_t rows, int64_t columns) {
      std::vector<float> c(static_cast<std::size_t>(m * n));
      const cpu::Gemm gemm({type, rows, columns, k, k, n, n, false, false});
      for (int64_t i = 0; i < m; i += rows)
        for (int64_t j = 0; j < n; j += columns) gemm(o.a_at(i), o.b_at(j), c.data() + i * n + j);
      return c;
    };
    const std::vector<float> whole = product(m, n);
    for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{16, 32}, {32, 64}, {48, 32}, {24, 64}})
      EXPECT_EQ(product(rows, columns), whole) << name_of(type) << ", blocks of " << rows << "x" << columns;
  }
}

}  // namespace
}  // namespace dsc::test
