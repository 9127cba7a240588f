// The allocator of this test binary, counted: every malloc, calloc, realloc, free and aligned allocation, of libraries too.
#pragma once

#include <cstdint>

#include "tests/support/sanitized.h"

namespace dsc_test {

inline constexpr bool kHeapIsCounted = !kSanitized;

struct HeapCount {
  std::int64_t calls = 0;       // that allocate
  std::int64_t live_bytes = 0;
};
HeapCount heap_count();

}  // namespace dsc_test
