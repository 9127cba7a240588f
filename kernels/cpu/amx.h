// Products of bf16, or of f32 in three terms of bf16, in the CPU's matrix registers (AMX: Intel SDM volume 1, chapter 18; TDPBF16PS in
// volume 2). In: a block's shape and operands, laid out as gemm.h says. Out: C = A B or C += A B in f32. Products along the contraction
// are added 32 at a time from its beginning, so an element has the same arithmetic in a block of any size. Nothing is allocated.
#pragma once

#include <array>
#include <cstdint>

namespace dsc::cpu {

// Whether this program was compiled with matrix registers, and the system lets this process use them.
bool has_matrix_registers();

struct MatrixShape {
  std::int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0;
  bool accumulate = false;
  bool bf16x3 = false;
};

class MatrixProduct {
 public:
  MatrixProduct() = default;
  explicit MatrixProduct(const MatrixShape& shape);
  void operator()(const void* a, const void* b, float* c) const;

 private:
  // What LDTILECFG reads: rows and bytes of a row of each of eight registers.
  struct alignas(64) Sizes {
    std::uint8_t palette = 1, first_row = 0, reserved[14] = {};
    std::uint16_t bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
  static Sizes sizes(std::int64_t rows, std::int64_t columns);
  // place(first row, first column, rows, columns), with the registers sized for it.
  template <class Place>
  void each_block(const Place& place) const;

  MatrixShape shape_;
  std::array<std::array<Sizes, 2>, 2> sizes_;  // by [fewer rows than a block][fewer columns]
};

}  // namespace dsc::cpu
