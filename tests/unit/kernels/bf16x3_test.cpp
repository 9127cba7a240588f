// Three terms of bf16: they add up to the value without an error, wherever the packed layouts put them, and products of them are
// at least as exact as f32's.
#include "kernels/cpu/bf16x3.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/ops.h"
#include "tests/unit/kernels/harness.h"

namespace dsc::test {
namespace {

using std::int64_t;
using u16 = std::uint16_t;

constexpr int64_t step = cpu::bf16x3_step, group = cpu::bf16x3_group;

std::size_t at(int64_t i) { return static_cast<std::size_t>(i); }

// Of a matrix of any strides: values of many magnitudes.
Buffer values(DType type, int64_t count, std::uint64_t seed) {
  Random random(seed);
  Buffer out(type, count);
  for (int64_t i = 0; i < count; ++i) out.set(i, random.between(-1, 1) * std::exp2(type == DType::f16 ? -random.below(6) : random.between(-90, 120)));
  return out;
}

cpu::Matrix matrix(const Buffer& from, int64_t rows, int64_t columns, bool by_rows, int64_t stride) {
  return {from.data(), from.type, rows, columns, by_rows ? stride : 1, by_rows ? 1 : stride};
}

double value(const cpu::Matrix& m, int64_t i, int64_t j) { return reference::get(m.data, m.type, i * m.row_stride + j * m.column_stride); }

int64_t whole_steps(int64_t count) { return (count + step - 1) / step * step; }

// The sum of the terms of row i, column j of A.
double in_rows(const std::vector<u16>& packed, int64_t rows, int64_t columns, int64_t i, int64_t j) {
  const int64_t first = i / group * group, height = std::min(group, rows - first);
  double sum = 0;
  for (int64_t t = 0; t < 3; ++t)
    sum += cpu::bf16_to_f32(packed[at(first * columns * 3 + (j / step * 3 + t) * height * step + (i - first) * step + j % step)]);
  return sum;
}

double in_panel(const std::vector<u16>& packed, int64_t width, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t t = 0; t < 3; ++t)
    sum += cpu::bf16_to_f32(packed[at(i / step * width * step * 3 + (j / 16 * 3 + t) * 512 + i % step / 2 * 32 + j % 16 * 2 + i % 2)]);
  return sum;
}

TEST(Bf16x3, RowsAddUpToTheirValues) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16})
    for (const int64_t rows : {1, 16, 31, 32, 50, 96})
      for (const int64_t columns : {5, 32, 70})
        for (const bool by_rows : {true, false}) {
          const int64_t stride = (by_rows ? columns : rows) + 3, padded = whole_steps(columns);
          const Buffer from = values(type, stride * (by_rows ? rows : columns), static_cast<std::uint64_t>(rows * 100 + columns));
          const cpu::Matrix m = matrix(from, rows, columns, by_rows, stride);
          std::vector<u16> packed(at(rows * padded * 3), 0x7fc0);
          cpu::pack_rows_bf16x3(m, packed.data(), padded);
          for (int64_t i = 0; i < rows; ++i)
            for (int64_t j = 0; j < padded; ++j)
              ASSERT_EQ(in_rows(packed, rows, padded, i, j), j < columns ? value(m, i, j) : 0)
                  << name_of(type) << " " << rows << "x" << columns << (by_rows ? " by rows" : " by columns") << " at " << i << ", " << j;
        }
}

TEST(Bf16x3, ColumnsAddUpToTheirValues) {
  for (const DType type : {DType::f32, DType::bf16, DType::f16})
    for (const int64_t rows : {1, 31, 32, 70})
      for (const int64_t columns : {1, 15, 16, 20, 32})
        for (const bool by_rows : {true, false}) {
          const int64_t stride = (by_rows ? columns : rows) + 3, width = (columns + 15) / 16 * 16, padded = whole_steps(rows);
          const Buffer from = values(type, stride * (by_rows ? rows : columns), static_cast<std::uint64_t>(rows * 100 + columns));
          const cpu::Matrix m = matrix(from, rows, columns, by_rows, stride);
          std::vector<u16> panel(at((step + padded) * width * 3), 0x7fc0);
          cpu::pack_columns_bf16x3(m, step, padded, panel.data(), width);
          for (int64_t j = 0; j < width; ++j) {
            ASSERT_TRUE(std::isnan(in_panel(panel, width, 0, j))) << "before the first row";
            for (int64_t i = 0; i < padded; ++i)
              ASSERT_EQ(in_panel(panel, width, step + i, j), i < rows && j < columns ? value(m, i, j) : 0)
                  << name_of(type) << " " << rows << "x" << columns << (by_rows ? " by rows" : " by columns") << " at " << i << ", " << j;
          }
        }
}

TEST(Bf16x3, WhatIsNotFiniteStaysSo) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  std::vector<float> row = {infinity, -infinity, nan, -nan, std::bit_cast<float>(0x7fffffffu), std::bit_cast<float>(0xffffffffu),
                            std::bit_cast<float>(0x7f800001u), std::numeric_limits<float>::max(), 0.0f, -0.0f};
  const auto count = static_cast<int64_t>(row.size());
  std::vector<u16> packed(at(step * 3));
  cpu::pack_rows_bf16x3({row.data(), DType::f32, 1, count, count, 1}, packed.data(), step);
  for (int64_t j = 0; j < count; ++j) EXPECT_EQ(std::isfinite(in_rows(packed, 1, step, 0, j)), row[at(j)] == 0) << row[at(j)];
}

struct Packed {
  std::vector<float> a, b;
  std::vector<u16> rows, panel;
  Packed(int64_t m, int64_t n, int64_t k, int64_t width, std::uint64_t seed) : a(at(m * k)), b(at(k * n)), rows(at(m * k * 3)), panel(at(k * width * 3)) {
    Random random(seed);
    for (float& x : a) x = static_cast<float>(random.between(-1, 1) * std::exp2(random.between(-8, 8)));
    for (float& x : b) x = static_cast<float>(random.between(-1, 1) * std::exp2(random.between(-8, 8)));
    cpu::pack_rows_bf16x3({a.data(), DType::f32, m, k, k, 1}, rows.data(), k);
    cpu::pack_columns_bf16x3({b.data(), DType::f32, k, n, n, 1}, 0, k, panel.data(), width);
  }
};

cpu::GemmShape in_terms(int64_t m, int64_t n, int64_t k, int64_t width, int64_t ldc, bool accumulate) {
  cpu::GemmShape shape;
  shape.m = m, shape.n = n, shape.k = k, shape.ldb = width, shape.ldc = ldc, shape.accumulate = accumulate, shape.bf16x3 = true;
  return shape;
}

// The error beside the sum of magnitudes, the largest of all elements.
double largest_error(const Packed& p, int64_t m, int64_t n, int64_t k, const std::vector<float>& c, double before = 0) {
  double largest = 0;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = before, magnitude = std::abs(before);
      for (int64_t x = 0; x < k; ++x) {
        const double product = static_cast<double>(p.a[at(i * k + x)]) * p.b[at(x * n + j)];
        sum += product, magnitude += std::abs(product);
      }
      largest = std::max(largest, std::abs(c[at(i * n + j)] - sum) / magnitude);
    }
  return largest;
}

TEST(Bf16x3, BlocksAtEveryEdge) {
  if (!cpu_target().bf16x3) GTEST_SKIP() << "this CPU has no matrix registers";
  for (const int64_t m : {1, 15, 16, 17, 32, 33, 50, 65})
    for (const int64_t n : {1, 15, 16, 17, 31, 32})
      for (const int64_t k : {32, 96})
        for (const bool accumulate : {false, true}) {
          const int64_t width = (n + 15) / 16 * 16, ldc = n + 5;
          const Packed p(m, n, k, width, static_cast<std::uint64_t>(m * 100 + n));
          std::vector<float> c(at(m * ldc), 0.5f), dense;
          cpu::Gemm{in_terms(m, n, k, width, ldc, accumulate)}(p.rows.data(), p.panel.data(), c.data());
          for (int64_t i = 0; i < m * ldc; ++i) {
            if (i % ldc < n) dense.push_back(c[at(i)]);
            else ASSERT_EQ(c[at(i)], 0.5f) << "beside row " << i / ldc;
          }
          ASSERT_LT(largest_error(p, m, n, k, dense, accumulate ? 0.5 : 0), 1e-6) << m << "x" << n << "x" << k;
        }
}

TEST(Bf16x3, AsExactAsF32) {
  if (!cpu_target().bf16x3) GTEST_SKIP() << "this CPU has no matrix registers";
  const int64_t m = 64, n = 32;
  for (const int64_t k : {32, 384, 4096}) {
    const Packed p(m, n, k, n, static_cast<std::uint64_t>(k));
    std::vector<float> terms(at(m * n)), plain(at(m * n));
    cpu::Gemm{in_terms(m, n, k, n, n, false)}(p.rows.data(), p.panel.data(), terms.data());
    cpu::GemmShape shape;
    shape.m = m, shape.n = n, shape.k = k, shape.lda = k, shape.ldb = shape.ldc = n;
    cpu::Gemm{shape}(p.a.data(), p.b.data(), plain.data());
    const double ours = largest_error(p, m, n, k, terms), f32 = largest_error(p, m, n, k, plain);
    EXPECT_LE(ours, f32) << "k = " << k;
  }
}

}  // namespace
}  // namespace dsc::test
