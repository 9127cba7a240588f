// Named views to strides. In: an operand of the graph and the local size of every axis. Out: its dims with strides,
// windows and one offset, and loops over them with adjacent dims collapsed. Everything counts elements.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "compiler/graph/graph.h"
#include "compiler/support/model.h"

namespace dsc::local {

// By AxisId: the axis's size on one rank for one micro-batch.
struct Sizes {
  std::vector<std::int64_t> of_axis;
  std::int64_t operator()(AxisId axis) const { return of_axis[axis.index()]; }
  std::int64_t count(const std::vector<AxisId>& axes) const;
};
Sizes local_sizes(const Model& model, std::int64_t micro_batch);

struct ViewDim {
  AxisId axis{0};
  std::int64_t size = 1, stride = 0;
  MapWindow window;  // [0, size) where every index is inside the base
  bool full() const { return window.lo <= 0 && window.hi >= size; }
};
struct View {
  std::vector<ViewDim> dims;  // in the order of the view
  std::int64_t offset = 0;
  const ViewDim* find(AxisId axis) const;
  std::int64_t stride(AxisId axis) const;  // 0 where the view has no such axis
  bool full() const;
};
View view_of(const Operand& operand, const Tensor& tensor, const Sizes& sizes);
// The tensor as it is stored.
View view_of(const Tensor& tensor, const Sizes& sizes);

// Whether the dims, in the order of `axes`, are one run of memory from offset on (and are all of the view's dims).
bool contiguous(const View& view, const std::vector<AxisId>& axes, const Sizes& sizes);
// The stride of `axes` read as one dim, or nullopt where they do not collapse. Size 1 always collapses; none: 0.
std::optional<std::int64_t> collapsed_stride(const View& view, const std::vector<AxisId>& axes, const Sizes& sizes);

// A loop nest with operands, for collapsing. `kind` separates dims that must not meet (parallel, reduced, inner, ...).
struct LoopDim {
  std::int64_t size = 1;
  int kind = 0;
  bool pinned = false;      // its index is read by the program
  int original = -1;        // where a pinned dim stood before
};
struct LoopOperand {
  std::vector<std::int64_t> strides;
  std::vector<MapWindow> windows;  // one per dim
  std::int64_t offset = 0;
};
struct Loop {
  std::vector<LoopDim> dims;
  std::vector<LoopOperand> operands;
};
LoopOperand loop_operand(const View& view, const std::vector<AxisId>& axes, const Sizes& sizes);
bool can_merge(const Loop& loop, std::size_t dim);  // dim with the one after it
void merge(Loop& loop, std::size_t dim);
// Merges wherever it can.
void collapse(Loop& loop);

}  // namespace dsc::local
