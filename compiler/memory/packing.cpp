#include "compiler/memory/packing.h"

#include <algorithm>
#include <numeric>

namespace dsc {
namespace {

using Order = std::vector<int>;

// What has an offset, by offset.
struct Shelf {
  struct Placed {
    std::int64_t offset, end;
    int first, last;
  };
  std::vector<Placed> placed;

  // The lowest gap among those that meet the item in time.
  std::int64_t place(const PackItem& item) {
    std::int64_t at = 0;
    for (const Placed& other : placed) {
      if (other.first > item.last || other.last < item.first) continue;
      if (other.offset >= at + item.size) break;
      at = std::max(at, other.end);
    }
    const Placed made{at, at + item.size, item.first, item.last};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), made, [](const Placed& a, const Placed& b) { return a.offset < b.offset; }), made);
    return at;
  }
};

std::int64_t fill(const std::vector<PackItem>& items, const Order& order, Shelf shelf, std::vector<std::int64_t>& offsets) {
  std::int64_t height = 0;
  for (int i : order) {
    const std::size_t index = static_cast<std::size_t>(i);
    offsets[index] = shelf.place(items[index]);
    height = std::max(height, offsets[index] + items[index].size);
  }
  return height;
}

// Several orders that suit different shapes of lifetimes; ties by time, then by index.
std::vector<Order> greedy_orders(const std::vector<PackItem>& items, const Order& subset) {
  const auto sorted = [&](auto key) {
    Order order = subset;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      const auto ka = key(items[static_cast<std::size_t>(a)]), kb = key(items[static_cast<std::size_t>(b)]);
      if (ka != kb) return ka > kb;
      return items[static_cast<std::size_t>(a)].first < items[static_cast<std::size_t>(b)].first;
    });
    return order;
  };
  return {sorted([](const PackItem& item) { return item.size; }),
          sorted([](const PackItem& item) { return std::int64_t(item.last) - item.first; }),
          sorted([](const PackItem& item) { return static_cast<double>(item.size) * (item.last - item.first + 1); }),
          sorted([](const PackItem& item) { return -std::int64_t(item.first); })};
}

// Packs `subset` above what is on the shelf: the greedy orders, then repairs of the best, in which the items above the goal
// move to the front, one round after another.
std::int64_t pack_subset(const std::vector<PackItem>& items, const Order& subset, const Shelf& shelf, std::int64_t goal,
                         std::vector<std::int64_t>& offsets) {
  std::vector<std::int64_t> trial = offsets;
  std::int64_t best = -1;
  Order best_order;
  const auto attempt = [&](const Order& order) {
    const std::int64_t height = fill(items, order, shelf, trial);
    if (best < 0 || height < best) {
      best = height;
      best_order = order;
      for (int i : subset) offsets[static_cast<std::size_t>(i)] = trial[static_cast<std::size_t>(i)];
    }
    return height;
  };
  for (const Order& order : greedy_orders(items, subset)) {
    attempt(order);
    if (best <= goal) return best;
  }
  const std::int64_t n = static_cast<std::int64_t>(subset.size() + shelf.placed.size());
  const std::int64_t rounds = std::clamp<std::int64_t>(40'000'000 / (n * n / 2 + 1), 0, 400);
  Order order = best_order;
  std::vector<std::int64_t> at = offsets;
  for (std::int64_t round = 0; round < rounds && best > goal; ++round) {
    const auto above = [&](int i) { return at[static_cast<std::size_t>(i)] + items[static_cast<std::size_t>(i)].size > goal; };
    std::stable_partition(order.begin(), order.end(), above);
    attempt(order);
    at = trial;
  }
  return best;
}

}  // namespace

std::int64_t live_bound(const std::vector<PackItem>& items) {
  int end = 0;
  for (const PackItem& item : items) end = std::max(end, item.last + 1);
  std::vector<std::int64_t> change(static_cast<std::size_t>(end) + 1, 0);
  for (const PackItem& item : items) {
    change[static_cast<std::size_t>(item.first)] += item.size;
    change[static_cast<std::size_t>(item.last) + 1] -= item.size;
  }
  std::int64_t live = 0, most = 0;
  for (std::int64_t c : change) most = std::max(most, live += c);
  return most;
}

Packing pack(const std::vector<PackItem>& items, std::int64_t goal) {
  Packing best;
  best.offsets.assign(items.size(), 0);
  int groups = 0;
  for (const PackItem& item : items) groups = std::max(groups, item.group + 1);
  std::vector<Order> by_group(static_cast<std::size_t>(groups) + 1);  // [0]: those that may meet any
  for (std::size_t i = 0; i < items.size(); ++i) by_group[static_cast<std::size_t>(items[i].group + 1)].push_back(static_cast<int>(i));

  // What crosses groups at the bottom, then each group by itself above.
  best.height = by_group[0].empty() ? 0 : pack_subset(items, by_group[0], {}, 0, best.offsets);
  Shelf crossing;
  for (int i : by_group[0]) {
    const PackItem& item = items[static_cast<std::size_t>(i)];
    const std::int64_t offset = best.offsets[static_cast<std::size_t>(i)];
    crossing.placed.push_back({offset, offset + item.size, item.first, item.last});
  }
  std::stable_sort(crossing.placed.begin(), crossing.placed.end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  for (std::size_t group = 1; group < by_group.size(); ++group) {
    if (!by_group[group].empty()) best.height = std::max(best.height, pack_subset(items, by_group[group], crossing, goal, best.offsets));
  }

  const auto much = [&] { return best.height > goal + goal / 100; };
  const std::int64_t n = static_cast<std::int64_t>(items.size());
  if (much() && !by_group[0].empty() && n <= 8000) {
    Order all(items.size());
    std::iota(all.begin(), all.end(), 0);
    Packing joint;
    joint.offsets.assign(items.size(), 0);
    joint.height = pack_subset(items, all, {}, goal, joint.offsets);
    if (joint.height < best.height) best = std::move(joint);
  }
  // Exact, for what remains: first at the goal, then half way to what we have.
  for (int attempt = 0; attempt < 3 && much(); ++attempt) {
    const std::int64_t capacity = attempt == 0 ? goal : goal + (best.height - goal) / 2;
    if (std::optional<Packing> exact = pack_exactly(items, capacity, 100'000'000)) best = std::move(*exact);
  }
  return best;
}

}  // namespace dsc
