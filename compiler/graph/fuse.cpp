// Fusion. Every root (a value that may have to be stored) joins one kernel: the product whose tile it continues, or a map
// that already walks the same axes and whose place in the order allows it, or a map of its own. A root only ever joins a
// kernel behind which all that it reads is complete, so no cycle can arise. Values between roots belong to whichever
// kernels use them.
#include <algorithm>

#include "compiler/graph/build.h"
#include "compiler/support/check.h"

namespace dsc {

bool is_boundary(const Node& node) {
  switch (node.kind) {
    case NodeKind::parameter: case NodeKind::tokens: case NodeKind::targets: case NodeKind::seed: case NodeKind::view:
    case NodeKind::dot: case NodeKind::result: return true;
    default: return node.root;
  }
}

namespace {

// How far back a map may be that a value joins only because both read the same tensors.
constexpr int kNeighbourhood = 12;

struct Leaf {
  int node;  // as the arithmetic names it: possibly a view
  int base;
};

// The arithmetic that computes a root from stored values.
struct Cone {
  std::vector<int> nodes;  // the root included
  std::vector<Leaf> leaves;
  std::vector<int> reductions;  // inner ones
  AxisList loop;
  bool positions = false;
};

class Fusion {
 public:
  Fusion(Nodes& nodes, const NodeProgram& program, const FusionOptions& options)
      : nodes_(nodes), program_(program), options_(options), model_(nodes.model()) {}

  std::vector<FusedKernel> run() {
    find_live();
    absorb_rounds();
    seen_.assign(nodes_.size(), -1);
    for (int i = 0; i < nodes_.size(); ++i)
      if (live_[i] && nodes_[i].root) settle_reductions(i);
    const int given = nodes_.size();
    if (options_.fuse) recomputed_ = recompute(nodes_, live_, [this](int root) { return bases_of(root); });
    live_.resize(nodes_.size(), true);
    seen_.assign(nodes_.size(), epoch_);
    kernel_of_.assign(nodes_.size(), -1);
    last_reader_.assign(nodes_.size(), -1);
    place_all(given);
    return std::move(kernels_);
  }

 private:
  void find_live() {
    live_.assign(nodes_.size(), false);
    auto mark = [&](std::optional<int> node) {
      if (node) live_[*node] = true;
    };
    mark(program_.loss);
    mark(program_.logits);
    for (const auto& gradients : program_.parameter_gradients)
      for (int node : gradients) live_[node] = true;
    for (int i = nodes_.size(); i-- > 0;) {
      if (!live_[i]) continue;
      for (int x : nodes_[i].in) live_[x] = true;
    }
  }

  void absorb_rounds() {
    if (!options_.fuse) return;
    std::vector<int> readers(nodes_.size(), 0), reader(nodes_.size(), -1);
    for (int i = 0; i < nodes_.size(); ++i) {
      if (!live_[i]) continue;
      for (int x : nodes_[i].in) ++readers[x], reader[x] = i;
    }
    auto fits = [&](int result) {
      if (readers[result] != 1 || nodes_[result].root) return false;
      const Node& user = nodes_[reader[result]];
      return user.kind == NodeKind::pointwise && user.opcode == MapOpcode::round && user.axes == nodes_[result].axes;
    };
    for (int i = 0; i < nodes_.size(); ++i) {
      const Node& step = nodes_[i];
      if (!live_[i] || step.kind != NodeKind::heavy) continue;
      // The three gradients of attention have one type.
      const bool together = step.step == StepKind::attend_backward;
      const bool all = std::all_of(step.results.begin(), step.results.end(), [&](int r) { return !live_[r] || fits(r); });
      if (together && !all) continue;
      for (int r : step.results)
        if (live_[r] && fits(r) && nodes_[r].role != TensorRole::statistics) nodes_[r].absorbed = reader[r];
    }
    for (int i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].kind == NodeKind::result && nodes_[i].absorbed >= 0) absorbed_into_.push_back({nodes_[i].absorbed, i});
    std::sort(absorbed_into_.begin(), absorbed_into_.end());
  }

  // ---- Cones ----
  void visit(int id, int root, Cone& cone) {
    if (seen_[id] == epoch_) return;
    seen_[id] = epoch_;
    const Node& node = nodes_[id];
    if (id != root && is_boundary(node)) {
      const bool through = node.kind == NodeKind::view && !node.root;
      cone.leaves.push_back({id, through ? node.reading.base : id});
      cone.loop = joined(std::move(cone.loop), node.axes);
      return;
    }
    if (node.kind == NodeKind::view) {  // a view that is stored: one load
      cone.leaves.push_back({id, node.reading.base});
    } else {
      for (int x : node.in) visit(x, root, cone);
    }
    cone.nodes.push_back(id);
    cone.positions |= node.kind == NodeKind::position;
    if (node.kind == NodeKind::reduce && !(id == root && node.adds_rows)) cone.reductions.push_back(id);
    cone.loop = joined(std::move(cone.loop), node.axes);
  }

  Cone gather(int root) {
    ++epoch_;
    Cone cone;
    visit(root, root, cone);
    // The order of the widest tensor's storage.
    const AxisList* widest = &nodes_[root].axes;
    for (int n : cone.nodes)
      if (nodes_[n].axes.size() > widest->size()) widest = &nodes_[n].axes;
    for (const Leaf& leaf : cone.leaves)
      if (nodes_[leaf.node].axes.size() > widest->size()) widest = &nodes_[leaf.node].axes;
    cone.loop = joined(*widest, cone.loop);
    return cone;
  }

  std::optional<AxisList> inner_of(const Cone& cone) const {
    if (cone.reductions.empty()) return std::nullopt;
    return nodes_[cone.reductions.front()].over;
  }

  bool is_suffix(const AxisList& axes, const AxisList& over) const {
    AxisList tail(axes.end() - std::min(over.size(), axes.size()), axes.end());
    return same_axes(tail, over);
  }

  // Within one row only one set of axes can be reduced, and a reduction is done once, not again for every index of axes that
  // it has nothing to do with: others become values of their own.
  void settle_reductions(int root) {
    Node& node = nodes_[root];
    const bool reduce = node.kind == NodeKind::reduce;
    if (reduce) node.adds_rows = contains(node.over, model_.batch) || !is_suffix(nodes_[node.in[0]].axes, node.over);
    for (int cut = next_cut(root); cut >= 0; cut = next_cut(root)) {
      nodes_[cut].root = true;
      settle_reductions(cut);
    }
  }

  // The reduction nearest to the root that cannot be part of its rows, or -1.
  int next_cut(int root) {
    const Node& node = nodes_[root];
    Cone cone = gather(root);
    std::optional<AxisList> keep;
    if (node.kind == NodeKind::reduce && !node.adds_rows) keep = node.over;
    for (auto r = cone.reductions.rbegin(); r != cone.reductions.rend(); ++r) {
      if (*r == root) continue;
      const AxisList& over = nodes_[*r].over;
      const bool beside_rows = !node.adds_rows || common(over, node.over).empty() || without(over, node.over).empty();
      const bool all_axes = without(cone.loop, joined(nodes_[*r].axes, over)).empty();
      if (!keep && beside_rows && all_axes) keep = over;
      if (!keep || !same_axes(*keep, over) || !all_axes) return *r;
    }
    return -1;
  }

  std::vector<int> bases_of(int root) {
    std::vector<int> bases;
    for (const Leaf& leaf : gather(root).leaves) bases.push_back(leaf.base);
    return bases;
  }

  // ---- Placement ----
  // In the order of nodes, except that products which read what is computed again follow it.
  void place_all(int given) {
    std::vector<bool> later(nodes_.size(), false);
    for (const Recomputed& item : recomputed_)
      for (int reader : item.readers) later[reader] = true;
    for (int i = 0; i < given; ++i) {
      if (!live_[i] || later[i]) continue;
      place(i);
      for (const Recomputed& item : recomputed_) {
        if (item.beside != i) continue;
        place_root(item.node, kernel_of_[i]);
        for (int reader : item.readers) place(reader);
      }
    }
  }

  int position(int base) const { return nodes_[base].kind <= NodeKind::seed ? -1 : kernel_of_[base]; }

  void read(int base, int kernel) {
    if (nodes_[base].kind <= NodeKind::seed) return;
    DSC_CHECK(kernel_of_[base] >= 0 && kernel_of_[base] <= kernel, "a node reads what no earlier kernel computes");
    if (kernel_of_[base] == kernel) return;
    nodes_[base].output = true;
    if (nodes_[base].kind != NodeKind::dot) return;
    std::vector<int>& roots = kernels_[kernel_of_[base]].roots;
    if (std::find(roots.begin(), roots.end(), base) == roots.end()) roots.insert(roots.begin(), base);
  }

  void place(int id) {
    const Node& node = nodes_[id];
    const int next = static_cast<int>(kernels_.size());
    switch (node.kind) {
      case NodeKind::heavy:
      case NodeKind::dot: {
        FusedKernel kernel;
        kernel.kind = node.kind == NodeKind::dot ? StepKind::product : node.step;
        kernel.node = id;
        kernels_.push_back(std::move(kernel));
        kernel_of_[id] = next;
        for (int x : node.in) read(nodes_.read(x).base, next);
        if (node.kind == NodeKind::dot && (node.root || !options_.fuse)) kernels_.back().roots.push_back(id);
        return;
      }
      case NodeKind::result: kernel_of_[id] = kernel_of_[node.in[0]]; return;
      default: break;
    }
    if (!node.root || node.kind <= NodeKind::seed) return;
    auto absorbed = std::lower_bound(absorbed_into_.begin(), absorbed_into_.end(), std::pair{id, -1});
    if (absorbed != absorbed_into_.end() && absorbed->first == id) {
      kernel_of_[id] = kernel_of_[absorbed->second];
      nodes_[id].output = true;
      return;
    }
    place_root(id);
  }

  // `beside`: the kernel to join first.
  void place_root(int id, int beside = -1) {
    Cone cone = gather(id);
    int last = -1;
    for (const Leaf& leaf : cone.leaves) last = std::max(last, position(leaf.base));
    int kernel = -1;
    if (beside >= 0 && (continues_product(id, cone, beside) || (kernels_[beside].kind == StepKind::map && at_hand(cone, beside) && join_map(beside, id, cone)))) {
      kernel = beside;
    } else if (options_.fuse && beside < 0) {
      if (last >= 0 && continues_product(id, cone, last)) kernel = last;
      for (int k : candidates(id, cone, last))
        if (kernel < 0 && join_map(k, id, cone)) kernel = k;
    }
    if (kernel < 0) {
      kernel = static_cast<int>(kernels_.size());
      kernels_.push_back({});
      kernels_.back().loop = cone.loop;
      DSC_CHECK(join_map(kernel, id, cone), "a value fits no map");
    }
    kernels_[kernel].roots.push_back(id);
    kernel_of_[id] = kernel;
    for (const Leaf& leaf : cone.leaves) {
      read(leaf.base, kernel);
      if (kernels_[kernel].kind == StepKind::map) last_reader_[leaf.base] = kernel;
    }
    if (kernels_[kernel].kind == StepKind::map) last_map_ = kernel, last_reader_[id] = kernel;
  }

  // What a kernel has just computed is at hand there only as itself, not through a view, and never a sum over its rows.
  bool at_hand(const Cone& cone, int kernel) const {
    return std::all_of(cone.leaves.begin(), cone.leaves.end(), [&](const Leaf& leaf) {
      return position(leaf.base) < kernel || (position(leaf.base) == kernel && leaf.node == leaf.base && !nodes_[leaf.base].adds_rows);
    });
  }

  bool continues_product(int id, const Cone& cone, int kernel) const {
    if (kernels_[kernel].kind != StepKind::product) return false;
    const Node& node = nodes_[id];
    const Node& dot = nodes_[kernels_[kernel].node];
    if (!cone.reductions.empty() || node.adds_rows || cone.positions) return false;
    if (!same_axes(node.axes, dot.axes) || !at_hand(cone, kernel)) return false;
    auto conforms = [&](const std::vector<ViewGroup>& view) {
      if (!in_range(model_, view)) return false;
      const auto strides = strides_of(model_, view);
      for (const AxisList* group : {&dot.m, &dot.n}) {
        AxisList present = common(*group, view_axes(view));
        if (!present.empty() && (present.size() != group->size() || !collapses(model_, strides, *group))) return false;
      }
      return true;
    };
    if (!conforms(identity_view(node.axes))) return false;
    for (const Leaf& leaf : cone.leaves) {
      const bool tile = position(leaf.base) == kernel;
      const bool through = nodes_[leaf.node].kind == NodeKind::view && leaf.node != leaf.base;
      if (!tile && !conforms(through ? nodes_[leaf.node].reading.view : identity_view(nodes_[leaf.base].axes))) return false;
    }
    return true;
  }

  std::vector<int> candidates(int id, const Cone& cone, int last) const {
    const bool gradient = nodes_[id].role == TensorRole::parameter_gradient;
    const int oldest = gradient ? 0 : static_cast<int>(kernels_.size()) - kNeighbourhood;
    std::vector<int> result;
    auto consider = [&](int k) {
      if (k < 0 || k < last || kernels_[k].kind != StepKind::map) return;
      if (!at_hand(cone, k) || std::find(result.begin(), result.end(), k) != result.end()) return;
      if (nodes_[id].forward != nodes_[kernels_[k].roots.front()].forward) return;
      result.push_back(k);
    };
    consider(last);
    std::vector<int> readers;
    for (const Leaf& leaf : cone.leaves)
      if (last_reader_[leaf.base] >= oldest) readers.push_back(last_reader_[leaf.base]);
    std::sort(readers.rbegin(), readers.rend());
    for (int k : readers) consider(k);
    if (nodes_[id].adds_rows) consider(last_map_);
    return result;
  }

  // Whether root `id` can be computed in map `k`; if so the map's inner and reduced axes become what it needs.
  bool join_map(int k, int id, const Cone& cone) {
    FusedKernel& kernel = kernels_[k];
    const Node& node = nodes_[id];
    if (!without(cone.loop, kernel.loop).empty()) return false;
    std::optional<AxisList> inner = kernel.inner, reduced = kernel.reduced;
    auto require_inner = [&](const AxisList& axes) {
      if (!inner) inner = axes;
      return same_axes(*inner, axes);
    };
    if (auto own = inner_of(cone); own && !require_inner(*own)) return false;
    const AxisList& covers = node.adds_rows ? nodes_[node.in[0]].axes : node.axes;
    AxisList beyond = without(kernel.loop, covers);
    if (!beyond.empty() && !require_inner(beyond)) return false;
    if (node.adds_rows) {
      if (!inner && without(kernel.loop, node.over).empty()) {
        AxisId last = kernel.loop.back();
        inner = last == model_.batch ? AxisList{} : AxisList{last};
      }
      AxisList rows = node.over;
      if (inner) {
        AxisList within = common(node.over, *inner);
        if (!within.empty() && within.size() != inner->size()) return false;
        rows = without(node.over, within);
      }
      if (reduced && !same_axes(*reduced, rows)) return false;
      reduced = rows;
    }
    if (inner && reduced && !common(*inner, *reduced).empty()) return false;
    kernel.inner = inner;
    kernel.reduced = reduced;
    return true;
  }

  Nodes& nodes_;
  const NodeProgram& program_;
  const FusionOptions& options_;
  const Model& model_;
  std::vector<bool> live_;
  std::vector<std::pair<int, int>> absorbed_into_;  // (round, result), ascending
  std::vector<int> seen_;
  int epoch_ = -1;
  std::vector<FusedKernel> kernels_;
  std::vector<int> kernel_of_, last_reader_;
  int last_map_ = -1;
  std::vector<Recomputed> recomputed_;
};

}  // namespace

std::vector<FusedKernel> fuse(Nodes& nodes, const NodeProgram& program, const FusionOptions& options) {
  return Fusion(nodes, program, options).run();
}

}  // namespace dsc
