// The executor on plans built by hand: what it computes on any number of workers, that a step allocates nothing, and that
// whatever fails ends with one error.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "runtime/executor/executor.h"
#include "tests/unit/runtime/counted_heap.h"
#include "tests/unit/runtime/small_plans.h"

namespace {
using namespace dsc;
using namespace dsc_test;

constexpr std::int64_t kRows = 24, kWidth = 64, kPiece = 96;  // 4 ranks: 384 elements reduced, 1,536 scaled

// Two micro-batches' worth of a data-parallel step: read, compute, reduce while computing, update the own piece, gather.
struct Step {
  SmallPlan small;
  BufferId tokens, targets, x, y, gradient, reduced, weights;

  explicit Step(const std::vector<std::int64_t>& mesh)
      : small(mesh), tokens(small.buffer("tokens", 16, DType::i32)), targets(small.buffer("targets", 16, DType::i32)),
        x(small.buffer("x", kRows * kWidth)), y(small.buffer("y", kRows * kWidth)),
        gradient(small.buffer("gradient", ranks() * kPiece)), reduced(small.buffer("reduced", kPiece)),
        weights(small.buffer("weights", ranks() * kPiece)) {
    Section loop{"middle", 0, 3, {}};
    loop.instructions = {
        small.read("read", small.whole(tokens), small.whole(targets), 2, 8),
        small.scale("x", small.whole(x), small.whole(y), kRows, kWidth, 0.5, 1),
        small.scale("y", small.whole(y), small.whole(x), kRows, kWidth, 1.25, -0.5),
        small.scale("gradient", small.whole(weights), small.whole(gradient), ranks(), kPiece, 0.75, 0.125),
    };
    loop.instructions[1].waits = {0};
    Section last{"last", 3, 1, {}};
    last.instructions = {
        small.scale("gradient", small.whole(weights), small.whole(gradient), ranks(), kPiece, 1.5, 0.25),
        small.collective("reduce", CollectiveKind::reduce_scatter, small.whole(gradient), small.whole(reduced), kPiece),
        small.scale("x", small.whole(x), small.whole(y), kRows, kWidth, 0.5, 1),
        small.scale("update", small.whole(reduced), small.piece(weights, kPiece), 1, kPiece, 0.25, 0.0625),
        small.collective("gather", CollectiveKind::all_gather, small.piece(weights, kPiece), small.whole(weights), kPiece),
        small.scale("y", small.whole(y), small.whole(x), kRows, kWidth, 1.25, -0.5),
    };
    last.instructions[1].waits = {0};
    last.instructions[3].waits = {1};
    last.instructions[4].waits = {3};
    small.plan.programs = {{"step", {loop, last}}};
    small.finish();
  }

  std::int64_t ranks() const { return small.plan.contract.layout.world_size(); }

  void fill(const TestArenas& arenas) const {
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks()); ++rank) {
      for (std::int64_t i = 0; i < kRows * kWidth; ++i) arenas.floats(small.plan, x, rank)[i] = static_cast<float>(i) * 0.01f + static_cast<float>(rank);
      for (std::int64_t i = 0; i < ranks() * kPiece; ++i) arenas.floats(small.plan, weights, rank)[i] = static_cast<float>(i % 7) * 0.1f;
    }
  }
};

RowReader counting_reader(std::atomic<std::int64_t>& sum) {
  return [&sum](const RowsWanted& wanted) {
    sum += 1 + 100 * wanted.data_rank + 10000 * wanted.micro_batch;
    for (std::int64_t i = 0; i < wanted.rows * wanted.sequence; ++i) {
      wanted.tokens[i] = static_cast<std::int32_t>(wanted.data_rank * 1000 + wanted.micro_batch);
      wanted.targets[i] = wanted.tokens[i] + 1;
    }
    return Status();
  };
}

std::unique_ptr<Executor> loaded(const Plan& plan, const TestArenas& arenas, ExecutorOptions options) {
  Result<std::unique_ptr<Executor>> executor = Executor::load(plan, arenas.bases(), std::move(options));
  EXPECT_TRUE(executor) << (executor ? "" : executor.error().message);
  return std::move(*executor);
}

TEST(Executor, computes_the_step) {
  Step step({4});
  TestArenas arenas(step.small.plan);
  step.fill(arenas);
  std::atomic<std::int64_t> reads{0};
  auto executor = loaded(step.small.plan, arenas, {2, false, counting_reader(reads), {}});
  ASSERT_TRUE(executor->run(0));
  // 4 ranks and 3 micro-batches: 12 reads, data ranks 0..3 three times, micro-batches 0..2 four times.
  EXPECT_EQ(reads, 12 + 100 * 3 * 6 + 10000 * 4 * 3);
  for (std::size_t rank = 0; rank < 4; ++rank) {
    for (std::int64_t i = 0; i < kRows * kWidth; ++i) {
      float expected = static_cast<float>(i) * 0.01f + static_cast<float>(rank);
      for (int k = 0; k < 4; ++k) expected = (expected * 0.5f + 1) * 1.25f - 0.5f;
      ASSERT_FLOAT_EQ(arenas.floats(step.small.plan, step.x, rank)[i], expected);
    }
    for (std::int64_t i = 0; i < 4 * kPiece; ++i) {
      const float gradient = static_cast<float>(i % 7) * 0.1f * 1.5f + 0.25f;
      ASSERT_FLOAT_EQ(arenas.floats(step.small.plan, step.weights, rank)[i], (gradient + gradient + gradient + gradient) * 0.25f + 0.0625f);
    }
    EXPECT_EQ(reinterpret_cast<std::int32_t*>(arenas.floats(step.small.plan, step.tokens, rank))[15], static_cast<int>(rank) * 1000 + 2);
  }
}

TEST(Executor, any_number_of_workers_gives_the_same_bits) {
  for (const std::vector<std::int64_t>& mesh : {std::vector<std::int64_t>{1}, {4}, {2, 3}, {8}}) {
    std::vector<std::vector<std::byte>> first;
    for (int threads : {1, 2, 3, 7}) {
      Step step(mesh);
      TestArenas arenas(step.small.plan);
      step.fill(arenas);
      std::atomic<std::int64_t> reads{0};
      auto executor = loaded(step.small.plan, arenas, {threads, threads == 3, counting_reader(reads), {}});
      EXPECT_EQ(executor->threads(), threads);
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(executor->run(0));
      std::vector<std::vector<std::byte>> memory;
      for (std::byte* base : arenas.bases())
        memory.emplace_back(base, base + step.small.plan.memory.device_arena.value);
      if (first.empty()) first = memory;
      EXPECT_EQ(memory, first) << threads << " workers";
    }
  }
}

TEST(Executor, a_step_allocates_nothing) {
  if (!kHeapIsCounted) GTEST_SKIP() << "the sanitizer owns the allocator";
  Step step({4});
  TestArenas arenas(step.small.plan);
  step.fill(arenas);
  std::atomic<std::int64_t> reads{0};
  auto executor = loaded(step.small.plan, arenas, {3, true, counting_reader(reads), {}});
  ASSERT_TRUE(executor->run(0));
  ASSERT_TRUE(executor->run(0));
  const HeapCount before = heap_count();
  for (int i = 0; i < 50; ++i) {
    if (!executor->run(0)) std::abort();
  }
  const HeapCount after = heap_count();
  EXPECT_EQ(after.calls, before.calls);
  EXPECT_EQ(after.live_bytes, before.live_bytes);
}

TEST(Executor, profile_counts_every_instruction) {
  Step step({2});
  TestArenas arenas(step.small.plan);
  step.fill(arenas);
  std::atomic<std::int64_t> reads{0};
  auto executor = loaded(step.small.plan, arenas, {2, true, counting_reader(reads), {}});
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(executor->run(0));
  const Profile profile = executor->profile();
  EXPECT_EQ(profile.runs, 5);
  EXPECT_EQ(profile.threads, 2);
  std::int64_t maps = 0, gathers = 0, read = 0;
  for (const ProfileRow& row : profile.rows) {
    if (row.kind == "map") maps = row.count;
    if (row.kind == "all_gather") gathers = row.count;
    if (row.kind == "read_batch") read = row.count;
    EXPECT_GE(row.busy_seconds, 0);
  }
  EXPECT_EQ(maps, 5 * 2 * (3 * 3 + 4));
  EXPECT_EQ(gathers, 5);
  EXPECT_EQ(read, 5 * 2 * 3);
  EXPECT_GE(profile.wall_seconds, 0);
  const std::vector<std::string> lines = to_lines(profile);
  EXPECT_EQ(lines[0].find("5 program runs on 2 workers"), 0u) << lines[0];
  EXPECT_EQ(lines.size(), profile.rows.size() + 3);
}

TEST(Executor, a_failing_rank_ends_the_run_with_one_error) {
  for (int threads : {1, 2, 4}) {
    Step step({4});
    TestArenas arenas(step.small.plan);
    step.fill(arenas);
    std::atomic<std::int64_t> reads{0};
    ExecutorOptions options{threads, false, counting_reader(reads), {}};
    std::atomic<bool> armed{false};
    options.before_tile = [&](const Instruction& instruction, std::int64_t rank) {
      if (armed && rank == 2 && instruction.name == "update") throw std::runtime_error("the disk is on fire");
    };
    auto executor = loaded(step.small.plan, arenas, std::move(options));
    ASSERT_TRUE(executor->run(0));
    armed = true;
    const Status status = executor->run(0);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, "DSM0955");
    EXPECT_EQ(status.error().message, "`update` failed on rank 2: the disk is on fire");
    armed = false;
    EXPECT_FALSE(executor->run(0));  // it stays dead
  }
}

TEST(Executor, a_readers_error_is_the_runs) {
  Step step({4});
  TestArenas arenas(step.small.plan);
  step.fill(arenas);
  auto executor = loaded(step.small.plan, arenas, {2, false, [](const RowsWanted& wanted) -> Status {
                           if (wanted.data_rank == 3 && wanted.micro_batch == 1) return Error{"DSM0905", "data.txt shrank", ""};
                           return {};
                         }, {}});
  const Status status = executor->run(0);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "data.txt shrank");
}

TEST(Executor, empty_programs_and_sections_end_at_once) {
  SmallPlan small({3});
  small.buffer("a", 8);
  small.finish();
  small.plan.programs = {{"step", {}}, {"evaluate", {{"only", 0, 4, {}}}}};
  TestArenas arenas(small.plan);
  auto executor = loaded(small.plan, arenas, {2, false, {}, {}});
  EXPECT_TRUE(executor->run(0));
  EXPECT_TRUE(executor->run(1));
}

TEST(Executor, workers_default_to_the_affinity_mask) {
  SmallPlan small({1});
  small.buffer("a", 8);
  small.finish();
  small.plan.programs = {{"step", {}}};
  TestArenas arenas(small.plan);
  EXPECT_EQ(loaded(small.plan, arenas, {})->threads(), affinity_cores());
}

}  // namespace
