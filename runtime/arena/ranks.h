// Where a rank stands in a layout's mesh: pure arithmetic on its number.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/support/layout.h"

namespace dsc {

// A rank's coordinates: the mixed-radix digits of its number, slowest mesh axis first.
std::vector<std::int64_t> coordinates(const LayoutSpec& layout, std::int64_t rank);
// Its index along the axes that split `batch`, slowest first: which rows it reads and which pieces it owns.
std::int64_t data_rank(const LayoutSpec& layout, std::int64_t rank);
// The ranks that differ from `rank` in these coordinates alone, itself included, in member order (innermost axis last).
std::vector<std::int64_t> group_of(const LayoutSpec& layout, const std::vector<int>& mesh_axes, std::int64_t rank);

}  // namespace dsc
