// Arithmetic on whole runs of f32: functions through glibc's vector library, sums in a lane order that depends on the
// length alone. Runs of the elementwise functions are padded to whole vectors, so that no element takes another path.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>

namespace dsc::cpu {

constexpr std::int64_t vector_floats = 16;
constexpr std::int64_t padded(std::int64_t count) { return (count + vector_floats - 1) / vector_floats * vector_floats; }

#if defined(__AVX512F__)
#define DSC_VECTOR_FUNCTION(name, symbol1, symbol2)                                      \
  extern "C" __m512 symbol1(__m512);                                                     \
  inline void name##_run(float* dst, const float* src, std::int64_t count) {             \
    for (std::int64_t i = 0; i < count; i += 16) _mm512_storeu_ps(dst + i, symbol1(_mm512_loadu_ps(src + i))); \
  }
extern "C" __m512 _ZGVeN16vv_powf(__m512, __m512);
inline void pow_run(float* dst, const float* a, const float* b, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 16)
    _mm512_storeu_ps(dst + i, _ZGVeN16vv_powf(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i)));
}
#elif defined(__AVX2__)
#define DSC_VECTOR_FUNCTION(name, symbol1, symbol2)                                      \
  extern "C" __m256 symbol2(__m256);                                                     \
  inline void name##_run(float* dst, const float* src, std::int64_t count) {             \
    for (std::int64_t i = 0; i < count; i += 8) _mm256_storeu_ps(dst + i, symbol2(_mm256_loadu_ps(src + i))); \
  }
extern "C" __m256 _ZGVdN8vv_powf(__m256, __m256);
inline void pow_run(float* dst, const float* a, const float* b, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 8)
    _mm256_storeu_ps(dst + i, _ZGVdN8vv_powf(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
}
#else
#define DSC_VECTOR_FUNCTION(name, symbol1, symbol2)                                      \
  inline void name##_run(float* dst, const float* src, std::int64_t count) {             \
    for (std::int64_t i = 0; i < count; ++i) dst[i] = std::name(src[i]);                 \
  }
inline void pow_run(float* dst, const float* a, const float* b, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) dst[i] = std::pow(a[i], b[i]);
}
#endif

// name_run(dst, src, count): count is a multiple of vector_floats; may be in place.
DSC_VECTOR_FUNCTION(exp, _ZGVeN16v_expf, _ZGVdN8v_expf)
DSC_VECTOR_FUNCTION(log, _ZGVeN16v_logf, _ZGVdN8v_logf)
DSC_VECTOR_FUNCTION(tanh, _ZGVeN16v_tanhf, _ZGVdN8v_tanhf)
DSC_VECTOR_FUNCTION(erf, _ZGVeN16v_erff, _ZGVdN8v_erff)
DSC_VECTOR_FUNCTION(sin, _ZGVeN16v_sinf, _ZGVdN8v_sinf)
DSC_VECTOR_FUNCTION(cos, _ZGVeN16v_cosf, _ZGVdN8v_cosf)
#undef DSC_VECTOR_FUNCTION

// dst[i] = exp(x[i] - shift) where that is at least exp(-87), about 1.6e-38, else 0: what softmax makes of arguments up to 0, -inf
// among them. (The library's function leaves whole vectors for scalar code where one lane underflows.) In place; count as above.
#if defined(__AVX512F__)
inline __m512 softmax_exp(__m512 x) {
  const __m512 lowest = _mm512_set1_ps(-87.0f);
  const __mmask16 kept = _mm512_cmp_ps_mask(x, lowest, _CMP_NLT_UQ);
  return _mm512_maskz_mov_ps(kept, _ZGVeN16v_expf(_mm512_max_ps(lowest, x)));  // the second operand where it is a NaN
}
#endif
inline void softmax_exp_run(float* x, float shift, std::int64_t count) {
#if defined(__AVX512F__)
  for (std::int64_t i = 0; i < count; i += 16)
    _mm512_storeu_ps(x + i, softmax_exp(_mm512_sub_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(shift))));
#else
  for (std::int64_t i = 0; i < count; ++i) x[i] -= shift;
  alignas(64) float small[vector_floats];
  for (std::int64_t i = 0; i < count; i += vector_floats) {
    for (int j = 0; j < vector_floats; ++j) small[j] = x[i + j] < -87.0f ? 1.0f : 0.0f;
    for (int j = 0; j < vector_floats; ++j) x[i + j] = small[j] != 0.0f ? -87.0f : x[i + j];
    exp_run(x + i, x + i, vector_floats);
    for (int j = 0; j < vector_floats; ++j) x[i + j] = small[j] != 0.0f ? 0.0f : x[i + j];
  }
#endif
}

// x[k][q] becomes softmax's exp(x[k][q] - shift[q]) for q < width, a multiple of vector_floats; total[q] is their sum over k, in order.
inline void exp_rows(float* x, std::int64_t rows, std::int64_t width, const float* shift, float* total) {
#if defined(__AVX512F__)
  for (std::int64_t q = 0; q < width; q += 16) {
    __m512 sum = _mm512_setzero_ps();
    for (std::int64_t k = 0; k < rows; ++k) {
      const __m512 e = softmax_exp(_mm512_sub_ps(_mm512_loadu_ps(x + k * width + q), _mm512_loadu_ps(shift + q)));
      _mm512_storeu_ps(x + k * width + q, e);
      sum = _mm512_add_ps(sum, e);
    }
    _mm512_storeu_ps(total + q, sum);
  }
#else
  for (std::int64_t q = 0; q < width; ++q) total[q] = 0;
  for (std::int64_t k = 0; k < rows; ++k)
    for (std::int64_t q = 0; q < width; ++q) x[k * width + q] -= shift[q];
  softmax_exp_run(x, 0.0f, rows * width);
  for (std::int64_t k = 0; k < rows; ++k)
    for (std::int64_t q = 0; q < width; ++q) total[q] += x[k * width + q];
#endif
}

// A NaN in either operand gives a NaN.
inline float max_of(float a, float b) { return a > b || a != a ? a : b; }
inline float min_of(float a, float b) { return a < b || a != a ? a : b; }

// Lane i % 64 adds elements i, i + 64, ...; then lanes fold by halves.
inline float lane_sum(const float* x, std::int64_t count) {
  alignas(64) float lane[64] = {};
  std::int64_t i = 0;
#if defined(__AVX512F__)
  if (count >= 64) {
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    for (; i + 64 <= count; i += 64) {
      a = _mm512_add_ps(a, _mm512_loadu_ps(x + i));
      b = _mm512_add_ps(b, _mm512_loadu_ps(x + i + 16));
      c = _mm512_add_ps(c, _mm512_loadu_ps(x + i + 32));
      d = _mm512_add_ps(d, _mm512_loadu_ps(x + i + 48));
    }
    _mm512_store_ps(lane, a), _mm512_store_ps(lane + 16, b), _mm512_store_ps(lane + 32, c), _mm512_store_ps(lane + 48, d);
  }
#else
  for (; i + 64 <= count; i += 64)
    for (int j = 0; j < 64; ++j) lane[j] += x[i + j];
#endif
  for (int j = 0; i + j < count; ++j) lane[j] += x[i + j];
  for (int width = 32; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
  return lane[0];
}

inline float lane_max(const float* x, std::int64_t count) {
  if (count < 16) {
    float best = x[0];
    for (std::int64_t i = 1; i < count; ++i) best = max_of(best, x[i]);
    return best;
  }
  alignas(64) float lane[16];
#if defined(__AVX512F__)
  // max_of lane by lane; the last vector overlaps the one before it, which a maximum does not mind.
  auto larger = [](__m512 a, __m512 b) {
    return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) | _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
  };
  __m512 a = _mm512_loadu_ps(x), b = a, c = a, d = a;
  std::int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    a = larger(a, _mm512_loadu_ps(x + i)), b = larger(b, _mm512_loadu_ps(x + i + 16));
    c = larger(c, _mm512_loadu_ps(x + i + 32)), d = larger(d, _mm512_loadu_ps(x + i + 48));
  }
  for (; i + 16 <= count; i += 16) a = larger(a, _mm512_loadu_ps(x + i));
  a = larger(a, _mm512_loadu_ps(x + count - 16));
  _mm512_store_ps(lane, larger(larger(a, b), larger(c, d)));
#else
  for (int j = 0; j < 16; ++j) lane[j] = x[j];
  std::int64_t i = 16;
  for (; i + 16 <= count; i += 16)
    for (int j = 0; j < 16; ++j) lane[j] = max_of(lane[j], x[i + j]);
  for (int j = 0; i + j < count; ++j) lane[j] = max_of(lane[j], x[i + j]);
#endif
  for (int width = 8; width > 0; width /= 2)
    for (int j = 0; j < width; ++j) lane[j] = max_of(lane[j], lane[j + width]);
  return lane[0];
}

}  // namespace dsc::cpu
