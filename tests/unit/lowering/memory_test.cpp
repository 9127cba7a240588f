#include "compiler/memory/memory.h"

#include <gtest/gtest.h>

#include <random>

#include "compiler/memory/packing.h"
#include "compiler/schedule/schedule.h"
#include "tests/unit/lowering/toy.h"

namespace dsc {
namespace {

// Independent of the packer: every pair.
std::string overlap(const std::vector<PackItem>& items, const Packing& packing) {
  for (std::size_t a = 0; a < items.size(); ++a) {
    if (packing.offsets[a] < 0 || packing.offsets[a] + items[a].size > packing.height) return "outside";
    for (std::size_t b = a + 1; b < items.size(); ++b) {
      const bool meet = items[a].first <= items[b].last && items[b].first <= items[a].last;
      const bool share = packing.offsets[a] < packing.offsets[b] + items[b].size && packing.offsets[b] < packing.offsets[a] + items[a].size;
      if (meet && share) return std::to_string(a) + " and " + std::to_string(b);
    }
  }
  return "";
}

// Forward values that live until their backward, short-lived temporaries, gradients until the end: a training step.
std::vector<PackItem> step_shaped(std::mt19937& random, int layers) {
  const auto size = [&](int most) { return std::int64_t(64) * (1 + random() % static_cast<unsigned>(most)); };
  std::vector<PackItem> items;
  const int end = 6 * layers;
  for (int layer = 0; layer < layers; ++layer) {
    const int forward = 2 * layer, backward = end - 3 * layer - 2;
    for (int i = 0; i < 3; ++i) items.push_back({size(40), forward, backward, 0});
    items.push_back({size(80), forward, forward + 1, 0});
    items.push_back({size(80), backward, backward + 1, 0});
    items.push_back({size(20), backward, end, 0});
  }
  return items;
}

TEST(Packing, BoundIsTheGreatestLiveSum) {
  EXPECT_EQ(live_bound({{10, 0, 3}, {20, 2, 5}, {30, 4, 4}}), 50);
  EXPECT_EQ(live_bound({}), 0);
}

TEST(Packing, StepShapedLifetimesPackWithinTwoPercent) {
  std::mt19937 random(7);
  for (int layers : {2, 5, 12, 40}) {
    for (int round = 0; round < 10; ++round) {
      const std::vector<PackItem> items = step_shaped(random, layers);
      const std::int64_t bound = live_bound(items);
      const Packing packing = pack(items, bound);
      ASSERT_EQ(overlap(items, packing), "");
      EXPECT_LE(static_cast<double>(packing.height), 1.02 * static_cast<double>(bound)) << layers;
    }
  }
}

TEST(Packing, RandomLifetimesAreSoundAndNearTheBound) {
  std::mt19937 random(11);
  for (int round = 0; round < 30; ++round) {
    std::vector<PackItem> items;
    for (int i = 0; i < 120; ++i) {
      const int first = static_cast<int>(random() % 100), length = static_cast<int>(random() % 20);
      items.push_back({std::int64_t(64) * (1 + random() % 50), first, first + length, -1});
    }
    const Packing packing = pack(items, live_bound(items));
    ASSERT_EQ(overlap(items, packing), "");
    EXPECT_LE(static_cast<double>(packing.height), 1.15 * static_cast<double>(live_bound(items)));
  }
}

TEST(Packing, ItemsOfManyGroupsShareWhatCrossesThem) {
  std::mt19937 random(3);
  std::vector<PackItem> items;
  for (int group = 0; group < 3; ++group) {
    for (PackItem item : step_shaped(random, 6)) items.push_back({item.size, item.first + 100 * group, item.last + 100 * group, group});
  }
  for (int i = 0; i < 8; ++i) items.push_back({640, 30, 250, -1});
  const std::int64_t bound = live_bound(items);
  const Packing packing = pack(items, bound);
  EXPECT_EQ(overlap(items, packing), "");
  EXPECT_LE(static_cast<double>(packing.height), 1.02 * static_cast<double>(bound));
}

// A packing of exactly `height` cut out of a solid block, so that the bound is met by construction: random guillotine cuts.
void cut(std::mt19937& random, std::int64_t bottom, std::int64_t top, int first, int last, int depth, std::vector<PackItem>& items) {
  const bool flat = top - bottom < 4, thin = last - first < 3;
  if (depth == 0 || (flat && thin)) {
    items.push_back({top - bottom, first, last, -1});
  } else if (!flat && (thin || random() % 2)) {
    const std::int64_t middle = bottom + 1 + static_cast<std::int64_t>(random() % static_cast<unsigned>(top - bottom - 1));
    cut(random, bottom, middle, first, last, depth - 1, items);
    cut(random, middle, top, first, last, depth - 1, items);
  } else {
    const int middle = first + static_cast<int>(random() % static_cast<unsigned>(last - first));
    cut(random, bottom, top, first, middle, depth - 1, items);
    cut(random, bottom, top, middle + 1, last, depth - 1, items);
  }
}

TEST(Packing, ExactSearchFillsBlocksThatNoGreedyOrderFills) {
  std::mt19937 random(5);
  for (int round = 0; round < 10; ++round) {
    std::vector<PackItem> items;
    cut(random, 0, 100, 0, 40, 5, items);
    ASSERT_EQ(live_bound(items), 100);
    const std::optional<Packing> exact = pack_exactly(items, 100, 50'000'000);
    ASSERT_TRUE(exact.has_value()) << round;
    EXPECT_EQ(exact->height, 100);
    EXPECT_EQ(overlap(items, *exact), "");
  }
}

// Every order of first-fit, by trying them all: the least height that any reaches.
std::int64_t best_first_fit(std::vector<PackItem> items) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::int64_t best = -1;
  do {
    std::vector<std::pair<std::int64_t, std::size_t>> placed;
    std::int64_t height = 0;
    for (std::size_t i : order) {
      std::int64_t at = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (const auto& [offset, other] : placed) {
          if (items[other].first > items[i].last || items[other].last < items[i].first) continue;
          if (at < offset + items[other].size && offset < at + items[i].size) at = offset + items[other].size, moved = true;
        }
      }
      placed.push_back({at, i});
      height = std::max(height, at + items[i].size);
    }
    if (best < 0 || height < best) best = height;
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

TEST(Packing, ExactSearchAgreesWithTryingEveryOrder) {
  std::mt19937 random(13);
  for (int round = 0; round < 40; ++round) {
    std::vector<PackItem> items;
    for (int i = 0; i < 7; ++i) {
      const int first = static_cast<int>(random() % 6), length = static_cast<int>(random() % 4);
      items.push_back({std::int64_t(1 + random() % 5), first, first + length, -1});
    }
    const std::int64_t best = best_first_fit(items);
    const std::optional<Packing> exact = pack_exactly(items, best, 50'000'000);
    ASSERT_TRUE(exact.has_value()) << round;
    EXPECT_EQ(overlap(items, *exact), "");
    EXPECT_FALSE(pack_exactly(items, best - 1, 50'000'000).has_value()) << round;
    EXPECT_EQ(pack(items, live_bound(items)).height, best) << round;
  }
}

TEST(Packing, NothingBelowTheBoundIsFound) {
  EXPECT_FALSE(pack_exactly({{5, 0, 1}, {5, 1, 2}}, 9, 1'000'000).has_value());
  EXPECT_TRUE(pack_exactly({{5, 0, 1}, {5, 1, 2}}, 10, 1'000'000).has_value());
}

struct Case {
  std::int64_t ranks;
  int stage;
  std::int64_t micro_batch;
  DType type;
  Reduce reduce;
  bool overlap;
};

class OverLayouts : public ::testing::TestWithParam<Case> {};

TEST_P(OverLayouts, BytesAndWaitsHold) {
  const Case& c = GetParam();
  toy::Toy toy = toy::make({.layers = 4, .width = 36}, c.type);
  toy.train.reduce = c.reduce;
  LayoutSpec layout = toy::layout(c.ranks, c.stage, c.micro_batch);
  layout.overlap = c.overlap;
  const Target target = reference_target();
  for (std::int64_t bucket : {1, 2000, 1000000}) {
    layout.bucket = Elements(bucket);
    layout.prefetch = Elements(2 * bucket);
    const local::Scheduled scheduled = schedule(toy::partitioned(toy, layout), layout);
    const MemoryPlan plan = plan_memory(scheduled, target);
    EXPECT_EQ(check_memory(scheduled, plan, target), "");
    EXPECT_LE(static_cast<double>(plan.packed.value), 1.02 * static_cast<double>(plan.lower_bound.value));
    EXPECT_EQ(plan.device_arena.value % target.page.value, 0);
    EXPECT_GE(plan.packed, plan.lower_bound);
  }
}

std::vector<Case> cases() {
  std::vector<Case> list;
  for (std::int64_t ranks : {1, 2, 8}) {
    for (int stage : {0, 1, 2, 3}) {
      for (std::int64_t m : {1, 2, 4}) {
        if (16 / ranks % m != 0 || (ranks == 1 && stage > 0)) continue;
        for (DType type : {DType::f32, DType::bf16}) {
          for (Reduce reduce : {Reduce::once, Reduce::each}) {
            list.push_back({ranks, stage, 16 / ranks / m, type, reduce, true});
          }
        }
        list.push_back({ranks, stage, 16 / ranks / m, DType::f32, Reduce::once, false});
      }
    }
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Memory, OverLayouts, ::testing::ValuesIn(cases()));

TEST(Memory, CheckerFindsWhatIsWrong) {
  const toy::Toy toy = toy::make({});
  const LayoutSpec layout = toy::layout(4, 3, 4);
  const Target target = reference_target();
  const local::Scheduled scheduled = schedule(toy::partitioned(toy, layout), layout);
  const MemoryPlan good = plan_memory(scheduled, target);
  ASSERT_EQ(check_memory(scheduled, good, target), "");
  MemoryPlan bad = good;
  bad.offsets[0] += Bytes(1);
  EXPECT_NE(check_memory(scheduled, bad, target).find("is not aligned"), std::string::npos);
  bad = good;
  bad.offsets[0] = bad.packed;
  EXPECT_NE(check_memory(scheduled, bad, target).find("outside the arena"), std::string::npos);
  bad = good;
  bad.offsets[1] = bad.offsets[0];
  EXPECT_NE(check_memory(scheduled, bad, target).find("shares bytes with"), std::string::npos);
  // Any wait dropped is a race: none is implied by the others.
  int dropped = 0;
  for (std::size_t p = 0; p < good.waits.size(); ++p) {
    for (std::size_t s = 0; s < good.waits[p].size(); ++s) {
      for (std::size_t i = 0; i < good.waits[p][s].size(); ++i) {
        for (std::size_t w = 0; w < good.waits[p][s][i].size(); ++w) {
          bad = good;
          bad.waits[p][s][i].erase(bad.waits[p][s][i].begin() + static_cast<std::ptrdiff_t>(w));
          const std::string found = check_memory(scheduled, bad, target);
          EXPECT_TRUE(found.find("race") != std::string::npos || found.find("too early") != std::string::npos) << found;
          ++dropped;
        }
      }
    }
  }
  EXPECT_GT(dropped, 20);
}

TEST(Memory, Stage3KeepsAnEighthOfTheState) {
  const toy::Toy toy = toy::make({.layers = 4, .vocab = 256, .width = 64, .hidden = 256});
  const auto persistent = [&](int stage) {
    const LayoutSpec layout = toy::layout(8, stage, 2);
    return static_cast<double>(plan_memory(schedule(toy::partitioned(toy, layout), layout), reference_target()).persistent.value);
  };
  EXPECT_LE(persistent(3), 0.135 * persistent(0));
  EXPECT_LT(persistent(1), persistent(0));
}

TEST(Memory, SameInputsSameBytes) {
  const toy::Toy toy = toy::make({});
  const LayoutSpec layout = toy::layout(4, 3, 2);
  const auto text = [&] {
    const local::Scheduled scheduled = schedule(toy::partitioned(toy, layout), layout);
    return print(scheduled) + print(plan_memory(scheduled, reference_target()), scheduled);
  };
  EXPECT_EQ(text(), text());
}

}  // namespace
}  // namespace dsc
