#include "compiler/support/units.h"

#include <cstdio>

#include "compiler/support/dtype.h"

namespace dsc {
namespace {

std::string scaled(double value, double step, const char* const* units, int count) {
  int unit = 0;
  while (value >= step && unit + 1 < count) {
    value /= step;
    ++unit;
  }
  char text[32];
  const char* format = unit == 0 ? "%.0f %s" : value < 10 ? "%.2f %s" : value < 100 ? "%.1f %s" : "%.0f %s";
  std::snprintf(text, sizeof text, format, value, units[unit]);
  return text;
}

}  // namespace

std::string human(Bytes size) {
  static const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  return scaled(static_cast<double>(size.value), 1024, units, 5);
}

std::string human_count(std::int64_t count) {
  static const char* const units[] = {"", "K", "M", "B", "T"};
  std::string text = scaled(static_cast<double>(count), 1000, units, 5);
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string with_commas(std::int64_t count) {
  std::string digits = std::to_string(count);
  std::size_t first = count < 0 ? 1 : 0;
  for (std::size_t i = digits.size(); i > first + 3;) {
    i -= 3;
    digits.insert(i, ",");
  }
  return digits;
}

std::string_view name_of(DType type) {
  switch (type) {
    case DType::f32: return "f32";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i32: return "i32";
    case DType::f64: return "f64";
    case DType::u8: return "u8";
  }
  return "";
}

std::optional<DType> dtype_named(std::string_view name) {
  for (DType type : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::f64, DType::u8})
    if (name_of(type) == name) return type;
  return std::nullopt;
}

}  // namespace dsc
