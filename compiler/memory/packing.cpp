#include "compiler/memory/packing.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <numeric>
#include <utility>

namespace dsc {
namespace {

// In which order items take the lowest gap that fits, and which of them take the highest one below the goal instead.
struct Strategy {
  std::vector<int> order;
  std::vector<bool> from_top;  // by item; empty: none
};

// What has an offset, by offset.
struct Shelf {
  struct Placed {
    std::int64_t offset, end;
    int first, last;
  };
  std::vector<Placed> placed;

  std::int64_t lowest(const PackItem& item) const {
    std::int64_t at = 0;
    for (const Placed& other : placed) {
      if (other.first > item.last || other.last < item.first) continue;
      if (other.offset >= at + item.size) break;
      at = std::max(at, other.end);
    }
    return at;
  }
  // The highest place below the ceiling, -1 where there is none.
  std::int64_t highest(const PackItem& item, std::int64_t ceiling) const {
    std::int64_t at = -1, floor = 0;
    for (const Placed& other : placed) {
      if (other.first > item.last || other.last < item.first) continue;
      const std::int64_t roof = std::min(other.offset, ceiling);
      if (roof - floor >= item.size) at = roof - item.size;
      floor = std::max(floor, other.end);
    }
    return ceiling - floor >= item.size ? ceiling - item.size : at;
  }
  void put(const PackItem& item, std::int64_t at) {
    const Placed made{at, at + item.size, item.first, item.last};
    placed.insert(std::upper_bound(placed.begin(), placed.end(), made, [](const Placed& a, const Placed& b) { return a.offset < b.offset; }), made);
  }
};

std::int64_t fill(const std::vector<PackItem>& items, const Strategy& strategy, Shelf shelf, std::int64_t goal, std::vector<std::int64_t>& offsets) {
  std::int64_t height = 0;
  for (int i : strategy.order) {
    const std::size_t index = static_cast<std::size_t>(i);
    std::int64_t at = -1;
    if (!strategy.from_top.empty() && strategy.from_top[index]) at = shelf.highest(items[index], goal);
    if (at < 0) at = shelf.lowest(items[index]);
    shelf.put(items[index], at);
    offsets[index] = at;
    height = std::max(height, at + items[index].size);
  }
  return height;
}

// Strategies that suit different shapes of lifetimes, the cheapest to beat first.
class Strategies {
 public:
  Strategies(const std::vector<PackItem>& items, const std::vector<int>& subset, const Shelf& shelf)
      : items_(items), subset_(subset), crowd_(items.size(), 0) {
    int end = 0;
    for (int i : subset) end = std::max(end, item(i).last + 1);
    for (const Shelf::Placed& other : shelf.placed) end = std::max(end, other.last + 1);
    std::vector<std::int64_t> live(static_cast<std::size_t>(end) + 1, 0);
    const auto count = [&](int first, int last, std::int64_t size) {
      live[static_cast<std::size_t>(first)] += size;
      live[static_cast<std::size_t>(last) + 1] -= size;
    };
    for (int i : subset) count(item(i).first, item(i).last, item(i).size);
    for (const Shelf::Placed& other : shelf.placed) count(other.first, other.last, other.end - other.offset);
    std::partial_sum(live.begin(), live.end(), live.begin());
    peak_ = static_cast<int>(std::max_element(live.begin(), live.end()) - live.begin());
    for (int i : subset) {
      crowd_[static_cast<std::size_t>(i)] = *std::max_element(live.begin() + item(i).first, live.begin() + item(i).last + 1);
    }
  }

  static constexpr int count = 19;
  Strategy make(int which) const {
    const auto size = [&](int i) { return item(i).size; };
    const auto length = [&](int i) { return std::int64_t(item(i).last) - item(i).first; };
    switch (which) {
      case 0: return {sorted([&](int i) { return size(i); }), {}};
      case 1: return {sorted([&](int i) { return length(i); }), {}};
      case 2: return {sorted([&](int i) { return static_cast<double>(size(i)) * static_cast<double>(length(i) + 1); }), {}};
      case 3: return {sorted([&](int i) { return -item(i).first; }), {}};
      default: break;
    }
    // Two stacks: what is live at the fullest time first, from the bottom, then what meets less and less; from the top what
    // would otherwise come to rest on those and stand in the way when they are gone.
    Strategy strategy;
    const auto crowd = [&](int i) { return crowd_[static_cast<std::size_t>(i)]; };
    switch ((which - 4) % 3) {
      case 0: strategy.order = sorted([&](int i) { return std::pair(crowd(i), length(i)); }); break;
      case 1: strategy.order = sorted([&](int i) { return std::pair(crowd(i), std::int64_t(item(i).last)); }); break;
      default: strategy.order = sorted([&](int i) { return std::pair(crowd(i), size(i)); }); break;
    }
    const int tops = (which - 4) / 3;
    if (tops == 0) return strategy;
    strategy.from_top.assign(items_.size(), false);
    for (int i : subset_) {
      const bool at_peak = item(i).first <= peak_ && peak_ <= item(i).last, crossing = item(i).group < 0, brief = length(i) <= 1;
      const bool choices[] = {crossing && !at_peak, !at_peak && !brief, !at_peak, crossing};
      strategy.from_top[static_cast<std::size_t>(i)] = choices[tops - 1];
    }
    return strategy;
  }

 private:
  const PackItem& item(int i) const { return items_[static_cast<std::size_t>(i)]; }
  // By falling key; ties by time, then by index.
  template <class Key>
  std::vector<int> sorted(Key key) const {
    std::vector<int> order = subset_;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      const auto ka = key(a), kb = key(b);
      return ka != kb ? ka > kb : item(a).first < item(b).first;
    });
    return order;
  }

  const std::vector<PackItem>& items_;
  const std::vector<int>& subset_;
  std::vector<std::int64_t> crowd_;  // by item: the greatest live sum while it lives
  int peak_ = 0;
};

// A fixed sequence of numbers (splitmix64): the same search for the same items.
class Numbers {
 public:
  // Below `bound`.
  std::size_t next(std::size_t bound) {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return static_cast<std::size_t>((z ^ (z >> 31)) % bound);
  }

 private:
  std::uint64_t state_ = 0;
};

// What a local search over orders makes smaller: the height, then all that stands above the goal.
struct Excess {
  std::int64_t height = 0, above = 0;
  friend auto operator<=>(const Excess&, const Excess&) = default;
};

// Moves items that stand above the goal, or that live beside one that does, to earlier places of the order; a move that
// makes nothing worse stays.
void wander(const std::vector<PackItem>& items, Strategy strategy, const Shelf& shelf, std::int64_t goal, std::int64_t moves,
            std::vector<std::int64_t>& offsets) {
  std::vector<std::int64_t> trial = offsets;
  std::vector<std::size_t> wanted;
  const auto measure = [&] {
    Excess excess{fill(items, strategy, shelf, goal, trial), 0};
    for (int i : strategy.order) excess.above += std::max<std::int64_t>(0, trial[static_cast<std::size_t>(i)] + items[static_cast<std::size_t>(i)].size - goal);
    return excess;
  };
  Excess now = measure();
  offsets = trial;
  Numbers numbers;
  for (std::int64_t move = 0; move < moves && now.above > 0; ++move) {
    const auto item = [&](std::size_t place) -> const PackItem& { return items[static_cast<std::size_t>(strategy.order[place])]; };
    wanted.clear();
    for (std::size_t place = 0; place < strategy.order.size(); ++place)
      if (offsets[static_cast<std::size_t>(strategy.order[place])] + item(place).size > goal) wanted.push_back(place);
    std::size_t from = wanted[numbers.next(wanted.size())];
    if (numbers.next(2) == 0) {
      const PackItem high = item(from);
      wanted.clear();
      for (std::size_t place = 0; place < strategy.order.size(); ++place)
        if (item(place).first <= high.last && high.first <= item(place).last) wanted.push_back(place);
      from = wanted[numbers.next(wanted.size())];
    }
    const std::size_t to = numbers.next(strategy.order.size());
    auto at = [&](std::size_t place) { return strategy.order.begin() + static_cast<std::ptrdiff_t>(place); };
    const auto shift = [&](std::size_t a, std::size_t b) {
      if (a < b) std::rotate(at(a), at(a) + 1, at(b) + 1);
      else std::rotate(at(b), at(a), at(a) + 1);
    };
    shift(from, to);
    const Excess next = measure();
    if (next <= now) {
      now = next;
      offsets = trial;
    } else {
      shift(to, from);
    }
  }
}

// Packs `subset` beside what is on the shelf by the best of the strategies, then by repairs of that one: the items above the
// goal move to the front of its order, one round after another.
std::int64_t pack_subset(const std::vector<PackItem>& items, const std::vector<int>& subset, const Shelf& shelf, std::int64_t goal,
                         std::vector<std::int64_t>& offsets) {
  std::vector<std::int64_t> trial = offsets;
  std::int64_t best = -1;
  Strategy strategy;
  const auto attempt = [&](const Strategy& tried) {
    const std::int64_t height = fill(items, tried, shelf, goal, trial);
    if (best >= 0 && height >= best) return false;
    best = height;
    for (int i : subset) offsets[static_cast<std::size_t>(i)] = trial[static_cast<std::size_t>(i)];
    return true;
  };
  const std::int64_t n = static_cast<std::int64_t>(subset.size() + shelf.placed.size()), once = n * n / 2 + 1;
  const Strategies strategies(items, subset, shelf);
  const std::int64_t tries = std::clamp<std::int64_t>(300'000'000 / once, 4, Strategies::count);
  for (int which = 0; which < tries && (best < 0 || best > goal); ++which) {
    Strategy next = strategies.make(which);
    if (attempt(next)) strategy = std::move(next);
  }
  const std::int64_t rounds = std::clamp<std::int64_t>(20'000'000 / once, 0, 100);
  trial = offsets;
  for (std::int64_t round = 0; round < rounds && best > goal; ++round) {
    std::stable_partition(strategy.order.begin(), strategy.order.end(), [&](int i) {
      return trial[static_cast<std::size_t>(i)] + items[static_cast<std::size_t>(i)].size > goal;
    });
    attempt(strategy);
  }
  return best;
}

// From each of the plain orders, some way.
void wander_from_all(const std::vector<PackItem>& items, std::int64_t goal, Packing& best) {
  std::vector<int> all(items.size());
  std::iota(all.begin(), all.end(), 0);
  const std::int64_t n = static_cast<std::int64_t>(items.size());
  const std::int64_t moves = std::clamp<std::int64_t>(400'000'000 / (n * n / 2 + 1), 0, 4000);
  const Strategies strategies(items, all, {});
  for (int which = 0; which < 8 && best.height > goal + goal / 100; ++which) {
    Packing trial;
    trial.offsets.assign(items.size(), 0);
    wander(items, strategies.make(which), {}, goal, moves, trial.offsets);
    for (std::size_t i = 0; i < items.size(); ++i) trial.height = std::max(trial.height, trial.offsets[i] + items[i].size);
    if (trial.height < best.height) best = std::move(trial);
  }
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
  std::vector<std::vector<int>> by_group(static_cast<std::size_t>(groups) + 1);  // [0]: those that may meet any
  for (std::size_t i = 0; i < items.size(); ++i) by_group[static_cast<std::size_t>(items[i].group + 1)].push_back(static_cast<int>(i));

  // What crosses groups at the bottom, then each group by itself above.
  std::vector<PackItem> among;
  for (int i : by_group[0]) among.push_back(items[static_cast<std::size_t>(i)]);
  if (!among.empty()) best.height = pack_subset(items, by_group[0], {}, live_bound(among), best.offsets);
  Shelf crossing;
  for (int i : by_group[0]) crossing.put(items[static_cast<std::size_t>(i)], best.offsets[static_cast<std::size_t>(i)]);
  for (std::size_t group = 1; group < by_group.size(); ++group) {
    if (!by_group[group].empty()) best.height = std::max(best.height, pack_subset(items, by_group[group], crossing, goal, best.offsets));
  }

  const auto much = [&] { return best.height > goal + goal / 100; };
  if (much() && !among.empty() && items.size() <= 8000) {
    std::vector<int> all(items.size());
    std::iota(all.begin(), all.end(), 0);
    Packing joint;
    joint.offsets.assign(items.size(), 0);
    joint.height = pack_subset(items, all, {}, goal, joint.offsets);
    if (joint.height < best.height) best = std::move(joint);
  }
  if (much()) wander_from_all(items, goal, best);
  // Exact, for what remains: first at the goal, then half way to what we have.
  for (int attempt = 0; attempt < 3 && much(); ++attempt) {
    const std::int64_t capacity = attempt == 0 ? goal : goal + (best.height - goal) / 2;
    if (std::optional<Packing> exact = pack_exactly(items, capacity, 100'000'000)) best = std::move(*exact);
  }
  return best;
}

}  // namespace dsc
