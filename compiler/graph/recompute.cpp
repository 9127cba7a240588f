// Which forward values the backward pass computes again. A value qualifies where
// - it is a rounded result of pointwise arithmetic and sums within a row,
// - the backward pass reads it as an operand of products alone (the gradients of weights), and
// - whatever it is computed from, parameters apart, is read by a backward root in any case, and so is kept.
// The products wait for the first such root behind them, whose kernel then gives the value along: GELU's result comes out of the
// epilogue that multiplies by its slope, a norm's out of the map of its gradient.
#include <algorithm>
#include <map>

#include "compiler/graph/build.h"

namespace dsc {
namespace {

class Recomputation {
 public:
  Recomputation(Nodes& nodes, const std::vector<bool>& live, const std::function<std::vector<int>(int)>& bases)
      : nodes_(nodes), live_(live), bases_(bases), size_(nodes.size()) {}

  std::vector<Recomputed> run() {
    find_readers();
    std::vector<Recomputed> list;
    for (const auto& [value, products] : products_) {
      const int root = qualifies(value) ? beside(value, products) : -1;
      if (root >= 0 && free_until(products, root)) list.push_back({value, root, products});
    }
    for (Recomputed& item : list) {
      const int again = nodes_.again(item.node);
      for (int product : item.readers)
        for (int& x : nodes_[product].in)
          if (nodes_.read(x).base == item.node) x = nodes_.read_again(x, again);
      item.node = again;
    }
    return list;
  }

 private:
  // Who reads what in the backward pass, by stored node.
  void find_readers() {
    roots_.resize(size_);
    other_.assign(size_, false);
    first_user_.assign(size_, size_);
    for (int i = 0; i < size_; ++i) {
      if (!live_[i]) continue;
      for (int x : nodes_[i].in) first_user_[x] = std::min(first_user_[x], i);
      if (nodes_[i].forward) continue;
      if (nodes_[i].kind == NodeKind::dot) {
        for (int x : nodes_[i].in) note_product(nodes_.read(x).base, i);
      } else if (nodes_[i].kind == NodeKind::heavy) {
        for (int x : nodes_[i].in) other_[nodes_.read(x).base] = true;
      } else if (nodes_[i].root && nodes_[i].kind > NodeKind::seed) {
        for (int base : bases_(i)) roots_[base].push_back(i);
      }
    }
  }

  void note_product(int base, int product) {
    if (!nodes_[base].forward || nodes_[base].kind != NodeKind::pointwise) return;
    std::vector<int>& list = products_[base];
    if (list.empty() || list.back() != product) list.push_back(product);
  }

  bool qualifies(int value) const {
    const Node& node = nodes_[value];
    return node.root && node.opcode == MapOpcode::round && !other_[value] && roots_[value].empty() && !node.output;
  }

  // The first backward root after the products that reads what `value` is computed from; -1 where something would have to be kept for
  // its sake alone.
  int beside(int value, const std::vector<int>& products) const {
    int root = -1;
    for (int base : bases_(value)) {
      const NodeKind kind = nodes_[base].kind;
      if (kind <= NodeKind::seed) continue;
      const bool kept = (nodes_[base].root || kind == NodeKind::result) && nodes_[base].forward && !roots_[base].empty();
      if (!kept) return -1;
      const auto after = std::upper_bound(roots_[base].begin(), roots_[base].end(), products.back());
      if (after != roots_[base].end()) root = root < 0 ? *after : std::min(root, *after);
    }
    return root;
  }

  // Nothing needs the products before `root`.
  bool free_until(const std::vector<int>& products, int root) const {
    return std::all_of(products.begin(), products.end(), [&](int product) { return first_user_[product] > root; });
  }

  Nodes& nodes_;
  const std::vector<bool>& live_;
  const std::function<std::vector<int>(int)>& bases_;
  const int size_;
  std::map<int, std::vector<int>> products_;  // by value: the products that read it, ascending
  std::vector<std::vector<int>> roots_;       // by stored node: backward roots that read it, ascending
  std::vector<bool> other_;                   // by stored node: read by another backward step
  std::vector<int> first_user_;
};

}  // namespace

std::vector<Recomputed> recompute(Nodes& nodes, const std::vector<bool>& live, const std::function<std::vector<int>(int root)>& bases) {
  return Recomputation(nodes, live, bases).run();
}

}  // namespace dsc
