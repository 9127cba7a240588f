// Two-dimensional packing: items with a size and a span of time in, an offset for each out, no two that meet in time
// overlapping, as low as several greedy orders, their repair and a capped exact search get. Pure and deterministic: work is
// capped by counts, never by the clock.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace dsc {

struct PackItem {
  std::int64_t size = 0;
  int first = 0, last = 0;  // live at first..last, both included
  int group = -1;           // items of different groups never meet, but for -1, which may meet any
};

struct Packing {
  std::vector<std::int64_t> offsets;
  std::int64_t height = 0;
};

// The greatest sum of sizes that are live at one time: no packing is lower.
std::int64_t live_bound(const std::vector<PackItem>& items);

// Stops looking for better where the height is at most `goal`.
Packing pack(const std::vector<PackItem>& items, std::int64_t goal);

// An exact search for a packing of height at most `capacity`; nullopt where there is none or `work` ran out.
std::optional<Packing> pack_exactly(const std::vector<PackItem>& items, std::int64_t capacity, std::int64_t work);

}  // namespace dsc
