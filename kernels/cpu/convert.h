// Runs of elements of any storage type to and from f32. Narrowing is to nearest even, denormals included; a NaN stays a NaN.
#pragma once

#include <immintrin.h>

#include <bit>
#include <cstdint>
#include <cstring>

#include "compiler/support/dtype.h"

namespace dsc::cpu {

inline float bf16_to_f32(std::uint16_t x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

inline std::uint16_t f32_to_bf16(float value) {
  const auto x = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
  const std::uint32_t nan = (x >> 16) | 0x40u;
  return static_cast<std::uint16_t>((x & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

// dst[i] = f32 of src[i * stride]; src points at elements of `type`.
void load_run(DType type, const void* src, std::int64_t stride, std::int64_t count, float* dst);
// dst[i * stride] = src[i] in `type`.
void store_run(DType type, void* dst, std::int64_t stride, std::int64_t count, const float* src);
// The same past the caches, for results of streamed_bytes and more; end_streaming before another thread may read them.
void stream_run(DType type, void* dst, std::int64_t stride, std::int64_t count, const float* src);
inline void end_streaming() { _mm_sfence(); }
// dst[i * stride] = fl(dst[i * stride] + src[i]), f32.
void add_run(float* dst, std::int64_t stride, std::int64_t count, const float* src);
// dst[i] = src[i] rounded to `type`; may be in place.
void round_run(DType type, float* dst, const float* src, std::int64_t count);

inline const void* element(const void* base, DType type, std::int64_t index) {
  return static_cast<const char*>(base) + index * size_of(type);
}
inline void* element(void* base, DType type, std::int64_t index) { return static_cast<char*>(base) + index * size_of(type); }

}  // namespace dsc::cpu
