// What the two forms of attention (all in f32; products of bf16) share: places of a batch index, what a mask lets see, the
// running softmax. Scores are kept as [keys, queries]: queries lie side by side in a vector, so maxima, sums and rescaling
// need no work across lanes. Internal to the attention kernels.
#pragma once

#include <algorithm>
#include <limits>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/vector_math.h"

namespace dsc::cpu::attention {

using std::int64_t;

constexpr int64_t B = 64;
static_assert(AttendShape{}.block == B);
constexpr float infinity = std::numeric_limits<float>::infinity();

// Where a block of queries and keys lies: among others, with fewer keys than B, or on the diagonal of a mask.
enum class BlockPlace : std::uint8_t { inside, tail, diagonal };
inline BlockPlace place_of(const AttendSpec& spec, int64_t q0, int64_t k0) {
  if (k0 + B > spec.length) return BlockPlace::tail;
  return spec.mask != Mask::full && q0 == k0 ? BlockPlace::diagonal : BlockPlace::inside;
}
// Keys in the last block.
inline int64_t last_keys(const AttendSpec& spec) { return (spec.length - 1) % B + 1; }

// A product of each block. On the diagonal the later half of the keys is hidden from the earlier half of the queries: what is multiplied
// there is two products, of an early and of a late half, which leave that quarter out. (It would add zeros.)
constexpr int64_t H = B / 2;
struct BlockProduct {
  Gemm by_place[3], late;                       // by_place: of the diagonal, the early half
  int64_t a_late = 0, b_late = 0, c_late = 0;   // elements from where the early half's operands begin to where the late one's do
  template <class T>
  void operator()(BlockPlace place, const T* a, const T* b, float* c) const {
    by_place[static_cast<int>(place)](a, b, c);
    if (place == BlockPlace::diagonal) late(a + a_late, b + b_late, c + c_late);
  }
};

struct Offsets {
  int64_t q = 0, k = 0, v = 0, out = 0, index = 0;  // index: flattened batch index
};

// The dims that have (or lack) `shared`, at the flattened index among them; added to `at`. index counts all batch dims.
inline void add_offsets(const AttendSpec& spec, bool shared, int64_t flat, Offsets& at) {
  int64_t scale = 1;
  for (std::size_t d = spec.batch.size(); d-- > 0;) {
    const AttendDim& dim = spec.batch[d];
    if (dim.shared == shared) {
      const int64_t i = flat % dim.size;
      flat /= dim.size;
      at.q += i * dim.q_stride, at.k += i * dim.k_stride, at.v += i * dim.v_stride, at.out += i * dim.out_stride;
      at.index += i * scale;
    }
    scale *= dim.size;
  }
}

// All batch dims, at the flattened batch index.
inline Offsets offsets_of(const AttendSpec& spec, int64_t batch) {
  Offsets at;
  at.index = batch;
  for (std::size_t d = spec.batch.size(); d-- > 0;) {
    const AttendDim& dim = spec.batch[d];
    const int64_t i = batch % dim.size;
    batch /= dim.size;
    at.q += i * dim.q_stride, at.k += i * dim.k_stride, at.v += i * dim.v_stride, at.out += i * dim.out_stride;
  }
  return at;
}

// What the mask lets see, in blocks and within one.
struct Sight {
  Mask mask;
  int64_t window, length;
  int64_t first_block(int64_t q0) const {
    return mask == Mask::window ? std::max<int64_t>(0, q0 - window + 1) / B : 0;
  }
  int64_t end_block(int64_t q0) const { return mask == Mask::full ? (length + B - 1) / B : q0 / B + 1; }
  // scores[k][q] = -inf where query q0 + q does not see key k0 + k.
  void hide(float* scores, int64_t q0, int64_t k0, int64_t keys) const {
    if (mask == Mask::full) return;
    const bool below = k0 + keys - 1 <= q0;                                      // causal side wholly visible
    const bool near = mask != Mask::window || q0 + B - 1 - k0 < window;          // window side wholly visible
    if (below && near) return;
    for (int64_t k = 0; k < keys; ++k) {
      float* row = scores + k * B;
      const int64_t first = std::clamp<int64_t>(k0 + k - q0, 0, B);
      const int64_t end = mask == Mask::window ? std::clamp<int64_t>(k0 + k + window - q0, 0, B) : B;
      for (int64_t q = 0; q < first; ++q) row[q] = -infinity;
      for (int64_t q = end; q < B; ++q) row[q] = -infinity;
    }
  }
};

inline Matrix matrix(const void* base, DType type, int64_t offset, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  Matrix out;
  out.data = element(base, type, offset);
  out.type = type, out.rows = rows, out.columns = columns, out.row_stride = row_stride, out.column_stride = column_stride;
  return out;
}

// Whether the results of all batch indices are too large to be found in the caches again.
inline bool streams(const AttendSpec& spec, const AttendShape& shape) {
  return shape.batches * spec.length * std::min(spec.qk_size, spec.v_size) * size_of(spec.type) >= streamed_bytes;
}
inline void store_result(bool streams, DType type, void* dst, int64_t stride, int64_t count, const float* src) {
  (streams ? stream_run : store_run)(type, dst, stride, count, src);
}

inline void scale_all(float* x, float factor, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] *= factor;
}

// The next `count` values of a slot; `at` moves on.
template <class T = float>
T* carve(char*& at, int64_t count) {
  T* out = reinterpret_cast<T*>(at);
  at += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
  return out;
}

// Scores become exp(score - new maximum); maxima and sums move on; rescale is what older results are multiplied by.
inline void soften(float* scores, int64_t keys, float* highest, float* sum, float* rescale) {
  alignas(64) float peak[B], shift[B];
  for (int64_t q = 0; q < B; ++q) peak[q] = highest[q];
  for (int64_t k = 0; k < keys; ++k)
    for (int64_t q = 0; q < B; ++q) peak[q] = max_of(peak[q], scores[k * B + q]);
  for (int64_t q = 0; q < B; ++q) {
    shift[q] = peak[q] == -infinity ? 0.0f : peak[q];  // a query that sees none of these keys yet
    rescale[q] = highest[q] - shift[q];
    highest[q] = peak[q];
  }
  softmax_exp_run(rescale, 0.0f, B);
  alignas(64) float total[B];
  exp_rows(scores, keys, B, shift, total);
  for (int64_t q = 0; q < B; ++q) sum[q] = sum[q] * rescale[q] + total[q];
}

// The end of a block of queries: result [channels, queries] divided by the sums, stored by rows (`rows` is scratch of B rows), and
// the log-sum-exp of each query. sum is used up.
inline void finish_queries(const AttendSpec& spec, const Offsets& at, int64_t q0, int64_t queries, bool streams, float* result, float* rows,
                           const float* highest, float* sum, void* out, float* statistics) {
  const int64_t channels = spec.v_size;
  for (int64_t d = 0; d < channels; ++d)
    for (int64_t q = 0; q < B; ++q) result[d * B + q] /= sum[q];
  pack_f32(matrix(result, DType::f32, 0, queries, channels, 1, B), rows, channels);
  for (int64_t q = 0; q < queries; ++q)
    store_result(streams, spec.out_type, element(out, spec.out_type, at.out + (q0 + q) * spec.out_along), spec.out_channel, channels, rows + q * channels);
  if (streams) end_streaming();
  log_run(sum, sum, B);
  for (int64_t q = 0; q < queries; ++q) statistics[at.index * spec.length + q0 + q] = highest[q] + sum[q];
}

// With products of bf16: where AttendShape::bf16.
KernelPtr make_forward_bf16(const AttendForwardSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_backward_bf16(const AttendBackwardSpec& spec, const Bindings& bindings, const Target& target);

}  // namespace dsc::cpu::attention
