// Views as index arithmetic: which axes of a view have which stride in the tensor below, when several axes act as one,
// and when a view of a view is again one view. Sizes of `batch` are not known here; it is counted as one large prime, so
// that no product of other sizes is mistaken for it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "compiler/graph/graph.h"

namespace dsc {

using AxisList = std::vector<AxisId>;

bool contains(const AxisList& axes, AxisId axis);
// Equal as sets.
bool same_axes(const AxisList& a, const AxisList& b);
// In the order of `a`.
AxisList without(const AxisList& a, const AxisList& b);
AxisList common(const AxisList& a, const AxisList& b);
AxisList joined(AxisList a, const AxisList& b);  // a, then what b has beyond it

std::int64_t symbolic_size(const Model& model, AxisId axis);
std::int64_t symbolic_count(const Model& model, const AxisList& axes);

std::vector<ViewGroup> identity_view(const AxisList& axes);
AxisList view_axes(const std::vector<ViewGroup>& view);
// All of the base in one shape or another: offset 0 and as many elements.
bool is_full(const Model& model, const ViewGroup& group);
// Every index of the view lies in the base.
bool in_range(const Model& model, const ViewGroup& group);
bool in_range(const Model& model, const std::vector<ViewGroup>& view);

struct AxisStride {
  AxisId axis;
  std::int64_t stride;
};
std::vector<AxisStride> strides_of(const Model& model, const std::vector<ViewGroup>& view);

// Whether `axes`, major first, all occur and act as one axis.
bool collapses(const Model& model, const std::vector<AxisStride>& strides, const AxisList& axes);
// The whole base, read in storage order as `axes`.
bool is_contiguous(const Model& model, const std::vector<ViewGroup>& view, const AxisList& axes);

// `outer` is a view of what `inner` shows. nullopt: no single view says it.
std::optional<std::vector<ViewGroup>> compose(const Model& model, const std::vector<ViewGroup>& inner,
                                              const std::vector<ViewGroup>& outer);

}  // namespace dsc
