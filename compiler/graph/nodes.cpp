#include "compiler/graph/nodes.h"

#include <algorithm>
#include <utility>

#include "compiler/support/check.h"

namespace dsc {

int Nodes::add(Node node) {
  node.forward = forward_;
  if (!node.op) node.op = op_;
  if (node.kind != NodeKind::result) node.role = role_;
  list_.push_back(std::move(node));
  copies_.emplace_back();
  return size() - 1;
}

int Nodes::leaf(NodeKind kind, const AxisList& axes, bool exact, bool integer) {
  Node node;
  node.kind = kind;
  node.axes = axes;
  node.exact = exact;
  node.integer = integer;
  return add(std::move(node));
}

int Nodes::constant(double number, bool per_row) {
  Node node;
  node.kind = NodeKind::constant;
  node.number = number;
  node.per_row = per_row;
  return add(std::move(node));
}

int Nodes::position(AxisId axis) {
  Node node;
  node.kind = NodeKind::position;
  node.axes = {axis};
  node.integer = true;
  return add(std::move(node));
}

int Nodes::pointwise(MapOpcode opcode, std::vector<int> in, AxisList axes) {
  Node node;
  node.kind = NodeKind::pointwise;
  node.opcode = opcode;
  node.in = std::move(in);
  node.axes = std::move(axes);
  return add(std::move(node));
}

int Nodes::pointwise(MapOpcode opcode, std::vector<int> in) {
  AxisList axes;
  for (int x : in)
    if (list_[x].axes.size() > axes.size()) axes = list_[x].axes;
  for (int x : in) axes = joined(axes, list_[x].axes);
  return pointwise(opcode, std::move(in), axes);
}

int Nodes::round(int x) {
  if (list_[x].exact) return x;
  int id = pointwise(MapOpcode::round, {x}, list_[x].axes);
  list_[id].exact = true;
  list_[id].root = true;
  return id;
}

int Nodes::reduce(MapOpcode opcode, int x, const AxisList& over) {
  if (over.empty()) return x;
  Node node;
  node.kind = NodeKind::reduce;
  node.opcode = opcode;
  node.in = {x};
  node.over = over;
  node.axes = without(list_[x].axes, over);
  // A sum over rows is complete only when all rows are done: never part of another row's arithmetic.
  node.root = contains(over, model_.batch);
  return add(std::move(node));
}

int Nodes::reduce_to(int x, const AxisList& axes) {
  return reduce(MapOpcode::inner_sum, x, without(list_[x].axes, axes));
}

int Nodes::expand(int x, const AxisList& axes) {
  if (without(axes, list_[x].axes).empty()) return x;
  Node node;
  node.kind = NodeKind::expand;
  node.in = {x};
  node.axes = joined(axes, list_[x].axes);
  node.exact = list_[x].exact;
  node.integer = list_[x].integer;
  return add(std::move(node));
}

int Nodes::copy(int x, const AxisList& axes) {
  Node node;
  node.kind = NodeKind::copy;
  node.in = {x};
  node.axes = axes;
  node.exact = list_[x].exact;
  node.integer = list_[x].integer;
  return add(std::move(node));
}

int Nodes::copy_once(int x, const AxisList& axes) {
  for (int c : copies_[x])
    if (list_[c].axes == axes && list_[c].forward == forward_) return c;
  int id = copy(x, axes);
  list_[id].root = true;
  list_[id].op = list_[x].op;
  list_[id].role = list_[x].kind == NodeKind::parameter ? TensorRole::value : list_[x].role;
  copies_[x].push_back(id);
  return id;
}

int Nodes::view(int x, const AxisList& from, const AxisList& to, std::int64_t offset) {
  // Adjacent, in this order?
  const AxisList& axes = list_[x].axes;
  auto first = std::find(axes.begin(), axes.end(), from[0]);
  DSC_CHECK(first != axes.end(), "a view of an axis that the tensor lacks");
  const bool adjacent = static_cast<std::size_t>(axes.end() - first) >= from.size() &&
                        std::equal(from.begin(), from.end(), first);
  if (!adjacent) {
    AxisList order;
    for (AxisId axis : axes) {
      if (axis == from[0]) order.insert(order.end(), from.begin(), from.end());
      else if (!contains(from, axis)) order.push_back(axis);
    }
    x = copy(x, order);
  }
  Node node;
  node.kind = NodeKind::view;
  node.in = {x};
  node.exact = list_[x].exact;
  node.integer = list_[x].integer;
  for (std::size_t i = 0; i < list_[x].axes.size();) {
    AxisId axis = list_[x].axes[i];
    if (axis == from[0]) {
      node.view.push_back({from, to, offset});
      i += from.size();
    } else {
      node.view.push_back({{axis}, {axis}, 0});
      ++i;
    }
  }
  node.axes = view_axes(node.view);
  Reading below = read(x);
  auto composed = compose(model_, below.view, node.view);
  if (composed) {
    node.reading = {below.base, *composed};
  } else {
    list_[x].root = true;
    node.reading = {x, node.view};
  }
  return add(std::move(node));
}

int Nodes::again(int x) {
  Node node = list_[x];
  node.forward = false;
  node.output = false;
  node.again = true;
  list_.push_back(std::move(node));
  copies_.emplace_back();
  return size() - 1;
}

int Nodes::read_again(int reader, int again) {
  Node node = list_[reader];
  if (node.kind != NodeKind::view) return again;
  node.in = {again};
  node.view = node.reading.view;
  node.reading.base = again;
  node.forward = false;
  node.marks.clear();
  list_.push_back(std::move(node));
  copies_.emplace_back();
  return size() - 1;
}

Reading Nodes::read(int x) {
  Node& node = list_[x];
  if (!node.root && node.kind == NodeKind::view) return node.reading;
  if (!node.root && (node.kind == NodeKind::copy || node.kind == NodeKind::expand)) return read(node.in[0]);
  if (node.kind > NodeKind::seed) node.root = true;
  return {x, identity_view(node.axes)};
}

int Nodes::contiguous(int x, const AxisList& axes) {
  const Node& node = list_[x];
  const bool computed = node.kind == NodeKind::pointwise || node.kind == NodeKind::reduce;
  if (computed && !node.root && node.axes != axes) return copy_once(x, axes);
  if (is_contiguous(model_, read(x).view, axes)) return x;
  return copy_once(x, axes);
}

int Nodes::whole(int x) {
  Reading r = read(x);
  if (is_contiguous(model_, r.view, view_axes(r.view)) && same_axes(view_axes(r.view), list_[x].axes)) return x;
  return copy_once(x, list_[x].axes);
}

int Nodes::plain(int x) {
  Reading r = read(x);
  if (in_range(model_, r.view) && same_axes(view_axes(r.view), list_[x].axes)) return x;
  return copy_once(x, list_[x].axes);
}

int Nodes::dot(int a, int b, const AxisList& contracted, const AxisList& batch, AxisList result) {
  a = plain(a);
  b = plain(b);
  // The result's last axis belongs to B where it can, so that rows of C are contiguous.
  if (!result.empty() && contains(list_[a].axes, result.back()) && !contains(list_[b].axes, result.back())) std::swap(a, b);
  auto strides = [&](int x) { return strides_of(model_, read(x).view); };

  AxisList k = common(view_axes(read(a).view), contracted);
  if (!collapses(model_, strides(a), k) || !collapses(model_, strides(b), k)) {
    AxisList kb = common(view_axes(read(b).view), contracted);
    const bool a_fits = collapses(model_, strides(a), k), b_fits = collapses(model_, strides(b), kb);
    if (b_fits && (!a_fits || symbolic_count(model_, list_[a].axes) < symbolic_count(model_, list_[b].axes))) k = kb;
    auto fit = [&](int x) {
      if (collapses(model_, strides(x), k)) return x;
      AxisList own = without(without(list_[x].axes, k), batch);
      return copy_once(x, joined(joined(batch, own), k));
    };
    a = fit(a);
    b = fit(b);
  }

  Node node;
  node.kind = NodeKind::dot;
  node.in = {a, b};
  node.axes = result;
  node.k = k;
  // Free axes: the longest minor run that acts as one in operand and result; what is left loops outside.
  const auto c = strides_of(model_, identity_view(result));
  auto split = [&](int x, AxisList& inner) {
    const auto own = strides(x);
    AxisList free = without(common(result, list_[x].axes), batch), outer;
    while (!collapses(model_, own, free) || !collapses(model_, c, free)) {
      outer.push_back(free.front());
      free.erase(free.begin());
    }
    inner = free;
    return outer;
  };
  AxisList outer = joined(split(a, node.m), split(b, node.n));
  node.batch = common(result, joined(batch, outer));
  DSC_CHECK(node.batch.size() + node.m.size() + node.n.size() == result.size(), "a product's result has axes of its own");
  return add(std::move(node));
}

int Nodes::heavy(StepKind kind, std::vector<int> in, OpId op) {
  for (int x : in) read(x);
  Node node;
  node.kind = NodeKind::heavy;
  node.step = kind;
  node.in = std::move(in);
  node.step_op = op;
  return add(std::move(node));
}

int Nodes::result(int heavy, const AxisList& axes, bool exact, TensorRole role) {
  Node node;
  node.kind = NodeKind::result;
  node.in = {heavy};
  node.axes = axes;
  node.exact = exact;
  node.role = role;
  node.index = static_cast<int>(list_[heavy].results.size());
  int id = add(std::move(node));
  list_[heavy].results.push_back(id);
  return id;
}

}  // namespace dsc
