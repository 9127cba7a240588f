// Shared-memory collectives against folds written out.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "runtime/arena/ranks.h"
#include "runtime/arena/round.h"
#include "runtime/collectives/shared_collective.h"
#include "tests/unit/runtime/small_plans.h"

namespace {
using namespace dsc;
using namespace dsc_test;

std::vector<CollectiveMember> members_of(const Plan& plan, const TestArenas& arenas) {
  std::vector<CollectiveMember> members;
  for (std::size_t rank = 0; rank < arenas.bases().size(); ++rank)
    members.push_back({arenas.bases()[rank], data_rank(plan.contract.layout, static_cast<std::int64_t>(rank))});
  return members;
}

void run_all(const SharedCollective& collective) {
  for (int phase = 0; phase < collective.phases(); ++phase)
    for (std::int64_t tile = collective.tiles(phase); tile-- > 0;) collective.run(phase, tile);  // any order will do
}

std::vector<std::int64_t> sizes_of(const Plan& plan) {
  std::vector<std::int64_t> sizes;
  for (const MeshAxis& axis : plan.contract.layout.mesh) sizes.push_back(axis.size);
  return sizes;
}

// Contributions of all ranks, of very different sizes, so that the order of a fold shows.
std::vector<std::vector<float>> contributions(std::size_t ranks, std::size_t count) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> number(-1, 1);
  std::vector<std::vector<float>> values(ranks, std::vector<float>(count));
  for (auto& rank : values)
    for (float& value : rank) value = std::ldexp(number(random), static_cast<int>(random() % 24));
  return values;
}

float as_sent(float value, bool wire) { return wire ? from_bf16(to_bf16(value)) : value; }

struct Case {
  std::vector<std::int64_t> mesh;
  std::int64_t piece;
  bool wire;
};

class Folds : public ::testing::TestWithParam<Case> {};

// Innermost axis first, each in order.
float naive_fold(const std::vector<std::int64_t>& mesh, const std::vector<std::vector<float>>& values, std::size_t at, bool wire) {
  std::vector<float> level;
  for (const auto& rank : values) level.push_back(as_sent(rank[at], wire));
  for (std::size_t axis = mesh.size(); axis-- > 0;) {
    std::vector<float> next;
    for (std::size_t first = 0; first < level.size(); first += static_cast<std::size_t>(mesh[axis])) {
      float sum = level[first];
      for (std::int64_t i = 1; i < mesh[axis]; ++i) sum += level[first + static_cast<std::size_t>(i)];
      next.push_back(sum);
    }
    level = next;
  }
  return level[0];
}

TEST_P(Folds, reduce_scatter_and_all_reduce) {
  const Case& c = GetParam();
  SmallPlan small(c.mesh);
  const auto ranks = static_cast<std::size_t>(small.plan.contract.layout.world_size());
  const auto total = static_cast<std::int64_t>(ranks) * c.piece;
  const BufferId from = small.buffer("from", total), to = small.buffer("to", c.piece), both = small.buffer("both", total);
  small.finish();
  TestArenas arenas(small.plan);
  const auto values = contributions(ranks, static_cast<std::size_t>(total));
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    std::memcpy(arenas.floats(small.plan, from, rank), values[rank].data(), values[rank].size() * sizeof(float));
    std::memcpy(arenas.floats(small.plan, both, rank), values[rank].data(), values[rank].size() * sizeof(float));
  }
  const Instruction scatter =
      small.collective("scatter", CollectiveKind::reduce_scatter, small.whole(from), small.whole(to), c.piece, c.wire);
  const Instruction reduce =
      small.collective("reduce", CollectiveKind::all_reduce, small.whole(both), small.whole(both), c.piece, c.wire);
  for (const Instruction* instruction : {&scatter, &reduce})
    run_all(SharedCollective(std::get<CollectiveSpec>(instruction->op), small.plan, sizes_of(small.plan), members_of(small.plan, arenas)));
  for (std::int64_t i = 0; i < total; ++i) {
    const float expected = naive_fold(c.mesh, values, static_cast<std::size_t>(i), c.wire);
    const auto owner = static_cast<std::size_t>(i / c.piece);
    ASSERT_EQ(std::memcmp(&arenas.floats(small.plan, to, owner)[i % c.piece], &expected, sizeof expected), 0) << "element " << i;
    for (std::size_t rank = 0; rank < ranks; ++rank) ASSERT_EQ(arenas.floats(small.plan, both, rank)[i], expected) << "element " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(grid, Folds,
                         ::testing::Values(Case{{1}, 5, false}, Case{{2}, 1, false}, Case{{3}, 1025, true}, Case{{4}, 70001, false},
                                           Case{{8}, 9000, true}, Case{{2, 3}, 333, false}, Case{{2, 2, 2}, 5000, true}));

TEST(Collectives, gather_of_pieces_in_place_and_apart) {
  SmallPlan small({4});
  constexpr std::int64_t kPiece = 30011;
  const BufferId own = small.buffer("own", kPiece), all = small.buffer("all", 4 * kPiece), inside = small.buffer("inside", 4 * kPiece);
  small.finish();
  TestArenas arenas(small.plan);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    for (std::int64_t i = 0; i < kPiece; ++i) {
      const auto value = static_cast<float>(static_cast<std::int64_t>(rank) * kPiece + i);
      arenas.floats(small.plan, own, rank)[i] = value;
      arenas.floats(small.plan, inside, rank)[static_cast<std::int64_t>(rank) * kPiece + i] = value;
    }
  }
  const Instruction apart = small.collective("apart", CollectiveKind::all_gather, small.whole(own), small.whole(all), kPiece);
  const Instruction in_place =
      small.collective("in place", CollectiveKind::all_gather, small.piece(inside, kPiece), small.whole(inside), kPiece);
  for (const Instruction* instruction : {&apart, &in_place})
    run_all(SharedCollective(std::get<CollectiveSpec>(instruction->op), small.plan, sizes_of(small.plan), members_of(small.plan, arenas)));
  for (std::size_t rank = 0; rank < 4; ++rank)
    for (std::int64_t i = 0; i < 4 * kPiece; ++i) {
      ASSERT_EQ(arenas.floats(small.plan, all, rank)[i], static_cast<float>(i));
      ASSERT_EQ(arenas.floats(small.plan, inside, rank)[i], static_cast<float>(i));
    }
}

TEST(Collectives, doubles_fold_in_doubles) {
  SmallPlan small({3});
  const BufferId table = small.buffer("table", 3, DType::f64);
  small.finish();
  TestArenas arenas(small.plan);
  const double values[3] = {1, 1e-16, -1};
  for (std::size_t rank = 0; rank < 3; ++rank)
    for (int i = 0; i < 3; ++i)
      reinterpret_cast<double*>(arenas.floats(small.plan, table, rank))[i] = values[rank] * (i + 1);
  const Instruction reduce = small.collective("reduce", CollectiveKind::all_reduce, small.whole(table), small.whole(table), 1);
  run_all(SharedCollective(std::get<CollectiveSpec>(reduce.op), small.plan, sizes_of(small.plan), members_of(small.plan, arenas)));
  for (std::size_t rank = 0; rank < 3; ++rank)
    for (int i = 0; i < 3; ++i) {
      const double n = i + 1;
      EXPECT_EQ(reinterpret_cast<double*>(arenas.floats(small.plan, table, rank))[i], (1 * n + 1e-16 * n) + -1 * n);
    }
}

TEST(Ranks, coordinates_and_groups) {
  LayoutSpec layout;
  layout.mesh = {{"pod", 2, {}}, {"tensor", 3, {}}, {"data", 4, {}}};
  layout.batch_axes = {0, 2};
  EXPECT_EQ(coordinates(layout, 17), (std::vector<std::int64_t>{1, 1, 1}));
  EXPECT_EQ(data_rank(layout, 17), 5);
  EXPECT_EQ(group_of(layout, {2}, 17), (std::vector<std::int64_t>{16, 17, 18, 19}));
  EXPECT_EQ(group_of(layout, {0, 2}, 17), (std::vector<std::int64_t>{4, 5, 6, 7, 16, 17, 18, 19}));
}

TEST(Round, sixteen_bits_to_nearest_even) {
  EXPECT_EQ(to_bf16(1.00390625f), 0x3f80);   // halfway, the lower one is even
  EXPECT_EQ(to_bf16(1.01171875f), 0x3f82);   // halfway, the upper one is even
  EXPECT_EQ(to_bf16(-INFINITY), 0xff80);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(NAN))));
  EXPECT_EQ(to_f16(65504.0f), 0x7bff);
  EXPECT_EQ(to_f16(65519.9f), 0x7bff);
  EXPECT_EQ(to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(to_f16(0x1p-24f), 0x0001);
  EXPECT_EQ(to_f16(0x1p-25f), 0x0000);
  EXPECT_EQ(to_f16(0x1.8p-24f), 0x0002);
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = from_f16(static_cast<std::uint16_t>(bits));
    if (!std::isnan(value)) { ASSERT_EQ(to_f16(value), bits); }
  }
}

}  // namespace
