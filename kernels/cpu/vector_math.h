// Arithmetic on whole runs of f32: functions through glibc's vector library, sums in a lane order that depends on the
// length alone. Runs of the elementwise functions are padded to whole vectors, so that no element takes another path.
#pragma once

#include <cstdint>

#include "kernels/cpu/vector.h"

namespace dsc::cpu {

constexpr std::int64_t vector_floats = 16;
constexpr std::int64_t padded(std::int64_t count) { return (count + vector_floats - 1) / vector_floats * vector_floats; }

// name_run(dst, src, count): count is a multiple of vector_floats; may be in place.
#define DSC_VECTOR_FUNCTION(name)                                            \
  inline void name##_run(float* dst, const float* src, std::int64_t count) { \
    for (std::int64_t i = 0; i < count; i += lanes) store(dst + i, name(load(src + i))); \
  }
DSC_VECTOR_FUNCTION(exp)
DSC_VECTOR_FUNCTION(log)
DSC_VECTOR_FUNCTION(tanh)
DSC_VECTOR_FUNCTION(erf)
DSC_VECTOR_FUNCTION(sin)
DSC_VECTOR_FUNCTION(cos)
#undef DSC_VECTOR_FUNCTION
inline void pow_run(float* dst, const float* a, const float* b, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += lanes) store(dst + i, pow(load(a + i), load(b + i)));
}

// dst[i] = exp(x[i] - shift) where that is at least exp(-87), about 1.6e-38, else 0: what softmax makes of arguments up to 0, -inf
// among them. (The library's function leaves whole vectors for scalar code where one lane underflows.) In place; count as above.
inline Floats softmax_exp(Floats x) { return exp_from(x, broadcast(-87.0f)); }
inline void softmax_exp_run(float* x, float shift, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += lanes) store(x + i, softmax_exp(load(x + i) - broadcast(shift)));
}

// x[k][q] becomes softmax's exp(x[k][q] - shift[q]) for q < width, a multiple of vector_floats; total[q] is their sum over k, in order.
inline void exp_rows(float* x, std::int64_t rows, std::int64_t width, const float* shift, float* total) {
  for (std::int64_t q = 0; q < width; q += lanes) {
    Floats sum = broadcast(0.0f);
    for (std::int64_t k = 0; k < rows; ++k) {
      const Floats e = softmax_exp(load(x + k * width + q) - load(shift + q));
      store(x + k * width + q, e);
      sum = sum + e;
    }
    store(total + q, sum);
  }
}

// A NaN in either operand gives a NaN.
inline float max_of(float a, float b) { return a > b || a != a ? a : b; }
inline float min_of(float a, float b) { return a < b || a != a ? a : b; }

// Lane i % 64 adds elements i, i + 64, ...; then lanes fold by halves.
inline float lane_sum(const float* x, std::int64_t count) {
  constexpr int vectors = 64 / lanes;
  Floats sum[vectors];
  for (int v = 0; v < vectors; ++v) sum[v] = broadcast(0.0f);
  std::int64_t i = 0;
  for (; i + 64 <= count; i += 64)
    for (int v = 0; v < vectors; ++v) sum[v] = sum[v] + load(x + i + v * lanes);
  if (i < count) {
    alignas(64) float lane[64];
    for (int v = 0; v < vectors; ++v) store(lane + v * lanes, sum[v]);
    for (int j = 0; i + j < count; ++j) lane[j] += x[i + j];
    for (int v = 0; v < vectors; ++v) sum[v] = load(lane + v * lanes);
  }
  for (int width = vectors / 2; width > 0; width /= 2)
    for (int v = 0; v < width; ++v) sum[v] = sum[v] + sum[v + width];
  return fold_halves(sum[0]);
}

// The last vector overlaps the one before it, which a maximum does not mind.
inline float lane_max(const float* x, std::int64_t count) {
  if (count < lanes) {
    float best = x[0];
    for (std::int64_t i = 1; i < count; ++i) best = max_of(best, x[i]);
    return best;
  }
  Floats a = load(x), b = a, c = a, d = a;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    a = larger(a, load(x + i)), b = larger(b, load(x + i + lanes));
    c = larger(c, load(x + i + 2 * lanes)), d = larger(d, load(x + i + 3 * lanes));
  }
  for (; i + lanes <= count; i += lanes) a = larger(a, load(x + i));
  a = larger(a, load(x + count - lanes));
  alignas(64) float lane[lanes];
  store(lane, larger(larger(a, b), larger(c, d)));
  for (std::int64_t width = lanes / 2; width > 0; width /= 2)
    for (std::int64_t j = 0; j < width; ++j) lane[j] = max_of(lane[j], lane[j + width]);
  return lane[0];
}

}  // namespace dsc::cpu
