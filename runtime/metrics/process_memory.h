// What this process holds, as the kernel counts it (/proc/self): its peak, and what lies outside the arenas now.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "compiler/support/units.h"

namespace dsc {

// Resident bytes apart from the arenas, by what they are.
struct ResidentRest {
  Bytes image{0};   // program and libraries
  Bytes data{0};    // other mapped files
  Bytes stacks{0};  // of the first thread; other threads' stacks count as heap
  Bytes heap{0};    // anonymous memory
};

struct AddressRange {
  const std::byte* begin;
  Bytes bytes;
};

Bytes process_peak();
ResidentRest resident_rest(const std::vector<AddressRange>& arenas);

}  // namespace dsc
