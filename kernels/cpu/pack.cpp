#include "kernels/cpu/pack.h"

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convert.h"

namespace dsc::cpu {
namespace {

using std::int64_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

// dst[j * dst_stride + i] = src[i * src_stride + j], 16 x 16 elements of 32 bits.
void transpose16(const u32* src, int64_t src_stride, u32* dst, int64_t dst_stride) {
#if defined(__AVX512F__)
  __m512i r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_si512(src + i * src_stride);
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
  for (int i = 0; i < 16; ++i) _mm512_storeu_si512(dst + i * dst_stride, r[i]);
#else
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) dst[j * dst_stride + i] = src[i * src_stride + j];
#endif
}

void transpose(const u32* src, int64_t src_stride, u32* dst, int64_t dst_stride, int64_t rows, int64_t columns) {
  int64_t i = 0;
  for (; i + 16 <= rows; i += 16) {
    int64_t j = 0;
    for (; j + 16 <= columns; j += 16) transpose16(src + i * src_stride + j, src_stride, dst + j * dst_stride + i, dst_stride);
    for (; j < columns; ++j)
      for (int64_t k = i; k < i + 16; ++k) dst[j * dst_stride + k] = src[k * src_stride + j];
  }
  for (; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) dst[j * dst_stride + i] = src[i * src_stride + j];
}

template <class T>
void zero_columns(T* dst, int64_t rows, int64_t columns, int64_t width) {
  if (columns == width) return;
  for (int64_t i = 0; i < rows; ++i) std::memset(dst + i * width + columns, 0, static_cast<std::size_t>(width - columns) * sizeof(T));
}

// dst[2 * j] = even[j], dst[2 * j + 1] = odd[j].
void interleave(const u16* even, const u16* odd, u16* dst, int64_t count) {
  int64_t j = 0;
#if defined(__AVX512BW__)
  alignas(64) static constexpr u16 low_index[32] = {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39,
                                                    8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(low_index), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (; j + 32 <= count; j += 32) {
    const __m512i a = _mm512_loadu_si512(even + j), b = _mm512_loadu_si512(odd + j);
    _mm512_storeu_si512(dst + 2 * j, _mm512_permutex2var_epi16(a, low, b));
    _mm512_storeu_si512(dst + 2 * j + 32, _mm512_permutex2var_epi16(a, high, b));
  }
#endif
  for (; j < count; ++j) {
    dst[2 * j] = even[j];
    dst[2 * j + 1] = odd[j];
  }
}

}  // namespace

void pack_f32(const Matrix& from, float* dst, int64_t width) {
  if (from.column_stride == 1) {
    for (int64_t i = 0; i < from.rows; ++i)
      load_run(from.type, element(from.data, from.type, i * from.row_stride), 1, from.columns, dst + i * width);
  } else if (from.row_stride == 1 && from.type == DType::f32) {
    // The source's rows are our columns.
    transpose(static_cast<const u32*>(from.data), from.column_stride, reinterpret_cast<u32*>(dst), width, from.columns, from.rows);
  } else if (from.row_stride == 1) {
    alignas(64) float wide[16 * 256];
    for (int64_t i = 0; i < from.rows; i += 256) {
      const int64_t rows = std::min<int64_t>(256, from.rows - i);
      for (int64_t j = 0; j < from.columns; j += 16) {
        const int64_t columns = std::min<int64_t>(16, from.columns - j);
        for (int64_t c = 0; c < columns; ++c)
          load_run(from.type, element(from.data, from.type, (j + c) * from.column_stride + i), 1, rows, wide + c * 256);
        transpose(reinterpret_cast<const u32*>(wide), 256, reinterpret_cast<u32*>(dst + i * width + j), width, columns, rows);
      }
    }
  } else {
    for (int64_t i = 0; i < from.rows; ++i)
      load_run(from.type, element(from.data, from.type, i * from.row_stride), from.column_stride, from.columns, dst + i * width);
  }
  zero_columns(dst, from.rows, from.columns, width);
}

void pack_bf16(const Matrix& from, u16* dst, int64_t width) {
  const u16* src = static_cast<const u16*>(from.data);
  if (from.column_stride == 1) {
    for (int64_t i = 0; i < from.rows; ++i)
      std::memcpy(dst + i * width, src + i * from.row_stride, static_cast<std::size_t>(from.columns) * 2);
  } else if (from.row_stride == 1 && width % 2 == 0) {
    // Pairs of source rows, interleaved, are columns of 32 bits: those are transposed.
    alignas(64) u16 pairs[16][2 * 64];
    int64_t j = 0;
    for (; j + 32 <= from.columns; j += 32) {
      for (int64_t i = 0; i < from.rows; i += 64) {
        const int64_t rows = std::min<int64_t>(64, from.rows - i);
        for (int64_t p = 0; p < 16; ++p)
          interleave(src + (j + 2 * p) * from.column_stride + i, src + (j + 2 * p + 1) * from.column_stride + i, pairs[p], rows);
        transpose(reinterpret_cast<const u32*>(pairs), 64, reinterpret_cast<u32*>(dst + i * width + j), width / 2, 16, rows);
      }
    }
    for (; j < from.columns; ++j)
      for (int64_t i = 0; i < from.rows; ++i) dst[i * width + j] = src[j * from.column_stride + i];
  } else {
    for (int64_t i = 0; i < from.rows; ++i)
      for (int64_t j = 0; j < from.columns; ++j) dst[i * width + j] = src[i * from.row_stride + j * from.column_stride];
  }
  zero_columns(dst, from.rows, from.columns, width);
}

void pack_bf16_pairs(const Matrix& from, u16* dst, int64_t width) {
  const u16* src = static_cast<const u16*>(from.data);
  const int64_t whole = from.rows / 2;
  if (from.column_stride == 1) {
    for (int64_t p = 0; p < whole; ++p)
      interleave(src + 2 * p * from.row_stride, src + (2 * p + 1) * from.row_stride, dst + 2 * p * width, from.columns);
  } else if (from.row_stride == 1 && from.column_stride % 2 == 0 && reinterpret_cast<std::uintptr_t>(src) % 4 == 0) {
    transpose(reinterpret_cast<const u32*>(src), from.column_stride / 2, reinterpret_cast<u32*>(dst), width, from.columns, whole);
  } else {
    for (int64_t p = 0; p < whole; ++p)
      for (int64_t j = 0; j < from.columns; ++j)
        for (int64_t i = 0; i < 2; ++i)
          dst[(p * width + j) * 2 + i] = src[(2 * p + i) * from.row_stride + j * from.column_stride];
  }
  if (from.rows % 2 != 0) {
    for (int64_t j = 0; j < from.columns; ++j) {
      dst[(whole * width + j) * 2] = src[2 * whole * from.row_stride + j * from.column_stride];
      dst[(whole * width + j) * 2 + 1] = 0;
    }
  }
  zero_columns(reinterpret_cast<u32*>(dst), (from.rows + 1) / 2, from.columns, width);
}

void narrow_pairs(const float* src, int64_t rows, int64_t width, u16* dst) {
  for (int64_t i = 0; i < rows; i += 2) {
    const float* even = src + i * width;
    const float* odd = i + 1 < rows ? even + width : nullptr;
    u16* pairs = dst + i * width;
    int64_t j = 0;
#if defined(__AVX512BW__)
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    for (; j + 16 <= width; j += 16) {
      const __m512i low = _mm512_srli_epi32(round_bf16(_mm512_loadu_ps(even + j)), 16);
      const __m512i high = odd != nullptr ? _mm512_and_si512(round_bf16(_mm512_loadu_ps(odd + j)), upper) : _mm512_setzero_si512();
      _mm512_storeu_si512(pairs + 2 * j, _mm512_or_si512(low, high));
    }
#endif
    for (; j < width; ++j) {
      pairs[2 * j] = f32_to_bf16(even[j]);
      pairs[2 * j + 1] = odd != nullptr ? f32_to_bf16(odd[j]) : 0;
    }
  }
}

}  // namespace dsc::cpu
