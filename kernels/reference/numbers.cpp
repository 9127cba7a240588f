#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"

namespace dsc::reference {
namespace {

struct Format {
  int digits, lowest, highest;  // bits of significand; exponents of the smallest and largest normal number
};

Format format_of(DType type) {
  if (type == DType::bf16) return {8, -126, 127};
  if (type == DType::f16) return {11, -14, 15};
  return {24, -126, 127};
}

}  // namespace

double rounded(DType type, double value) {
  if (std::isnan(value) || std::isinf(value) || value == 0) return value;
  const Format format = format_of(type);
  int exponent = 0;
  std::frexp(value, &exponent);  // |value| in [0.5, 1) * 2^exponent
  const int unit = std::max(exponent - 1, format.lowest) - (format.digits - 1);
  const double result = std::ldexp(std::nearbyint(std::ldexp(value, -unit)), unit);
  if (std::fabs(result) >= std::ldexp(1.0, format.highest + 1)) return std::copysign(std::numeric_limits<double>::infinity(), value);
  return result;
}

double get(const void* base, DType type, std::int64_t index) {
  const char* at = static_cast<const char*>(base) + index * size_of(type);
  auto read = [at](auto value) { std::memcpy(&value, at, sizeof value); return value; };
  switch (type) {
    case DType::f32: return read(0.0f);
    case DType::f64: return read(0.0);
    case DType::i32: return read(std::int32_t{});
    case DType::u8: return read(std::uint8_t{});
    case DType::bf16: {
      const std::uint32_t bits = std::uint32_t{read(std::uint16_t{})} << 16;
      float value = 0;
      std::memcpy(&value, &bits, 4);
      return value;
    }
    case DType::f16: {
      const std::uint16_t bits = read(std::uint16_t{});
      const int exponent = bits >> 10 & 31, fraction = bits & 1023;
      const double sign = bits >> 15 ? -1 : 1;
      if (exponent == 31) return fraction ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
      if (exponent == 0) return sign * std::ldexp(fraction, -24);
      return sign * std::ldexp(1024 + fraction, exponent - 25);
    }
  }
  return 0;
}

void set(void* base, DType type, std::int64_t index, double value) {
  char* at = static_cast<char*>(base) + index * size_of(type);
  auto write = [at](auto v) { std::memcpy(at, &v, sizeof v); };
  switch (type) {
    case DType::f32: write(static_cast<float>(value)); return;
    case DType::f64: write(value); return;
    case DType::i32: write(static_cast<std::int32_t>(value)); return;
    case DType::u8: write(static_cast<std::uint8_t>(value)); return;
    case DType::bf16: {
      const float narrow = static_cast<float>(rounded(type, value));
      std::uint32_t bits = 0;
      std::memcpy(&bits, &narrow, 4);
      write(static_cast<std::uint16_t>(bits >> 16));
      return;
    }
    case DType::f16: {
      const double narrow = rounded(type, value);
      const std::uint16_t sign = std::signbit(narrow) ? 0x8000 : 0;
      const double size = std::fabs(narrow);
      if (std::isnan(narrow)) return write(static_cast<std::uint16_t>(sign | 0x7e00));
      if (std::isinf(narrow)) return write(static_cast<std::uint16_t>(sign | 0x7c00));
      if (size < std::ldexp(1.0, -14)) return write(static_cast<std::uint16_t>(sign | static_cast<int>(std::ldexp(size, 24))));
      int exponent = 0;
      const double fraction = std::frexp(size, &exponent);  // [0.5, 1)
      return write(static_cast<std::uint16_t>(sign | (exponent + 14) << 10 | (static_cast<int>(std::ldexp(fraction, 11)) - 1024)));
    }
  }
}

}  // namespace dsc::reference
