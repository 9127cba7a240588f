// The allocator of this test binary, counted: every malloc, calloc, realloc, free and aligned allocation, of libraries too.
#pragma once

#include <cstdint>

namespace dsc_test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kHeapIsCounted = false;
#else
inline constexpr bool kHeapIsCounted = true;
#endif

struct HeapCount {
  std::int64_t calls = 0;       // that allocate
  std::int64_t live_bytes = 0;
};
HeapCount heap_count();

}  // namespace dsc_test
