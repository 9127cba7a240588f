// What a resume refuses, what it allows, and what it says.
#include <gtest/gtest.h>

#include <functional>

#include "runtime/checkpoint/manifest.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc {
namespace {

// Writes step 500 with the small contract, changes one thing, resumes.
Result<std::optional<Resumed>> after(const std::function<void(Contract&, RunFolder&)>& change, HandLayout layout = {},
                                     const std::function<void(Contract&, RunFolder&)>& before = {}) {
  RunFolder folder;
  Contract contract = small_contract();
  if (before) before(contract, folder);
  HandPlan writer(contract, layout);
  EXPECT_TRUE(folder.write(writer, 500));
  change(contract, folder);
  HandPlan reader(contract, {2, 1, contract.train.activation});
  return folder.read(reader);
}

void expect_refused(const char* code, const std::string& message, const std::function<void(Contract&, RunFolder&)>& change) {
  Result<std::optional<Resumed>> result = after(change);
  ASSERT_FALSE(result) << message;
  EXPECT_EQ(result.error().code, code);
  EXPECT_EQ(result.error().message, message);
  EXPECT_FALSE(result.error().help.empty());
}

TEST(Resume, RefusesAnotherModel) {
  const std::string start = "the model is not the one of checkpoint step 500: ";
  expect_refused("DSM0804", start + "axis `width` has 12 elements, the checkpoint's has 6",
                 [](Contract& c, RunFolder&) { c.model.axes[2].size = 12; });
  expect_refused("DSM0804", start + "parameter `bias` stands where the checkpoint has `b`",
                 [](Contract& c, RunFolder&) { c.model.parameters[1].path = "bias"; });
  expect_refused("DSM0804", start + "the checkpoint has parameter `z`, the model has not",
                 [](Contract& c, RunFolder&) { c.model.parameters.pop_back(), c.model.ops[0].parameter = ParameterId(0); });
  expect_refused("DSM0804", start + "its operations are others",
                 [](Contract& c, RunFolder&) { c.model.ops[3].kind = OpKind::multiply; });
  expect_refused("DSM0804", start + "its operations are others", [](Contract& c, RunFolder&) { c.model.ops[3].theta = 5; });
}

TEST(Resume, RefusesOtherData) {
  expect_refused("DSM0805", "the data changed: sequence is 8, the checkpoint was written with 4",
                 [](Contract& c, RunFolder&) { c.data.sequence = 8; });
  expect_refused("DSM0805", "the data changed: bytes, shuffled; the checkpoint was written with bytes, sequential",
                 [](Contract& c, RunFolder&) { c.data.shuffled = true; });
  expect_refused("DSM0805",
                 "the data changed: bytes, sequential, validation split(5/100); the checkpoint was written with bytes, sequential",
                 [](Contract& c, RunFolder&) { c.data.validation_split = Share{5, 100}; });
  expect_refused("DSM0805", "the data changed: corpus.txt has 1,005 bytes, the checkpoint was written with 1,000",
                 [](Contract&, RunFolder& f) { f.train_files[0].bytes = 1005; });
  expect_refused("DSM0805", "the data changed: corpus.txt has other content than when the checkpoint was written",
                 [](Contract&, RunFolder& f) { f.train_files[0].sha256[5] = 'b'; });
  expect_refused("DSM0805", "the data changed: 2 files, the checkpoint was written with 1",
                 [](Contract&, RunFolder& f) { f.train_files.push_back(f.train_files[0]); });
  expect_refused("DSM0805", "the data changed: validation: 1 files, the checkpoint was written with 0",
                 [](Contract&, RunFolder& f) { f.validation_files = f.train_files; });
}

TEST(Resume, RefusesAnotherSeedOrKindOfOptimizer) {
  expect_refused("DSM0806", "seed is 7, the checkpoint was written with 42", [](Contract& c, RunFolder&) { c.train.seed = 7; });
  expect_refused("DSM0807", "the optimizer is sgd, the checkpoint was written with adamw",
                 [](Contract& c, RunFolder&) { c.train.optimizer.kind = OptimizerKind::sgd; });
}

TEST(Resume, AMovedFileIsTheSameData) {
  Result<std::optional<Resumed>> result = after([](Contract&, RunFolder& f) { f.train_files[0].path = "elsewhere/corpus.txt"; }, {2, 1});
  ASSERT_TRUE(result);
  EXPECT_TRUE((*result)->lines.empty());
}

TEST(Resume, SaysInOneLineWhatChanged) {
  Result<std::optional<Resumed>> result = after(
      [](Contract& c, RunFolder&) {
        c.train.batch = 4;
        c.model.axes[0].size = 4;
        c.train.steps = 200;
        c.train.optimizer.rate.peak = 3e-4;
        c.train.optimizer.beta2 = 0.95;
        c.train.clip_norm = 1.0;
        c.train.activation = DType::bf16;
      },
      {1, 0});
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ((*result)->lines.size(), 1u);
  EXPECT_EQ((*result)->lines[0],
            "changed since the checkpoint of step 500: layout hand (data: 1; zero 0, micro_batch 1) -> hand (data: 2; zero 1, "
            "micro_batch 1), precision fp32 -> bf16, batch 8 -> 4, steps 100 -> 200, learning rate constant(peak: 0.001, warmup: "
            "0) -> constant(peak: 0.0003, warmup: 0), optimizer betas (0.9, 0.999), eps 1e-08, weight_decay 0.0 -> betas (0.9, "
            "0.95), eps 1e-08, weight_decay 0.0, clip_norm none -> 1.0");
  EXPECT_EQ((*result)->position.first_sequence(501, 4), 500 * 8 + 4);
}

TEST(Resume, SaysNothingWhereNothingChanged) {
  Result<std::optional<Resumed>> result = after([](Contract&, RunFolder&) {}, {2, 1});
  ASSERT_TRUE(result);
  EXPECT_TRUE((*result)->lines.empty());
}

TEST(Resume, ADynamicLossScaleGoesOnOnlyWhereItStays) {
  Contract half = small_contract();
  half.train.loss_scale = {true, 65536, 1000, 2, 1};
  auto scale_after = [&](DType from, DType to, LossScale target) {
    RunFolder folder;
    HandPlan writer(half, {1, 0, from});
    writer.scribble(1);
    StateBlock block;
    block.attempts = 5, block.hysteresis = 2, block.clean = 77, block.loss_scale = 512, block.next_loss_scale = 256;
    writer.state().set_block(block);
    EXPECT_TRUE(write_checkpoint(folder.run(), folder.identity(writer), writer.state(), 40));
    Contract contract = half;
    contract.train.loss_scale = target;
    HandPlan reader(contract, {1, 0, to});
    EXPECT_TRUE(folder.read(reader));
    return reader.state().block();
  };
  StateBlock same = scale_after(DType::f16, DType::f16, {true, 65536, 500, 1, 1});
  EXPECT_EQ(same.next_loss_scale, 256);
  EXPECT_EQ(same.clean, 77);
  EXPECT_EQ(same.hysteresis, 1);  // the file's is smaller now
  StateBlock fixed = scale_after(DType::f16, DType::f16, {false, 1024, 1000, 2, 1});
  EXPECT_EQ(fixed.next_loss_scale, 1024);
  EXPECT_EQ(fixed.clean, 0);
  StateBlock none = scale_after(DType::f16, DType::f32, {false, 1, 1000, 2, 1});
  EXPECT_EQ(none.loss_scale, 1);
  EXPECT_EQ(none.attempts, 5);
}

TEST(Resume, MomentumMayBeginAndEnd) {
  RunFolder folder;
  Contract with = small_contract(), without = small_contract();
  with.train.optimizer.kind = without.train.optimizer.kind = OptimizerKind::sgd;
  with.train.optimizer.momentum = 0.9;
  HandPlan plain(without, {2, 1, DType::f32}), heavy(with, {1, 0, DType::f32});
  ASSERT_TRUE(folder.write(plain, 3));
  heavy.scribble(99);
  ASSERT_TRUE(folder.read(heavy));
  std::vector<float> expected = plain.everything();
  expected.resize(2 * 77, 0.0f);
  EXPECT_EQ(heavy.everything(), expected);
  ASSERT_TRUE(folder.write(heavy, 4));
  ASSERT_TRUE(folder.read(plain));
  std::vector<float> all = heavy.everything();
  EXPECT_EQ(plain.everything(), std::vector<float>(all.begin(), all.begin() + 77));
}

TEST(ModelHash, IgnoresBatchRoundingsAndNames) {
  Contract a = small_contract(), b = small_contract();
  b.model.axes[0].size = 64;
  b.model.ops[3].name = "another";
  b.model.parameters[0].init_value = 1;
  EXPECT_EQ(model_hash(a), model_hash(b));
  b.model.ops.erase(b.model.ops.begin() + 1);  // fp32 may state no rounding at all
  b.model.ops[2].operands = {OpId(0), OpId(1)};
  b.model.loss = OpId(2);
  EXPECT_EQ(model_hash(a), model_hash(b));
  b.model.axes[1].size = 5;
  EXPECT_NE(model_hash(a), model_hash(b));
  EXPECT_EQ(model_hash(a).size(), 64u);
}

}  // namespace
}  // namespace dsc
