// Depth-first over packings in which every item rests on another or on the ground, items in the order of their offsets.
// A partial packing is then a skyline, and is given up where what is still to come at some time cannot fit above it.
#include <algorithm>
#include <numeric>

#include "compiler/memory/packing.h"

namespace dsc {
namespace {

class Search {
 public:
  Search(const std::vector<PackItem>& items, std::int64_t capacity, std::int64_t work) : items_(items), capacity_(capacity), work_(work) {
    std::vector<int> times;
    for (const PackItem& item : items) times.push_back(item.first);
    std::sort(times.begin(), times.end());
    times.erase(std::unique(times.begin(), times.end()), times.end());
    // The greatest live sums are at starts, so these are all the times that matter.
    const auto index = [&](int time) { return static_cast<std::size_t>(std::upper_bound(times.begin(), times.end(), time) - times.begin()); };
    for (const PackItem& item : items) spans_.push_back({index(item.first) - 1, index(item.last)});
    skyline_.assign(times.size(), 0);
    to_come_.assign(times.size(), 0);
    for (std::size_t i = 0; i < items.size(); ++i) {
      for (std::size_t t = spans_[i].begin; t < spans_[i].end; ++t) to_come_[t] += items[i].size;
    }
    offsets_.assign(items.size(), -1);
    rank_.resize(items.size());
    std::iota(rank_.begin(), rank_.end(), 0);
    const auto area = [&](std::size_t i) { return static_cast<double>(items[i].size) * static_cast<double>(spans_[i].end - spans_[i].begin); };
    std::stable_sort(rank_.begin(), rank_.end(), [&](std::size_t a, std::size_t b) { return area(a) > area(b); });
  }

  std::optional<Packing> run() {
    if (!place_rest(0, 0)) return std::nullopt;
    Packing packing;
    packing.offsets = offsets_;
    for (std::size_t i = 0; i < items_.size(); ++i) packing.height = std::max(packing.height, offsets_[i] + items_[i].size);
    return packing;
  }

 private:
  struct Span {
    std::size_t begin, end;
  };
  struct Candidate {
    std::int64_t offset;
    std::size_t item;
  };

  bool place_rest(std::size_t placed, std::int64_t lowest) {
    if (placed == items_.size()) return true;
    std::vector<Candidate> candidates;
    if (!candidates_above(lowest, candidates)) return false;
    for (const Candidate& candidate : candidates) {
      if (work_ <= 0) return false;
      const Span span = spans_[candidate.item];
      const std::vector<std::int64_t> before(skyline_.begin() + static_cast<std::ptrdiff_t>(span.begin),
                                             skyline_.begin() + static_cast<std::ptrdiff_t>(span.end));
      const std::int64_t size = items_[candidate.item].size;
      offsets_[candidate.item] = candidate.offset;
      for (std::size_t t = span.begin; t < span.end; ++t) skyline_[t] = candidate.offset + size, to_come_[t] -= size;
      if (place_rest(placed + 1, candidate.offset)) return true;
      offsets_[candidate.item] = -1;
      for (std::size_t t = span.begin; t < span.end; ++t) to_come_[t] += size;
      std::copy(before.begin(), before.end(), skyline_.begin() + static_cast<std::ptrdiff_t>(span.begin));
    }
    return false;
  }

  // The items that may come next, the best first. False where some time cannot hold what is to come.
  bool candidates_above(std::int64_t lowest, std::vector<Candidate>& candidates) {
    std::vector<std::int64_t> floor(skyline_.size(), capacity_ + 1);
    std::int64_t first_end = capacity_ + 1;
    for (std::size_t i : rank_) {
      if (offsets_[i] >= 0) continue;
      const Span span = spans_[i];
      std::int64_t rest = 0;
      for (std::size_t t = span.begin; t < span.end; ++t) rest = std::max(rest, skyline_[t]);
      const std::int64_t effective = std::max(rest, lowest);
      if (effective + items_[i].size > capacity_) return false;
      for (std::size_t t = span.begin; t < span.end; ++t) floor[t] = std::min(floor[t], effective);
      work_ -= static_cast<std::int64_t>(2 * (span.end - span.begin) + 4);
      if (rest < lowest) continue;  // what it will rest on is not there yet
      first_end = std::min(first_end, rest + items_[i].size);
      candidates.push_back({rest, i});
    }
    for (std::size_t t = 0; t < skyline_.size(); ++t) {
      if (to_come_[t] > 0 && floor[t] + to_come_[t] > capacity_) return false;
    }
    // Another item fits wholly below: it comes first.
    std::erase_if(candidates, [&](const Candidate& c) { return c.offset >= first_end; });
    std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) { return a.offset < b.offset; });
    // Of equal items the first alone.
    std::vector<Candidate> distinct;
    for (const Candidate& c : candidates) {
      const bool twin = std::any_of(distinct.begin(), distinct.end(), [&](const Candidate& d) {
        return items_[d.item].size == items_[c.item].size && spans_[d.item].begin == spans_[c.item].begin && spans_[d.item].end == spans_[c.item].end;
      });
      if (!twin) distinct.push_back(c);
    }
    candidates = std::move(distinct);
    return true;
  }

  const std::vector<PackItem>& items_;
  std::int64_t capacity_, work_;
  std::vector<Span> spans_;
  std::vector<std::int64_t> skyline_, to_come_, offsets_;
  std::vector<std::size_t> rank_;
};

}  // namespace

std::optional<Packing> pack_exactly(const std::vector<PackItem>& items, std::int64_t capacity, std::int64_t work) {
  if (items.empty()) return Packing{};
  return Search(items, capacity, work).run();
}

}  // namespace dsc
