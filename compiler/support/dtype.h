// Element types that a buffer may hold, their sizes and names ("f32", "bf16", "f16", "i32", "f64", "u8").
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dsc {

enum class DType : std::uint8_t { f32, bf16, f16, i32, f64, u8 };

constexpr std::int64_t size_of(DType type) {
  switch (type) {
    case DType::f32: case DType::i32: return 4;
    case DType::bf16: case DType::f16: return 2;
    case DType::f64: return 8;
    case DType::u8: return 1;
  }
  return 0;
}

std::string_view name_of(DType type);
std::optional<DType> dtype_named(std::string_view name);

}  // namespace dsc
