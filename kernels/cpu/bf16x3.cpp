#include "kernels/cpu/bf16x3.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector.h"

namespace dsc::cpu {
namespace {

using std::int64_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

constexpr int64_t step = bf16x3_step, half = bf16x3_group / 2, terms = 3;
constexpr int64_t register_words = half * step / 2;  // of 32 bits

struct Terms {  // each in the upper half of its words
  Words term[terms];
};

// The last difference has no more than 8 bits left.
inline Terms split(Floats x) {
  const Words high = nearest_upper_half(x);
  const Floats rest = x - as_floats(high);
  const Words middle = nearest_upper_half(rest);
  return {{high, middle, as_words(rest - as_floats(middle))}};
}

// 32 values of each of `rows` rows: dst[term][row][32].
void split_rows(const float* src, int64_t stride, int64_t rows, u16* dst) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t c = 0; c < step; c += 2 * lanes) {
      const Terms first = split(load(src + i * stride + c)), second = split(load(src + i * stride + c + lanes));
      for (int64_t t = 0; t < terms; ++t) store_words(dst + (t * rows + i) * step + c, upper_halves(first.term[t], second.term[t]));
    }
}

// 16 values of two rows: dst[term][column][2], whole registers apart.
void split_pair(const float* even, const float* odd, u32* dst) {
  for (int64_t j = 0; j < half; j += lanes) {
    const Terms first = split(load(even + j)), second = split(load(odd + j));
    for (int64_t t = 0; t < terms; ++t) store_words(dst + t * register_words + j, either(upper_to_lower(first.term[t]), upper_half(second.term[t])));
  }
}

void transpose_half(const u32* src, int64_t src_stride, u32* dst, int64_t dst_stride) {
  for (int64_t i = 0; i < half; i += lanes)
    for (int64_t j = 0; j < half; j += lanes) transpose_block(src + i * src_stride + j, src_stride, dst + j * dst_stride + i, dst_stride);
}

// Up to so many rows and columns of `from`, from there.
Matrix part_of(const Matrix& from, int64_t row, int64_t column, int64_t rows, int64_t columns) {
  Matrix part = from;
  part.data = element(from.data, from.type, row * from.row_stride + column * from.column_stride);
  part.rows = std::clamp<int64_t>(from.rows - row, 0, rows), part.columns = std::clamp<int64_t>(from.columns - column, 0, columns);
  return part;
}

// What is wanted soon: too short pieces for the hardware to see coming.
void fetch(const Matrix& from) {
  const bool by_rows = from.column_stride == 1;
  const int64_t pieces = by_rows ? from.rows : from.columns, bytes = (by_rows ? from.columns : from.rows) * size_of(from.type);
  const int64_t stride = (by_rows ? from.row_stride : from.column_stride) * size_of(from.type);
  for (int64_t i = 0; i < pieces; ++i)
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(static_cast<const char*>(from.data) + i * stride + b, 0, 3);
}

// Rows of f32, 32 columns: where they lie, or in `place` with zeros up to `rows` and 32.
struct Rows {
  const float* data;
  int64_t stride;
};
template <int64_t rows>
Rows rows_of(const Matrix& from, bool filled, float (&place)[rows * step]) {
  const bool whole = from.columns == step && from.type == DType::f32;
  if (whole && from.column_stride == 1 && (from.rows == rows || !filled)) return {static_cast<const float*>(from.data), from.row_stride};
  if (whole && from.row_stride == 1 && from.rows == rows) {
    const u32* src = static_cast<const u32*>(from.data);
    for (int64_t i = 0; i < rows; i += half)
      for (int64_t c = 0; c < step; c += half)
        transpose_half(src + c * from.column_stride + i, from.column_stride, reinterpret_cast<u32*>(place) + i * step + c, step);
    return {place, step};
  }
  std::memset(place, 0, sizeof place);
  for (int64_t i = 0; i < from.rows; ++i)
    load_run(from.type, element(from.data, from.type, i * from.row_stride), from.column_stride, from.columns, place + i * step);
  return {place, step};
}

}  // namespace

void pack_rows_bf16x3(const Matrix& from, u16* dst, int64_t columns) {
  constexpr int64_t group = bf16x3_group, ahead = 2;
  alignas(64) float place[group * step];
  const bool by_rows = from.column_stride == 1;
  const int64_t groups = (from.rows + group - 1) / group, steps = columns / step, inner = by_rows ? steps : groups;
  // What lies side by side is read one after the other.
  const auto row_of = [&](int64_t i) { return (by_rows ? i / inner : i % inner) * group; };
  const auto column_of = [&](int64_t i) { return (by_rows ? i % inner : i / inner) * step; };
  for (int64_t i = 0; i < groups * steps; ++i) {
    if (i + ahead < groups * steps) fetch(part_of(from, row_of(i + ahead), column_of(i + ahead), group, step));
    const int64_t row = row_of(i), column = column_of(i), rows = std::min(group, from.rows - row);
    const Rows source = rows_of<group>(part_of(from, row, column, group, step), false, place);
    split_rows(source.data, source.stride, rows, dst + (row * columns + rows * column) * terms);
  }
}

namespace {

// A step of a panel whose rows are contiguous; `columns` of them in the panel.
void pack_step(const Matrix& from, u32* to, int64_t width) {
  alignas(64) float place[2][half];
  const auto row_of = [&](int64_t row, int64_t column, float (&wide)[half]) -> const float* {
    const Matrix part = part_of(from, row, column, 1, half);
    if (part.rows == 1 && part.columns == half && from.type == DType::f32) return static_cast<const float*>(part.data);
    std::memset(wide, 0, sizeof wide);
    if (part.rows == 1) load_run(from.type, part.data, 1, part.columns, wide);
    return wide;
  };
  for (int64_t row = 0; row < step; row += 2)
    for (int64_t column = 0; column < width; column += half)
      split_pair(row_of(row, column, place[0]), row_of(row + 1, column, place[1]), to + column / half * terms * register_words + row * half / 2);
}

// A step of a panel of any other strides: its columns are read as rows are, then turned.
void pack_turned_step(const Matrix& from, u32* to, int64_t width) {
  const Matrix turned{from.data, from.type, from.columns, from.rows, from.column_stride, from.row_stride};
  alignas(64) float place[half * step];
  alignas(64) u16 split[terms * half * step];
  for (int64_t column = 0; column < width; column += half) {
    const Rows source = rows_of<half>(part_of(turned, column, 0, half, step), true, place);
    split_rows(source.data, source.stride, half, split);
    for (int64_t t = 0; t < terms; ++t, to += register_words) transpose_half(reinterpret_cast<const u32*>(split) + t * register_words, step / 2, to, half);
  }
}

}  // namespace

void pack_columns_bf16x3(const Matrix& from, int64_t first, int64_t rows, u16* panel, int64_t width) {
  constexpr int64_t ahead = 2 * step;
  const int64_t step_words = step * width * terms / 2;
  u32* to = reinterpret_cast<u32*>(panel) + first * width * terms / 2;
  for (int64_t row = 0; row < rows; row += step, to += step_words) {
    if (row + ahead < rows) fetch(part_of(from, row + ahead, 0, step, width));
    for (int64_t i = 0; i < step_words; i += 16) __builtin_prefetch(to + step_words + i, 1, 3);  // before it is written
    const Matrix part = part_of(from, row, 0, step, width);
    (from.column_stride == 1 ? pack_step : pack_turned_step)(part, to, width);
  }
}

}  // namespace dsc::cpu
