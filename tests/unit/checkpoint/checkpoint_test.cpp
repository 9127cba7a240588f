// Writing checkpoints and reading them back in any layout.
#include "runtime/checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <limits>

#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/manifest.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc {
namespace {

TEST(Checksum, KnownAnswers) {
  EXPECT_EQ(checksum("", 0), 0xef46db3751d8e999ull);
  EXPECT_EQ(checksum("a", 1), 0xd24ec4f1a98c6e5bull);
  EXPECT_EQ(checksum("abc", 3), 0x44bc2cf5ad770999ull);
  const char* text = "Nobody inspects the spammish repetition";
  EXPECT_EQ(checksum(text, std::strlen(text)), 0xfbcea83c8a378bf1ull);
}

TEST(Checkpoint, AnyLayoutResumesAny) {
  std::vector<HandLayout> layouts;
  for (std::int64_t ranks : {1, 2, 3, 8})
    for (int zero : {0, 1, 2, 3}) layouts.push_back({ranks, zero, zero == 2 ? DType::bf16 : DType::f32});
  for (const HandLayout& from : layouts) {
    RunFolder folder;
    HandPlan writer(small_contract(), from);
    ASSERT_TRUE(folder.write(writer, 7));
    std::vector<float> expected = writer.everything();
    for (const HandLayout& to : layouts) {
      HandPlan reader(small_contract(), to);
      Result<std::optional<Resumed>> resumed = folder.read(reader);
      ASSERT_TRUE(resumed) << resumed.error().message;
      ASSERT_TRUE(*resumed);
      EXPECT_EQ((*resumed)->step, 7);
      EXPECT_EQ((*resumed)->position.attempt, 7);
      EXPECT_EQ((*resumed)->position.consumed, 56);
      EXPECT_EQ(reader.everything(), expected);
      EXPECT_EQ(reader.state().block().attempts, 7);
    }
  }
}

TEST(Checkpoint, LargeParametersAreCutAndJoined) {
  Contract contract = small_contract();
  contract.model.axes[2].size = 2300;  // z has 5,290,000 elements: more than a piece holds
  contract.train.optimizer.kind = OptimizerKind::sgd;
  RunFolder folder;
  HandPlan writer(contract, {1, 0, DType::f32});
  ASSERT_TRUE(folder.write(writer, 1));
  HandPlan reader(contract, {3, 3, DType::f32});
  Result<std::optional<Resumed>> resumed = folder.read(reader);
  ASSERT_TRUE(resumed);
  EXPECT_TRUE(reader.everything() == writer.everything());
  ASSERT_TRUE(folder.write(reader, 2));
  HandPlan again(contract, {1, 1, DType::f32});
  ASSERT_TRUE(folder.read(again));
  EXPECT_TRUE(again.everything() == reader.everything());
}

TEST(Checkpoint, TheStateBlockComesBackWhole) {
  RunFolder folder;
  Contract contract = small_contract();
  contract.train.loss_scale = {true, 65536, 1000, 2, 1};
  HandPlan writer(contract, {2, 1, DType::f16});
  StateBlock block;
  block.attempts = 12, block.applied = 9, block.clean = 3, block.hysteresis = 1;
  block.loss = 3.14159265358979, block.grad_norm = std::numeric_limits<double>::infinity();
  block.learning_rate = 1e-3 / 3, block.loss_scale = 2048, block.factor = 1.0f / 3, block.skip = 1;
  block.status = 0, block.next_loss_scale = 1024;
  writer.state().set_block(block);
  ASSERT_TRUE(write_checkpoint(folder.run(), folder.identity(writer), writer.state(), 96));
  HandPlan reader(contract, {1, 0, DType::f16});
  ASSERT_TRUE(folder.read(reader));
  StateBlock back = reader.state().block();
  EXPECT_TRUE(std::isnan(back.grad_norm));  // what is not finite comes back as not a number
  back.grad_norm = block.grad_norm;
  EXPECT_EQ(std::memcmp(&back, &block, sizeof block), 0);
}

TEST(Checkpoint, NothingThereIsNoError) {
  RunFolder folder;
  HandPlan plan(small_contract(), {});
  Result<std::optional<Resumed>> resumed = folder.read(plan);
  ASSERT_TRUE(resumed);
  EXPECT_FALSE(*resumed);
  Result<Resumed> parameters = load_parameters(folder.run(), plan.contract(), plan.state());
  ASSERT_FALSE(parameters);
  EXPECT_EQ(parameters.error().code, "DSM0803");
  EXPECT_EQ(parameters.error().message, "there is no checkpoint in " + folder.run().string());
}

TEST(Checkpoint, KeepsTheLastN) {
  RunFolder folder;
  Contract contract = small_contract();
  contract.train.checkpoint_keep = 2;
  HandPlan plan(contract, {});
  for (int step : {0, 10, 20, 30}) ASSERT_TRUE(folder.write(plan, step));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"step-00000020", "step-00000030"}));
  EXPECT_EQ(folder.steps(), (std::vector<std::int64_t>{30, 20}));
  ASSERT_TRUE(folder.write(plan, 25));  // after a resume from 20: the later one is not counted and stays
  EXPECT_EQ(folder.steps(), (std::vector<std::int64_t>{30, 25, 20}));
  contract.train.checkpoint_keep = 0;
  HandPlan all(contract, {});
  for (int step : {40, 50, 123456789}) ASSERT_TRUE(folder.write(all, step));
  EXPECT_EQ(folder.steps(), (std::vector<std::int64_t>{123456789, 50, 40, 30, 25, 20}));
}

TEST(Checkpoint, TheSameStepIsReplaced) {
  RunFolder folder;
  HandPlan plan(small_contract(), {});
  ASSERT_TRUE(folder.write(plan, 5));
  plan.contract().train.batch = 16;
  ASSERT_TRUE(folder.write(plan, 5));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"step-00000005"}));
  HandPlan reader(small_contract(), {});
  Result<std::optional<Resumed>> resumed = folder.read(reader);
  ASSERT_TRUE(resumed);
  EXPECT_EQ((*resumed)->position.consumed, 80);
}

TEST(Checkpoint, LeftoversOfACrashAreRemoved) {
  RunFolder folder;
  HandPlan plan(small_contract(), {});
  folder.dir.write("run/checkpoints/.writing/state.bin", "torn");
  folder.dir.write("run/checkpoints/.discarded/manifest.json", "{}");
  folder.dir.write("run/checkpoints/step-12/manifest.json", "{}");  // not a name that dsc writes
  EXPECT_EQ(folder.steps(), std::vector<std::int64_t>());
  ASSERT_TRUE(folder.write(plan, 5));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"step-00000005", "step-12"}));
}

// A limit on the size of files stands for a full disk: the write fails midway.
TEST(Checkpoint, AFullDiskLeavesTheOlderOnesAlone) {
  RunFolder folder;
  HandPlan plan(small_contract(), {});
  ASSERT_TRUE(folder.write(plan, 5));
  std::vector<float> expected = plan.everything();
  std::string state = read_bytes(folder.step(5) / "state.bin"), manifest = read_bytes(folder.step(5) / "manifest.json");
  auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  for (rlim_t room : {rlim_t{0}, rlim_t{100}, rlim_t{state.size() - 1}, rlim_t{state.size()}, rlim_t{manifest.size() - 100}}) {
    rlimit limit{room, old_limit.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    Status status = folder.write(plan, 6);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
    ASSERT_FALSE(status) << room;
    EXPECT_EQ(status.error().code, "DSM0801");
    std::string file = (folder.run() / "checkpoints/.writing" / (room < state.size() ? "state.bin" : "manifest.json")).string();
    EXPECT_EQ(status.error().message, "cannot write " + file + ": File too large");
    EXPECT_EQ(status.error().help, "make room, or name another folder");
    EXPECT_EQ(folder.names(), (std::vector<std::string>{"step-00000005"})) << room;
  }
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(read_bytes(folder.step(5) / "state.bin"), state);
  EXPECT_EQ(read_bytes(folder.step(5) / "manifest.json"), manifest);
  HandPlan reader(small_contract(), {});
  ASSERT_TRUE(folder.read(reader));
  EXPECT_EQ(reader.everything(), expected);
  ASSERT_TRUE(folder.write(plan, 6));
  EXPECT_EQ(folder.steps(), (std::vector<std::int64_t>{6, 5}));
}

TEST(Checkpoint, AFileWhereTheFolderShouldBe) {
  RunFolder folder;
  HandPlan plan(small_contract(), {});
  folder.dir.write("run", "a file");
  Status status = folder.write(plan, 5);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, "DSM0801");
  EXPECT_EQ(status.error().message, "cannot write " + folder.run().string() + ": Not a directory");
}

TEST(Checkpoint, ParametersAloneForSampling) {
  RunFolder folder;
  HandPlan writer(small_contract(), {4, 3, DType::bf16});
  ASSERT_TRUE(folder.write(writer, 9));
  Contract contract = small_contract();
  contract.train.optimizer.kind = OptimizerKind::sgd;  // no moments, as in a plan for sampling; data and seed are not compared
  contract.train.seed = 1;
  contract.data.sequence = 77;
  HandPlan reader(contract, {1, 0, DType::f32});
  Result<Resumed> loaded = load_parameters(folder.run(), reader.contract(), reader.state());
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded->step, 9);
  std::vector<float> all = writer.everything();
  EXPECT_EQ(reader.everything(), std::vector<float>(all.begin(), all.begin() + 77));
}

TEST(Checkpoint, EqualStatesGiveEqualFiles) {
  RunFolder first, second;
  HandPlan a(small_contract(), {2, 1, DType::f32}), b(small_contract(), {2, 1, DType::f32});
  ASSERT_TRUE(first.write(a, 3));
  ASSERT_TRUE(second.write(b, 3));
  EXPECT_EQ(read_bytes(first.step(3) / "state.bin"), read_bytes(second.step(3) / "state.bin"));
  EXPECT_EQ(read_bytes(first.step(3) / "manifest.json"), read_bytes(second.step(3) / "manifest.json"));
}

TEST(Checkpoint, LaterOnesAreSetAside) {
  RunFolder folder;
  HandPlan plan(small_contract(), {});
  for (int step : {3, 5, 7}) ASSERT_TRUE(folder.write(plan, step));
  std::filesystem::create_directory(folder.step(7).string() + ".damaged");  // by an earlier resume
  set_aside_after(folder.run(), 3);
  EXPECT_EQ(folder.steps(), (std::vector<std::int64_t>{3}));
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"step-00000003", "step-00000005.damaged", "step-00000007.damaged"}));
  EXPECT_TRUE(std::filesystem::exists(folder.step(7).string() + ".damaged/state.bin"));
}

TEST(Checkpoint, AFolderThatCannotBeListedIsNoEmptyOne) {
  RunFolder folder;
  EXPECT_TRUE(list_checkpoints(folder.run()).value().empty());
  std::filesystem::create_directory(folder.run());
  EXPECT_TRUE(list_checkpoints(folder.run()).value().empty());
  std::ofstream(folder.run() / "checkpoints") << "a file";
  HandPlan plan(small_contract(), {});
  Result<std::optional<Resumed>> resumed = folder.read(plan);
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().code, "DSM0802");
  EXPECT_EQ(resumed.error().message, "cannot list " + (folder.run() / "checkpoints").string() + ": Not a directory");
}

}  // namespace
}  // namespace dsc
