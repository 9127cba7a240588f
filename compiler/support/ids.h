// Typed indices into vectors. An id has no default value, compares and hashes by its index, and prints with its own
// letter: `struct AxisId : Id<AxisId> { static constexpr char letter = 'a'; using Id::Id; };`
// `kNone` style absence is std::optional<SomeId>.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>

namespace dsc {

template <class Derived>
struct Id {
  constexpr explicit Id(std::size_t index) : index_(static_cast<std::uint32_t>(index)) {}
  constexpr std::size_t index() const { return index_; }
  friend constexpr auto operator<=>(const Id&, const Id&) = default;
  std::string str() const { return Derived::letter + std::to_string(index_); }

 private:
  std::uint32_t index_;
};

// An axis of the model: indexes Model::axes.
struct AxisId : Id<AxisId> { static constexpr char letter = 'a'; using Id::Id; };
// A parameter of the model: indexes Model::parameters.
struct ParameterId : Id<ParameterId> { static constexpr char letter = 'p'; using Id::Id; };
// An operation of the forward graph: indexes Model::ops (and Contract::ops: the numbers are the same).
struct OpId : Id<OpId> { static constexpr char letter = 'o'; using Id::Id; };

}  // namespace dsc

template <class T>
  requires std::derived_from<T, dsc::Id<T>>
struct std::hash<T> {
  std::size_t operator()(const T& id) const { return id.index(); }
};
