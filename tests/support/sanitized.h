// Whether this build has a sanitizer in it: everything is then many times slower, addresses are reserved by the terabyte
// (so that `ulimit -v` leaves no room to start) and the allocator is another one.
#pragma once

namespace dsc_test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Of cases that differ in numbers alone (a grid, a seeded repetition), one in so many is tried.
inline constexpr int kThinned = kSanitized ? 10 : 1;

}  // namespace dsc_test
