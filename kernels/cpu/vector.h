// The vector instructions that the kernels use, AVX-512's or AVX2's, each under one name: nothing else in the kernels asks which.
// In: the instruction set that the compiler was given. Out: `Floats` and `Words`, vectors of `lanes` elements of 32 bits, and what
// is done with them. Arithmetic is +, -, *, / as on numbers.
#pragma once

#include <immintrin.h>

#include <cstdint>

#if !defined(__AVX2__) || !defined(__F16C__)
#error "the CPU kernels need AVX2 and F16C"
#endif

// glibc's vector library.
extern "C" {
#if defined(__AVX512BW__)
__m512 _ZGVeN16v_expf(__m512), _ZGVeN16v_logf(__m512), _ZGVeN16v_tanhf(__m512), _ZGVeN16v_erff(__m512), _ZGVeN16v_sinf(__m512),
    _ZGVeN16v_cosf(__m512), _ZGVeN16vv_powf(__m512, __m512);
#else
__m256 _ZGVdN8v_expf(__m256), _ZGVdN8v_logf(__m256), _ZGVdN8v_tanhf(__m256), _ZGVdN8v_erff(__m256), _ZGVdN8v_sinf(__m256),
    _ZGVdN8v_cosf(__m256), _ZGVdN8vv_powf(__m256, __m256);
#endif
}

namespace dsc::cpu {

// The sum of all lanes: the upper half added to the lower one, again and again.
inline float fold_halves(__m256 x) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

#if defined(__AVX512BW__)

using Floats = __m512;
using Words = __m512i;
constexpr std::int64_t lanes = 16;

inline Floats load(const float* x) { return _mm512_loadu_ps(x); }
inline void store(float* x, Floats v) { _mm512_storeu_ps(x, v); }
inline Words load_words(const void* x) { return _mm512_loadu_si512(x); }
inline void store_words(void* x, Words v) { _mm512_storeu_si512(x, v); }
// Past the caches; x lies on a boundary of 64 bytes.
inline void stream(float* x, Floats v) { _mm512_stream_ps(x, v); }
inline void stream_words(void* x, Words v) { _mm512_stream_si512(static_cast<__m512i*>(x), v); }
inline Floats broadcast(float x) { return _mm512_set1_ps(x); }

// b, but a where a > b or a is a NaN.
inline Floats larger(Floats a, Floats b) {
  return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) | _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
inline Floats smaller(Floats a, Floats b) {
  return _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) | _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
inline Floats root(Floats x) { return _mm512_sqrt_ps(x); }
inline Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
inline Floats load_bf16(const std::uint16_t* x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x))), 16));
}
inline float fold_halves(Floats x) {
  return fold_halves(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}
// exp(x) where x >= lowest or is a NaN, else 0.
inline Floats exp_from(Floats x, Floats lowest) {
  const __mmask16 kept = _mm512_cmp_ps_mask(x, lowest, _CMP_NLT_UQ);
  return _mm512_maskz_mov_ps(kept, _ZGVeN16v_expf(_mm512_max_ps(lowest, x)));  // the second operand where it is a NaN
}
inline Floats exp(Floats x) { return _ZGVeN16v_expf(x); }
inline Floats log(Floats x) { return _ZGVeN16v_logf(x); }
inline Floats tanh(Floats x) { return _ZGVeN16v_tanhf(x); }
inline Floats erf(Floats x) { return _ZGVeN16v_erff(x); }
inline Floats sin(Floats x) { return _ZGVeN16v_sinf(x); }
inline Floats cos(Floats x) { return _ZGVeN16v_cosf(x); }
inline Floats pow(Floats x, Floats y) { return _ZGVeN16vv_powf(x, y); }

// x rounded to bf16, nearest even, in the upper half of each word; the lower half is anything. (The instruction flushes denormals.)
inline Words round_bf16(Floats value) {
  const __m512i x = _mm512_castps_si512(value);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(x, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(0x7fff)), odd);
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  return _mm512_mask_or_epi32(rounded, nan, x, _mm512_set1_epi32(0x400000));
}
inline Words upper_half(Words x) { return _mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xffff0000))); }
inline Words upper_to_lower(Words x) { return _mm512_srli_epi32(x, 16); }
inline Words either(Words a, Words b) { return _mm512_or_si512(a, b); }
inline Floats as_floats(Words x) { return _mm512_castsi512_ps(x); }
inline Words as_words(Floats x) { return _mm512_castps_si512(x); }
// x to the nearest of those whose lower half is 0, away from 0 between two. A NaN may become a number.
inline Words nearest_upper_half(Floats x) { return upper_half(_mm512_add_epi32(as_words(x), _mm512_set1_epi32(0x8000))); }
// The upper halves of a's words, then of b's.
inline Words upper_halves(Words a, Words b) {
  alignas(64) static constexpr std::uint16_t upper[32] = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                                          33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  return _mm512_permutex2var_epi16(a, _mm512_load_si512(upper), b);
}
// x0 y0 x1 y1 ... of the 16-bit elements of both: the first half of that, and the second.
inline void interleave(Words x, Words y, Words& first, Words& second) {
  alignas(64) static constexpr std::uint16_t order[32] = {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39,
                                                          8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(order), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  first = _mm512_permutex2var_epi16(x, low, y);
  second = _mm512_permutex2var_epi16(x, high, y);
}
// dst[j * dst_stride + i] = src[i * src_stride + j], lanes x lanes words.
inline void transpose_block(const std::uint32_t* src, std::int64_t src_stride, std::uint32_t* dst, std::int64_t dst_stride) {
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
}

#else

using Floats = __m256;
using Words = __m256i;
constexpr std::int64_t lanes = 8;

inline Floats load(const float* x) { return _mm256_loadu_ps(x); }
inline void store(float* x, Floats v) { _mm256_storeu_ps(x, v); }
inline Words load_words(const void* x) { return _mm256_loadu_si256(static_cast<const __m256i*>(x)); }
inline void store_words(void* x, Words v) { _mm256_storeu_si256(static_cast<__m256i*>(x), v); }
inline void stream(float* x, Floats v) { _mm256_stream_ps(x, v); }
inline void stream_words(void* x, Words v) { _mm256_stream_si256(static_cast<__m256i*>(x), v); }
inline Floats broadcast(float x) { return _mm256_set1_ps(x); }

inline Floats larger(Floats a, Floats b) {
  const __m256 takes = _mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_blendv_ps(b, a, takes);
}
inline Floats smaller(Floats a, Floats b) {
  const __m256 takes = _mm256_or_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
  return _mm256_blendv_ps(b, a, takes);
}
inline Floats root(Floats x) { return _mm256_sqrt_ps(x); }
inline Floats magnitude(Floats x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }
inline Floats load_bf16(const std::uint16_t* x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))), 16));
}
inline Floats exp_from(Floats x, Floats lowest) {
  return _mm256_and_ps(_mm256_cmp_ps(x, lowest, _CMP_NLT_UQ), _ZGVdN8v_expf(_mm256_max_ps(lowest, x)));
}
inline Floats exp(Floats x) { return _ZGVdN8v_expf(x); }
inline Floats log(Floats x) { return _ZGVdN8v_logf(x); }
inline Floats tanh(Floats x) { return _ZGVdN8v_tanhf(x); }
inline Floats erf(Floats x) { return _ZGVdN8v_erff(x); }
inline Floats sin(Floats x) { return _ZGVdN8v_sinf(x); }
inline Floats cos(Floats x) { return _ZGVdN8v_cosf(x); }
inline Floats pow(Floats x, Floats y) { return _ZGVdN8vv_powf(x, y); }

inline Words round_bf16(Floats value) {
  const __m256i x = _mm256_castps_si256(value);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(x, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(x, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(x, _mm256_set1_epi32(0x400000));
  return _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q)));
}
inline Words upper_half(Words x) { return _mm256_and_si256(x, _mm256_set1_epi32(static_cast<int>(0xffff0000))); }
inline Words upper_to_lower(Words x) { return _mm256_srli_epi32(x, 16); }
inline Words either(Words a, Words b) { return _mm256_or_si256(a, b); }
inline Floats as_floats(Words x) { return _mm256_castsi256_ps(x); }
inline Words as_words(Floats x) { return _mm256_castps_si256(x); }
inline Words nearest_upper_half(Floats x) { return upper_half(_mm256_add_epi32(as_words(x), _mm256_set1_epi32(0x8000))); }
inline Words upper_halves(Words a, Words b) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)), 0xd8);
}
inline void interleave(Words x, Words y, Words& first, Words& second) {
  const __m256i low = _mm256_unpacklo_epi16(x, y), high = _mm256_unpackhi_epi16(x, y);
  first = _mm256_permute2x128_si256(low, high, 0x20);
  second = _mm256_permute2x128_si256(low, high, 0x31);
}
inline void transpose_block(const std::uint32_t* src, std::int64_t src_stride, std::uint32_t* dst, std::int64_t dst_stride) {
  __m256i r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = load_words(src + i * src_stride);
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    store_words(dst + i * dst_stride, _mm256_permute2x128_si256(r[i], r[i + 4], 0x20));
    store_words(dst + (i + 4) * dst_stride, _mm256_permute2x128_si256(r[i], r[i + 4], 0x31));
  }
}

#endif

}  // namespace dsc::cpu
