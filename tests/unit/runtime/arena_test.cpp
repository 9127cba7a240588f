// Arenas and the training state that lives in them.
#include <gtest/gtest.h>

#include <cstring>

#include "runtime/arena/arena.h"
#include "runtime/arena/round.h"
#include "runtime/arena/training_state.h"
#include "tests/unit/runtime/small_plans.h"

namespace {
using namespace dsc;
using namespace dsc_test;

TEST(Arena, maps_exactly_what_it_says_zeroed_and_writable) {
  for (std::int64_t bytes : {std::int64_t{4096}, std::int64_t{12288}, std::int64_t{5} << 20}) {
    Result<Arena> arena = Arena::map(Bytes(bytes), "an arena");
    ASSERT_TRUE(arena);
    EXPECT_EQ(arena->mapped().value, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena->base()) % 4096, 0u);
    for (std::int64_t at = 0; at < bytes; at += 1000) ASSERT_EQ(arena->base()[at], std::byte{0});
    std::memset(arena->base(), 7, static_cast<std::size_t>(bytes));
  }
}

TEST(Arena, the_bytes_around_it_are_out_of_reach) {
  Result<Arena> arena = Arena::map(Bytes(8192), "an arena");
  ASSERT_TRUE(arena);
  volatile std::byte* base = arena->base();
  EXPECT_DEATH(base[8192] = std::byte{1}, "");
  EXPECT_DEATH(base[-1] = std::byte{1}, "");
}

TEST(Arena, what_cannot_be_mapped_is_an_error) {
  Result<Arena> arena = Arena::map(Bytes(std::int64_t{1} << 50), "the arena of rank 3");
  ASSERT_FALSE(arena);
  EXPECT_EQ(arena.error().code, "DSM0950");
  EXPECT_EQ(arena.error().message.find("cannot map the arena of rank 3 (1,125,899,906,842,624 bytes): "), 0u) << arena.error().message;
}

TEST(Arena, an_empty_one_is_nothing) {
  Result<Arena> arena = Arena::map(Bytes(0), "an arena");
  ASSERT_TRUE(arena);
  EXPECT_EQ(arena->mapped().value, 0);
}

// A parameter of 10 elements on 4 ranks (pieces of 3, the last holds 1), kept as each ZeRO stage does.
struct Kept {
  SmallPlan small{{4}};
  explicit Kept(DType used, int stage) {
    Model& model = small.plan.contract.model;
    model.axes.push_back({"batch", 4, {}, false, {}});
    model.axes.push_back({"seq", 4, {}, false, {}});
    model.axes.push_back({"n", 10, {}, false, {}});
    Parameter parameter;
    parameter.path = "w";
    parameter.axes = {AxisId(2)};
    model.parameters.push_back(parameter);
    const bool pieces = stage >= 1, used_pieces = stage == 3;
    add(used_pieces ? BufferRole::parameter_piece : BufferRole::parameter, used_pieces ? 3 : 12, used);
    if (used != DType::f32) add(pieces ? BufferRole::master_piece : BufferRole::master, pieces ? 3 : 12, DType::f32);
    add(pieces ? BufferRole::moment1_piece : BufferRole::moment1, pieces ? 3 : 12, DType::f32);
    const BufferId state = small.buffer("state", sizeof(StateBlock), DType::u8);
    small.plan.buffers[state.index()].role = BufferRole::state;
    small.plan.buffers[state.index()].persistent = true;
    small.finish();
  }
  void add(BufferRole role, std::int64_t elements, DType type) {
    const BufferId id = small.buffer(name_of(role), elements, type);
    Buffer& buffer = small.plan.buffers[id.index()];
    buffer.role = role;
    buffer.persistent = true;
    buffer.parameter = ParameterId(0);
  }
};

TEST(TrainingState, pieces_are_read_back_at_every_stage_and_precision) {
  for (DType used : {DType::f32, DType::bf16, DType::f16}) {
    for (int stage : {0, 1, 2, 3}) {
      Kept kept(used, stage);
      TestArenas arenas(kept.small.plan);
      TrainingState state(kept.small.plan, arenas.bases());
      EXPECT_TRUE(state.has(StateSlot::master));
      EXPECT_TRUE(state.has(StateSlot::moment1));
      EXPECT_FALSE(state.has(StateSlot::moment2));
      std::vector<float> values, moments;
      for (int i = 0; i < 10; ++i) {
        values.push_back(1.0f + static_cast<float>(i) * 0.001f);
        moments.push_back(static_cast<float>(-i));
      }
      // Written in two parts that cut a piece in the middle.
      state.set(ParameterId(0), StateSlot::master, 0, std::span(values).subspan(0, 4));
      state.set(ParameterId(0), StateSlot::master, 4, std::span(values).subspan(4));
      state.set(ParameterId(0), StateSlot::moment1, 0, moments);
      for (std::int64_t piece = 0; piece < 4; ++piece) {
        EXPECT_EQ(state.piece_begin(ParameterId(0), piece), piece * 3);
        EXPECT_EQ(state.piece_end(ParameterId(0), piece), piece == 3 ? 10 : piece * 3 + 3);
        const auto master = state.get(ParameterId(0), StateSlot::master, piece);
        const auto moment = state.get(ParameterId(0), StateSlot::moment1, piece);
        ASSERT_EQ(master.size(), piece == 3 ? 1u : 3u);
        for (std::size_t i = 0; i < master.size(); ++i) {
          EXPECT_EQ(master[i], values[static_cast<std::size_t>(piece) * 3 + i]);
          EXPECT_EQ(moment[i], moments[static_cast<std::size_t>(piece) * 3 + i]);
        }
      }
      // The copies as used, on every rank that holds them.
      const bool whole = stage < 3;
      for (std::size_t rank = 0; rank < 4; ++rank) {
        for (std::size_t i = 0; i < (whole ? 10 : rank == 3 ? 1 : 3); ++i) {
          const float value = values[whole ? i : rank * 3 + i];
          const std::byte* place = arenas.bases()[rank] + i * static_cast<std::size_t>(size_of(used));
          if (used == DType::f32) {
            EXPECT_EQ(std::memcmp(place, &value, 4), 0);
          } else {
            const std::uint16_t bits = used == DType::bf16 ? to_bf16(value) : to_f16(value);
            EXPECT_EQ(std::memcmp(place, &bits, 2), 0);
          }
        }
      }
    }
  }
}

TEST(TrainingState, the_block_is_on_every_rank) {
  Kept kept(DType::f32, 0);
  TestArenas arenas(kept.small.plan);
  TrainingState state(kept.small.plan, arenas.bases());
  StateBlock block;
  block.attempts = 41;
  block.loss_scale = 512;
  state.set_block(block);
  EXPECT_EQ(state.block().attempts, 41);
  const std::int64_t offset = kept.small.plan.buffers.back().offset.value;
  for (std::byte* base : arenas.bases()) EXPECT_EQ(std::memcmp(base + offset, &block, sizeof block), 0);
}

}  // namespace
