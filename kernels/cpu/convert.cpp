#include "kernels/cpu/convert.h"

#include "kernels/cpu/vector.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

float f16_to_f32(std::uint16_t x) { return _cvtsh_ss(x); }
std::uint16_t f32_to_f16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }

// Runs are mostly rows of a tile, too short for a call to be worth it.
void copy_f32(const float* src, int64_t count, float* dst) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) store(dst + i, load(src + i));
  for (; i < count; ++i) dst[i] = src[i];
}

void widen_f16(const std::uint16_t* src, int64_t count, float* dst) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(src + i))));
  for (; i < count; ++i) dst[i] = f16_to_f32(src[i]);
}

void narrow_f16(const float* src, int64_t count, std::uint16_t* dst) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  for (; i < count; ++i) dst[i] = f32_to_f16(src[i]);
}

void widen_bf16(const std::uint16_t* __restrict src, int64_t count, float* __restrict dst) {
  for (int64_t i = 0; i < count; ++i) dst[i] = bf16_to_f32(src[i]);
}

// Two vectors of values to bf16.
Words narrow_two(const float* src) { return upper_halves(round_bf16(load(src)), round_bf16(load(src + lanes))); }

void narrow_bf16(const float* __restrict src, int64_t count, std::uint16_t* __restrict dst) {
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) store_words(dst + i, narrow_two(src + i));
  for (; i < count; ++i) dst[i] = f32_to_bf16(src[i]);
}

template <class T, class F>
void load_strided(const void* src, int64_t stride, int64_t count, float* dst, F convert) {
  const T* from = static_cast<const T*>(src);
  if (stride == 0) {
    const float value = convert(from[0]);
    for (int64_t i = 0; i < count; ++i) dst[i] = value;
  } else {
    for (int64_t i = 0; i < count; ++i) dst[i] = convert(from[i * stride]);
  }
}

template <class T, class F>
void store_strided(void* dst, int64_t stride, int64_t count, const float* src, F convert) {
  T* to = static_cast<T*>(dst);
  for (int64_t i = 0; i < count; ++i) to[i * stride] = convert(src[i]);
}

template <class T>
T plain(T x) { return x; }

}  // namespace

void load_run(DType type, const void* src, int64_t stride, int64_t count, float* dst) {
  const bool unit = stride == 1;
  switch (type) {
    case DType::f32:
      if (unit) copy_f32(static_cast<const float*>(src), count, dst);
      else load_strided<float>(src, stride, count, dst, plain<float>);
      return;
    case DType::bf16:
      if (unit) widen_bf16(static_cast<const std::uint16_t*>(src), count, dst);
      else load_strided<std::uint16_t>(src, stride, count, dst, bf16_to_f32);
      return;
    case DType::f16:
      if (unit) widen_f16(static_cast<const std::uint16_t*>(src), count, dst);
      else load_strided<std::uint16_t>(src, stride, count, dst, f16_to_f32);
      return;
    case DType::i32: load_strided<std::int32_t>(src, stride, count, dst, [](std::int32_t x) { return static_cast<float>(x); }); return;
    case DType::f64: load_strided<double>(src, stride, count, dst, [](double x) { return static_cast<float>(x); }); return;
    case DType::u8: load_strided<std::uint8_t>(src, stride, count, dst, [](std::uint8_t x) { return static_cast<float>(x); }); return;
  }
}

void store_run(DType type, void* dst, int64_t stride, int64_t count, const float* src) {
  const bool unit = stride == 1;
  switch (type) {
    case DType::f32:
      if (unit) copy_f32(src, count, static_cast<float*>(dst));
      else store_strided<float>(dst, stride, count, src, plain<float>);
      return;
    case DType::bf16:
      if (unit) narrow_bf16(src, count, static_cast<std::uint16_t*>(dst));
      else store_strided<std::uint16_t>(dst, stride, count, src, f32_to_bf16);
      return;
    case DType::f16:
      if (unit) narrow_f16(src, count, static_cast<std::uint16_t*>(dst));
      else store_strided<std::uint16_t>(dst, stride, count, src, f32_to_f16);
      return;
    case DType::i32: store_strided<std::int32_t>(dst, stride, count, src, [](float x) { return static_cast<std::int32_t>(x); }); return;
    case DType::f64: store_strided<double>(dst, stride, count, src, [](float x) { return static_cast<double>(x); }); return;
    case DType::u8: store_strided<std::uint8_t>(dst, stride, count, src, [](float x) { return static_cast<std::uint8_t>(x); }); return;
  }
}

void stream_run(DType type, void* dst, int64_t stride, int64_t count, const float* src) {
  const bool lines = stride == 1 && reinterpret_cast<std::uintptr_t>(dst) % 64 == 0;
  if (lines && type == DType::bf16 && count % 32 == 0) {
    std::uint16_t* to = static_cast<std::uint16_t*>(dst);
    for (int64_t i = 0; i < count; i += 2 * lanes) stream_words(to + i, narrow_two(src + i));
  } else if (lines && type == DType::f32 && count % 16 == 0) {
    float* to = static_cast<float*>(dst);
    for (int64_t i = 0; i < count; i += lanes) stream(to + i, load(src + i));
  } else {
    store_run(type, dst, stride, count, src);
  }
}

void add_run(float* dst, int64_t stride, int64_t count, const float* src) {
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) dst[i] += src[i];
  } else {
    for (int64_t i = 0; i < count; ++i) dst[i * stride] += src[i];
  }
}

void round_run(DType type, float* dst, const float* src, int64_t count) {
  if (type == DType::bf16) {
    int64_t i = 0;
    for (; i + lanes <= count; i += lanes) store(dst + i, as_floats(upper_half(round_bf16(load(src + i)))));
    for (; i < count; ++i) dst[i] = bf16_to_f32(f32_to_bf16(src[i]));
  } else if (type == DType::f16) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8)
      _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm256_cvtps_ph(_mm256_loadu_ps(src + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)));
    for (; i < count; ++i) dst[i] = f16_to_f32(f32_to_f16(src[i]));
  } else if (dst != src) {
    copy_f32(src, count, dst);
  }
}

}  // namespace dsc::cpu
