// Quantities as types: Bytes and Elements do not mix by accident. Both count; neither is negative in a valid plan.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace dsc {

template <class Tag>
struct Quantity {
  std::int64_t value = 0;
  constexpr Quantity() = default;
  constexpr explicit Quantity(std::int64_t v) : value(v) {}
  friend constexpr auto operator<=>(const Quantity&, const Quantity&) = default;
  constexpr Quantity operator+(Quantity o) const { return Quantity(value + o.value); }
  constexpr Quantity operator-(Quantity o) const { return Quantity(value - o.value); }
  constexpr Quantity operator*(std::int64_t n) const { return Quantity(value * n); }
  constexpr Quantity& operator+=(Quantity o) { value += o.value; return *this; }
  constexpr Quantity& operator-=(Quantity o) { value -= o.value; return *this; }
};

using Bytes = Quantity<struct BytesTag>;
using Elements = Quantity<struct ElementsTag>;

// The smallest multiple of `alignment` that is at least `size`.
constexpr Bytes align_up(Bytes size, Bytes alignment) {
  return Bytes((size.value + alignment.value - 1) / alignment.value * alignment.value);
}

// "512 B", "1.5 KiB", "2.24 GiB": for people. Exact bytes go to JSON.
std::string human(Bytes size);
// "124.4 M", "1.56 B": a count of parameters or elements, for people.
std::string human_count(std::int64_t count);
// "12,345,678".
std::string with_commas(std::int64_t count);

}  // namespace dsc
