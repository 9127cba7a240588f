#include "kernels/cpu/pack.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector.h"

namespace dsc::cpu {
namespace {

using std::int64_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

// dst[j * dst_stride + i] = src[i * src_stride + j].
void transpose(const u32* src, int64_t src_stride, u32* dst, int64_t dst_stride, int64_t rows, int64_t columns) {
  const int64_t whole = rows / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes) {
    int64_t j = 0;
    for (; j + lanes <= columns; j += lanes) {
      // A line is fetched before it is written: of those two blocks on, the hardware sees no run.
      for (int64_t r = 0; r < lanes; ++r) __builtin_prefetch(dst + (j + 2 * lanes + r) * dst_stride + i, 1, 3);
      transpose_block(src + i * src_stride + j, src_stride, dst + j * dst_stride + i, dst_stride);
    }
    for (; j < columns; ++j)
      for (int64_t k = i; k < i + lanes; ++k) dst[j * dst_stride + k] = src[k * src_stride + j];
  }
  for (int64_t i = whole; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) dst[j * dst_stride + i] = src[i * src_stride + j];
}

template <class T>
void zero_columns(T* dst, int64_t stride, int64_t rows, int64_t columns, int64_t width) {
  if (columns == width) return;
  for (int64_t i = 0; i < rows; ++i) std::memset(dst + i * stride + columns, 0, static_cast<std::size_t>(width - columns) * sizeof(T));
}

// dst[2 * j] = even[j], dst[2 * j + 1] = odd[j].
void interleave_rows(const u16* even, const u16* odd, u16* dst, int64_t count) {
  int64_t j = 0;
  for (; j + 2 * lanes <= count; j += 2 * lanes) {
    Words first, second;
    interleave(load_words(even + j), load_words(odd + j), first, second);
    store_words(dst + 2 * j, first);
    store_words(dst + 2 * j + 2 * lanes, second);
  }
  for (; j < count; ++j) {
    dst[2 * j] = even[j];
    dst[2 * j + 1] = odd[j];
  }
}

}  // namespace

void pack_f32(const Matrix& from, float* dst, int64_t stride, int64_t width) {
  if (from.column_stride == 1) {
    for (int64_t i = 0; i < from.rows; ++i)
      load_run(from.type, element(from.data, from.type, i * from.row_stride), 1, from.columns, dst + i * stride);
  } else if (from.row_stride == 1 && from.type == DType::f32) {
    // The source's rows are our columns.
    transpose(static_cast<const u32*>(from.data), from.column_stride, reinterpret_cast<u32*>(dst), stride, from.columns, from.rows);
  } else if (from.row_stride == 1) {
    alignas(64) float wide[16 * 256];
    for (int64_t i = 0; i < from.rows; i += 256) {
      const int64_t rows = std::min<int64_t>(256, from.rows - i);
      for (int64_t j = 0; j < from.columns; j += 16) {
        const int64_t columns = std::min<int64_t>(16, from.columns - j);
        for (int64_t c = 0; c < columns; ++c)
          load_run(from.type, element(from.data, from.type, (j + c) * from.column_stride + i), 1, rows, wide + c * 256);
        transpose(reinterpret_cast<const u32*>(wide), 256, reinterpret_cast<u32*>(dst + i * stride + j), stride, columns, rows);
      }
    }
  } else {
    for (int64_t i = 0; i < from.rows; ++i)
      load_run(from.type, element(from.data, from.type, i * from.row_stride), from.column_stride, from.columns, dst + i * stride);
  }
  zero_columns(dst, stride, from.rows, from.columns, width);
}

void pack_bf16(const Matrix& from, u16* dst, int64_t stride, int64_t width) {
  const u16* src = static_cast<const u16*>(from.data);
  if (from.column_stride == 1) {
    for (int64_t i = 0; i < from.rows; ++i)
      std::memcpy(dst + i * stride, src + i * from.row_stride, static_cast<std::size_t>(from.columns) * 2);
  } else if (from.row_stride == 1 && stride % 2 == 0) {
    // Pairs of source rows, interleaved, are columns of 32 bits: those are transposed.
    alignas(64) u16 pairs[16][2 * 64];
    int64_t j = 0;
    for (; j + 32 <= from.columns; j += 32) {
      for (int64_t i = 0; i < from.rows; i += 64) {
        const int64_t rows = std::min<int64_t>(64, from.rows - i);
        for (int64_t p = 0; p < 16; ++p)
          interleave_rows(src + (j + 2 * p) * from.column_stride + i, src + (j + 2 * p + 1) * from.column_stride + i, pairs[p], rows);
        transpose(reinterpret_cast<const u32*>(pairs), 64, reinterpret_cast<u32*>(dst + i * stride + j), stride / 2, 16, rows);
      }
    }
    for (; j < from.columns; ++j)
      for (int64_t i = 0; i < from.rows; ++i) dst[i * stride + j] = src[j * from.column_stride + i];
  } else {
    for (int64_t i = 0; i < from.rows; ++i)
      for (int64_t j = 0; j < from.columns; ++j) dst[i * stride + j] = src[i * from.row_stride + j * from.column_stride];
  }
  zero_columns(dst, stride, from.rows, from.columns, width);
}

void pack_bf16_pairs(const Matrix& from, u16* dst, int64_t width) {
  const u16* src = static_cast<const u16*>(from.data);
  const int64_t whole = from.rows / 2;
  if (from.column_stride == 1) {
    for (int64_t p = 0; p < whole; ++p)
      interleave_rows(src + 2 * p * from.row_stride, src + (2 * p + 1) * from.row_stride, dst + 2 * p * width, from.columns);
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
  zero_columns(reinterpret_cast<u32*>(dst), width, (from.rows + 1) / 2, from.columns, width);
}

void narrow_pairs(const float* src, int64_t rows, int64_t width, u16* dst) {
  for (int64_t i = 0; i < rows; i += 2) {
    const float* even = src + i * width;
    const float* odd = i + 1 < rows ? even + width : nullptr;
    u16* pairs = dst + i * width;
    int64_t j = 0;
    for (; j + lanes <= width; j += lanes) {
      const Words low = upper_to_lower(round_bf16(load(even + j)));
      store_words(pairs + 2 * j, odd != nullptr ? either(low, upper_half(round_bf16(load(odd + j)))) : low);
    }
    for (; j < width; ++j) {
      pairs[2 * j] = f32_to_bf16(even[j]);
      pairs[2 * j + 1] = odd != nullptr ? f32_to_bf16(odd[j]) : 0;
    }
  }
}

}  // namespace dsc::cpu
