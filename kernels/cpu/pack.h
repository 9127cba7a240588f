// Matrices copied into the layouts that LIBXSMM reads fastest: rows of f32 or bf16, and rows interleaved by pairs.
#pragma once

#include <cstdint>

#include "compiler/support/dtype.h"

namespace dsc::cpu {

// A matrix of `rows` x `columns` of any strides.
struct Matrix {
  const void* data = nullptr;
  DType type = DType::f32;
  std::int64_t rows = 0, columns = 0, row_stride = 0, column_stride = 0;
};

// dst[i * stride + j] = from(i, j) in f32; columns up to `width` are zero.
void pack_f32(const Matrix& from, float* dst, std::int64_t stride, std::int64_t width);
inline void pack_f32(const Matrix& from, float* dst, std::int64_t width) { pack_f32(from, dst, width, width); }
// The same in bf16 (from is bf16).
void pack_bf16(const Matrix& from, std::uint16_t* dst, std::int64_t stride, std::int64_t width);
inline void pack_bf16(const Matrix& from, std::uint16_t* dst, std::int64_t width) { pack_bf16(from, dst, width, width); }
// dst[(i / 2 * width + j) * 2 + i % 2] = from(i, j) in bf16; columns up to `width` and an odd last row's partner are zero.
void pack_bf16_pairs(const Matrix& from, std::uint16_t* dst, std::int64_t width);
// dst[(i / 2 * width + j) * 2 + i % 2] = src[i * width + j] rounded to bf16; an odd last row's partner is zero.
void narrow_pairs(const float* src, std::int64_t rows, std::int64_t width, std::uint16_t* dst);

}  // namespace dsc::cpu
