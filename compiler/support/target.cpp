#include "compiler/support/target.h"

namespace dsc {

Target reference_target() {
  Target target;
  target.name = "reference";
  return target;
}

Target named_target(const std::string& name) {
  Target target;
  target.name = name;
  constexpr std::int64_t gib = std::int64_t{1} << 30;
  if (name == "cpu") {
    target.capacity = Bytes(16 * gib);
  } else if (name == "h100") {
    target.capacity = Bytes(78 * gib);
    target.alignment = Bytes(256);
  } else if (name == "h200") {
    target.capacity = Bytes(139 * gib);
    target.alignment = Bytes(256);
  } else if (name == "a100") {
    target.capacity = Bytes(78 * gib);
    target.alignment = Bytes(256);
  } else {
    target.name.clear();
  }
  return target;
}

}  // namespace dsc
