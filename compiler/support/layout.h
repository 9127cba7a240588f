// A layout with every `auto` resolved. Part of the plan's contract. Splits, offload and recompute that this compiler does
// not lower end in a diagnostic in sema, so none reaches this struct.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/ids.h"
#include "compiler/support/source.h"
#include "compiler/support/units.h"

namespace dsc {

struct MeshAxis {
  std::string name;
  std::int64_t size = 1;
  SourceRange source;
};

// What an `auto` (or an unwritten default) became, for `explain`.
struct AutoChoice {
  std::string key;     // "layout.zero3.micro_batch"
  std::string value;   // "8"
  std::string reason;  // "largest divisor of batch/data (16) with rows x sequence within 8,192 tokens"
};

struct LayoutSpec {
  std::string name;
  std::vector<MeshAxis> mesh;  // slowest first; a rank's coordinates are its mixed-radix digits in this order
  std::vector<int> batch_axes;    // mesh axes that split batch, slowest first; D is the product of their sizes
  int zero_stage = 0;             // 0..3, over `batch_axes` as a whole
  bool stage_auto = false;        // the file has no layout: the driver takes the lowest stage that fits
  std::int64_t micro_batch = 1;   // sequences per data rank per pass
  bool wire_bf16 = false;
  bool overlap = true;
  // In elements of the parameter type as used. `auto` is resolved by sema's documented rules.
  Elements bucket{0}, prefetch{0}, persist_below{0}, max_live{0}, reuse_distance{0};
  SourceRange source, zero_source, batch_split_source;

  std::int64_t world_size() const {
    std::int64_t n = 1;
    for (const MeshAxis& axis : mesh) n *= axis.size;
    return n;
  }
  std::int64_t data_ranks() const {
    std::int64_t n = 1;
    for (int axis : batch_axes) n *= mesh[axis].size;
    return n;
  }
};

}  // namespace dsc
