#include "compiler/partition/views.h"

#include <algorithm>

#include "compiler/support/check.h"

namespace dsc::local {

std::int64_t Sizes::count(const std::vector<AxisId>& axes) const {
  std::int64_t n = 1;
  for (AxisId axis : axes) n *= of_axis[axis.index()];
  return n;
}

Sizes local_sizes(const Model& model, std::int64_t micro_batch) {
  Sizes sizes;
  for (const Axis& axis : model.axes) sizes.of_axis.push_back(axis.size);
  sizes.of_axis[model.batch.index()] = micro_batch;
  return sizes;
}

const ViewDim* View::find(AxisId axis) const {
  for (const ViewDim& dim : dims) {
    if (dim.axis == axis) return &dim;
  }
  return nullptr;
}

std::int64_t View::stride(AxisId axis) const {
  const ViewDim* dim = find(axis);
  return dim ? dim->stride : 0;
}

bool View::full() const {
  return std::all_of(dims.begin(), dims.end(), [](const ViewDim& dim) { return dim.full(); });
}

namespace {

std::vector<ViewGroup> groups_of(const Operand& operand, const Tensor& tensor) {
  if (!operand.groups.empty()) return operand.groups;
  std::vector<ViewGroup> identity;
  for (AxisId axis : tensor.axes) identity.push_back({{axis}, {axis}, 0});
  return identity;
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

}  // namespace

View view_of(const Operand& operand, const Tensor& tensor, const Sizes& sizes) {
  View view;
  const std::vector<ViewGroup> groups = groups_of(operand, tensor);
  std::int64_t group_stride = sizes.count(tensor.axes);
  for (const ViewGroup& group : groups) {
    const std::int64_t base = sizes.count(group.base), seen = sizes.count(group.view);
    DSC_CHECK(group_stride % std::max<std::int64_t>(base, 1) == 0, "the groups of a view do not cover " + tensor.name);
    group_stride /= base;
    view.offset += group.offset * group_stride;
    std::int64_t stride = group_stride;
    const bool inside = group.offset >= 0 && group.offset + seen <= base;
    for (std::size_t i = group.view.size(); i-- > 0;) {
      const std::int64_t size = sizes(group.view[i]);
      view.dims.insert(view.dims.end() - static_cast<std::ptrdiff_t>(group.view.size() - 1 - i),
                       ViewDim{group.view[i], size, stride, {0, size}});
      stride *= size;
    }
    if (inside || group.view.empty()) continue;
    // Outside indices read 0: a window on the major axis, which must cut at whole rows of the minor ones.
    ViewDim& major = view.dims[view.dims.size() - group.view.size()];
    const std::int64_t minor = seen / std::max<std::int64_t>(major.size, 1);
    DSC_CHECK(group.offset % minor == 0 && base % minor == 0, "a view of " + tensor.name + " ends inside a minor axis");
    major.window.lo = std::clamp<std::int64_t>(-floor_div(group.offset, minor), 0, major.size);
    major.window.hi = std::clamp<std::int64_t>(floor_div(base - group.offset, minor), major.window.lo, major.size);
  }
  DSC_CHECK(group_stride == 1 || sizes.count(tensor.axes) == 0, "the groups of a view do not cover " + tensor.name);
  return view;
}

View view_of(const Tensor& tensor, const Sizes& sizes) { return view_of(Operand{TensorId(0), {}}, tensor, sizes); }

bool contiguous(const View& view, const std::vector<AxisId>& axes, const Sizes& sizes) {
  if (!view.full() || view.dims.size() != axes.size()) return false;
  std::int64_t stride = 1;
  for (std::size_t i = axes.size(); i-- > 0;) {
    const ViewDim* dim = view.find(axes[i]);
    if (!dim || (dim->size != 1 && dim->stride != stride)) return false;
    stride *= sizes(axes[i]);
  }
  return true;
}

std::optional<std::int64_t> collapsed_stride(const View& view, const std::vector<AxisId>& axes, const Sizes& sizes) {
  std::int64_t stride = 0, expected = 0;
  bool started = false;
  for (std::size_t i = axes.size(); i-- > 0;) {
    const std::int64_t size = sizes(axes[i]);
    if (size == 1) continue;
    const ViewDim* dim = view.find(axes[i]);
    if (dim && !dim->full()) return std::nullopt;
    const std::int64_t here = dim ? dim->stride : 0;
    if (!started) {
      stride = here;
      started = true;
    } else if (here != expected) {
      return std::nullopt;
    }
    expected = here * size;
  }
  // All of size 1: any stride serves; the innermost one's keeps the spec readable.
  if (!started && !axes.empty()) stride = view.stride(axes.back());
  return stride;
}

LoopOperand loop_operand(const View& view, const std::vector<AxisId>& axes, const Sizes& sizes) {
  LoopOperand operand;
  operand.offset = view.offset;
  for (AxisId axis : axes) {
    const ViewDim* dim = view.find(axis);
    operand.strides.push_back(dim ? dim->stride : 0);
    operand.windows.push_back(dim ? dim->window : MapWindow{0, sizes(axis)});
  }
  for (const ViewDim& dim : view.dims) {
    DSC_CHECK(std::find(axes.begin(), axes.end(), dim.axis) != axes.end(), "an operand varies along an axis outside its loop");
  }
  return operand;
}

bool can_merge(const Loop& loop, std::size_t dim) {
  const LoopDim &outer = loop.dims[dim], &inner = loop.dims[dim + 1];
  if (outer.kind != inner.kind || outer.pinned || inner.pinned) return false;
  for (const LoopOperand& operand : loop.operands) {
    const bool outer_full = operand.windows[dim].lo == 0 && operand.windows[dim].hi == outer.size;
    const bool inner_full = operand.windows[dim + 1].lo == 0 && operand.windows[dim + 1].hi == inner.size;
    if (!inner_full && !(outer.size == 1 && outer_full)) return false;
    if (outer.size == 1 || inner.size == 1) continue;
    if (operand.strides[dim] != operand.strides[dim + 1] * inner.size) return false;
  }
  return true;
}

void merge(Loop& loop, std::size_t dim) {
  LoopDim &outer = loop.dims[dim], &inner = loop.dims[dim + 1];
  const auto at = static_cast<std::ptrdiff_t>(dim);
  for (LoopOperand& operand : loop.operands) {
    if (inner.size == 1) operand.strides[dim + 1] = operand.strides[dim];
    MapWindow& window = operand.windows[dim + 1];
    if (window.lo == 0 && window.hi == inner.size) {
      window = {operand.windows[dim].lo * inner.size, operand.windows[dim].hi * inner.size};
    }
    operand.strides.erase(operand.strides.begin() + at);
    operand.windows.erase(operand.windows.begin() + at);
  }
  inner.size *= outer.size;
  loop.dims.erase(loop.dims.begin() + at);
}

void collapse(Loop& loop) {
  for (std::size_t dim = loop.dims.size(); dim-- > 1;) {
    if (can_merge(loop, dim - 1)) merge(loop, dim - 1);
  }
}

}  // namespace dsc::local
