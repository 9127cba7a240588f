#include "compiler/graph/views.h"

#include <algorithm>

namespace dsc {
namespace {

constexpr std::int64_t kBatch = 1000003;

bool is_identity(const ViewGroup& group) {
  return group.base.size() == 1 && group.base == group.view && group.offset == 0;
}

// Joins groups [first, last] of a view into one; nullopt where their elements do not follow one another.
std::optional<ViewGroup> join(const Model& model, const std::vector<ViewGroup>& view, std::size_t first, std::size_t last) {
  ViewGroup result = view[first];
  if (first == last) return result;
  if (!in_range(model, result)) return std::nullopt;
  for (std::size_t i = first + 1; i <= last; ++i) {
    if (!is_full(model, view[i])) return std::nullopt;
    result.offset *= symbolic_count(model, view[i].base);
    result.base.insert(result.base.end(), view[i].base.begin(), view[i].base.end());
    result.view.insert(result.view.end(), view[i].view.begin(), view[i].view.end());
  }
  return result;
}

// Reads axis `at` of group `g`'s view as `h` does; h.base is that one axis.
std::optional<ViewGroup> read_axis(const Model& model, ViewGroup g, std::size_t at, const ViewGroup& h) {
  const bool whole = is_full(model, h);
  if (g.view.size() == 1) {
    const bool fits = whole || is_full(model, g) || (in_range(model, h) && in_range(model, g));
    if (!fits) return std::nullopt;
    g.offset += h.offset;
    g.view = h.view;
    const bool plain = g.base.size() == 1 && g.view.size() == 1;
    if (!plain && !in_range(model, g)) return std::nullopt;
    return g;
  }
  if (!whole && (at != 0 || !in_range(model, h))) return std::nullopt;
  if (!whole) {
    AxisList rest(g.view.begin() + 1, g.view.end());
    g.offset += h.offset * symbolic_count(model, rest);
  }
  g.view.erase(g.view.begin() + at);
  g.view.insert(g.view.begin() + at, h.view.begin(), h.view.end());
  return g;
}

}  // namespace

bool contains(const AxisList& axes, AxisId axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

bool same_axes(const AxisList& a, const AxisList& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&](AxisId x) { return contains(b, x); });
}

AxisList without(const AxisList& a, const AxisList& b) {
  AxisList result;
  for (AxisId axis : a)
    if (!contains(b, axis)) result.push_back(axis);
  return result;
}

AxisList common(const AxisList& a, const AxisList& b) {
  AxisList result;
  for (AxisId axis : a)
    if (contains(b, axis)) result.push_back(axis);
  return result;
}

AxisList joined(AxisList a, const AxisList& b) {
  for (AxisId axis : b)
    if (!contains(a, axis)) a.push_back(axis);
  return a;
}

std::int64_t symbolic_size(const Model& model, AxisId axis) {
  return axis == model.batch ? kBatch : model.axis(axis).size;
}

std::int64_t symbolic_count(const Model& model, const AxisList& axes) {
  std::int64_t n = 1;
  for (AxisId axis : axes) n *= symbolic_size(model, axis);
  return n;
}

std::vector<ViewGroup> identity_view(const AxisList& axes) {
  std::vector<ViewGroup> view;
  view.reserve(axes.size());
  for (AxisId axis : axes) view.push_back({{axis}, {axis}, 0});
  return view;
}

AxisList view_axes(const std::vector<ViewGroup>& view) {
  AxisList axes;
  for (const ViewGroup& group : view) axes.insert(axes.end(), group.view.begin(), group.view.end());
  return axes;
}

bool is_full(const Model& model, const ViewGroup& group) {
  return group.offset == 0 && symbolic_count(model, group.base) == symbolic_count(model, group.view);
}

bool in_range(const Model& model, const ViewGroup& group) {
  return group.offset >= 0 && group.offset + symbolic_count(model, group.view) <= symbolic_count(model, group.base);
}

bool in_range(const Model& model, const std::vector<ViewGroup>& view) {
  return std::all_of(view.begin(), view.end(), [&](const ViewGroup& group) { return in_range(model, group); });
}

std::vector<AxisStride> strides_of(const Model& model, const std::vector<ViewGroup>& view) {
  std::vector<AxisStride> result;
  std::int64_t below = 1;
  for (auto group = view.rbegin(); group != view.rend(); ++group) {
    std::int64_t stride = below;
    for (auto axis = group->view.rbegin(); axis != group->view.rend(); ++axis) {
      result.push_back({*axis, stride});
      stride *= symbolic_size(model, *axis);
    }
    below *= symbolic_count(model, group->base);
  }
  std::reverse(result.begin(), result.end());
  return result;
}

bool collapses(const Model& model, const std::vector<AxisStride>& strides, const AxisList& axes) {
  std::int64_t expected = -1;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    auto found = std::find_if(strides.begin(), strides.end(), [&](const AxisStride& s) { return s.axis == *axis; });
    if (found == strides.end()) return false;
    if (expected >= 0 && found->stride != expected) return false;
    expected = found->stride * symbolic_size(model, *axis);
  }
  return true;
}

bool is_contiguous(const Model& model, const std::vector<ViewGroup>& view, const AxisList& axes) {
  return std::all_of(view.begin(), view.end(), [&](const ViewGroup& group) { return is_full(model, group); }) &&
         view_axes(view) == axes;
}

std::optional<std::vector<ViewGroup>> compose(const Model& model, const std::vector<ViewGroup>& inner,
                                              const std::vector<ViewGroup>& outer) {
  std::vector<ViewGroup> result = inner;
  for (const ViewGroup& h : outer) {
    if (is_identity(h)) continue;
    // Where h's axes stand: they must follow one another.
    std::size_t first = 0, at = 0;
    bool found = false;
    for (std::size_t g = 0; g < result.size() && !found; ++g)
      for (std::size_t i = 0; i < result[g].view.size() && !found; ++i)
        if (result[g].view[i] == h.base[0]) first = g, at = i, found = true;
    if (!found) return std::nullopt;
    std::size_t last = first, covered = result[first].view.size() - at;
    while (covered < h.base.size()) {
      if (++last == result.size()) return std::nullopt;
      covered += result[last].view.size();
    }
    std::optional<ViewGroup> group = join(model, result, first, last);
    if (!group) return std::nullopt;
    if (!std::equal(h.base.begin(), h.base.end(), group->view.begin() + at)) return std::nullopt;
    if (h.base.size() == 1) {
      group = read_axis(model, *group, at, h);
      if (!group) return std::nullopt;
    } else {
      if (!is_full(model, h)) return std::nullopt;
      group->view.erase(group->view.begin() + at, group->view.begin() + at + h.base.size());
      group->view.insert(group->view.begin() + at, h.view.begin(), h.view.end());
    }
    result.erase(result.begin() + first, result.begin() + last + 1);
    result.insert(result.begin() + first, *group);
  }
  return result;
}

}  // namespace dsc
