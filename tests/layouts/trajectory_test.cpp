// What moves from step to step: the loss scale, the learning rate, epochs that wrap around inside a batch, the validation
// share; exact values, the same at every ZeRO stage, and after a resume at every step into any other stage.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/run_dsc.h"

namespace {

using namespace dsc_test;
using nlohmann::json;

constexpr int kSteps = 9;
constexpr int kWindows = 18, kValidation = 4;  // of 32 bytes each; split(0.2) takes ceil(3.6) = 4

std::string program_text(const std::string& precision) {
  std::string text =
      "use std.gpt2\ndata {\n  train = text(\"text.txt\", tokenizer: bytes)\n  validation = split(0.2)\n  sequence = 32\n  order = shuffled\n}\n"
      "train {\n  model = gpt2(vocab: 256, context: 32, layers: 1, width: 16, heads: 2)\n  steps = " + std::to_string(kSteps) +
      "\n  batch = 8\n  optimizer = adamw(lr: linear(peak: 0.01, warmup: 2, floor: 0.001))\n  precision = " + precision +
      "\n  clip_norm = 1.0\n  seed = 3\n  checkpoint every 1 to \"unused\" keep 2\n  evaluate every 3 batches 2\n}\n";
  for (int stage : {0, 1, 2, 3})
    text += "layout z" + std::to_string(stage) + " {\n  mesh (data: 2)\n  split batch over data\n  micro_batch 2\n  zero " + std::to_string(stage) + " over data\n}\n";
  return text;
}

void write_program(const ScratchFolder& folder, const std::string& precision) {
  std::string licence = read_file("/usr/share/common-licenses/GPL-3");
  write_file(folder.path() / "text.txt", licence.substr(0, kWindows * 32 + 5));
  write_file(folder.path() / "m.dsm", program_text(precision));
}

// metrics.jsonl without what a clock wrote.
std::vector<json> figures(const ScratchFolder& folder, const std::string& out) {
  std::vector<json> lines;
  std::istringstream text(read_file(folder.path() / out / "metrics.jsonl"));
  for (std::string line; std::getline(text, line);) {
    json entry = json::parse(line);
    entry.erase("step_seconds");
    entry.erase("tokens_per_second");
    lines.push_back(std::move(entry));
  }
  return lines;
}

std::vector<json> run(const ScratchFolder& folder, int stage, const std::string& out, const std::string& options = "") {
  Finished trained = run_dsc("train m.dsm --device cpu --layout z" + std::to_string(stage) + " --out " + out + " " + options, folder.path());
  EXPECT_EQ(trained.status, 0) << trained.output;
  return figures(folder, out);
}

std::vector<json> steps_of(const std::vector<json>& lines) {
  std::vector<json> steps;
  for (const json& line : lines)
    if (line.contains("loss")) steps.push_back(line);
  return steps;
}

// The rate after `applied` updates: linear from 0.01 to 0.001 over 9 steps with 2 of warm-up.
double rate(std::int64_t applied) {
  if (applied < 2) return 0.01 * static_cast<double>(applied + 1) / 2;
  double x = std::min(1.0, static_cast<double>(applied - 2) / (kSteps - 1 - 2));
  return 0.01 + (0.001 - 0.01) * x;
}

// Whatever the scaler did, the rate follows the updates that were applied, and the counts follow the attempts.
void expect_bookkeeping(const std::vector<json>& lines) {
  std::vector<json> steps = steps_of(lines);
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(kSteps));
  std::int64_t applied = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i]["step"], i + 1);
    EXPECT_EQ(steps[i]["tokens"], (i + 1) * 8 * 32);
    EXPECT_DOUBLE_EQ(steps[i]["lr"].get<double>(), rate(applied)) << "step " << i + 1;
    if (!steps[i]["skipped"].get<bool>()) ++applied;
  }
  int evaluations = 0;
  for (const json& line : lines) {
    if (!line.contains("val_loss")) continue;
    ++evaluations;
    EXPECT_EQ(line["val_tokens"], kValidation * 32);
    EXPECT_EQ(line["step"].get<int>() % 3, 0);
  }
  EXPECT_EQ(evaluations, 3);
}

class Trajectories : public testing::TestWithParam<std::pair<std::string, std::string>> {};

TEST_P(Trajectories, AreTheSameAtEveryStageAndAfterEveryResume) {
  ScratchFolder folder;
  write_program(folder, GetParam().second);
  std::vector<json> reference = run(folder, 0, "z0");
  if (HasFailure()) return;
  expect_bookkeeping(reference);
  for (int stage : {1, 2, 3}) EXPECT_EQ(run(folder, stage, "z" + std::to_string(stage)), reference) << "zero " << stage;
  for (int stop = 1; stop < kSteps; ++stop) {
    std::string out = "stop" + std::to_string(stop);
    run(folder, stop % 4, out, "--steps " + std::to_string(stop));
    EXPECT_EQ(run(folder, (stop + 3) % 4, out, "--resume"), reference) << "resumed after step " << stop;
  }
}

INSTANTIATE_TEST_SUITE_P(All, Trajectories,
                         testing::Values(std::pair{"fp32", "fp32"}, std::pair{"bf16", "bf16"}, std::pair{"fp16_static", "fp16(loss_scale: 128)"},
                                         std::pair{"fp16_no_overflow", "fp16(loss_scale: dynamic(init: 2^8, window: 3, hysteresis: 2, min: 1))"},
                                         std::pair{"fp16_some_overflow", "fp16(loss_scale: dynamic(init: 2^24, window: 2, hysteresis: 1, min: 1))"},
                                         std::pair{"fp16_hysteresis", "fp16(loss_scale: dynamic(init: 2^24, window: 100, hysteresis: 3, min: 1))"},
                                         std::pair{"fp16_all_overflow", "fp16(loss_scale: 2^40)"}),
                         [](const auto& info) { return info.param.first; });

TEST(Scaler, DoublesAfterEachCleanWindow) {
  ScratchFolder folder;
  write_program(folder, "fp16(loss_scale: dynamic(init: 2^8, window: 3, hysteresis: 2, min: 1))");
  std::vector<json> steps = steps_of(run(folder, 3, "a"));
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(kSteps));
  for (int i = 0; i < kSteps; ++i) {
    EXPECT_EQ(steps[i]["loss_scale"].get<double>(), std::ldexp(256.0, i / 3)) << "step " << i + 1;
    EXPECT_FALSE(steps[i]["skipped"].get<bool>());
  }
}

TEST(Scaler, HalvesAtEachOverflowAndGoesOnFromThere) {
  ScratchFolder folder;
  write_program(folder, "fp16(loss_scale: dynamic(init: 2^24, window: 100, hysteresis: 1, min: 1))");
  std::vector<json> steps = steps_of(run(folder, 2, "a"));
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(kSteps));
  EXPECT_TRUE(steps.front()["skipped"].get<bool>());
  EXPECT_FALSE(steps.back()["skipped"].get<bool>());
  double scale = std::ldexp(1.0, 24);
  for (const json& step : steps) {
    EXPECT_EQ(step["loss_scale"].get<double>(), scale);
    if (step["skipped"].get<bool>()) scale /= 2;
  }
}

TEST(Scaler, HysteresisToleratesTheFirstOverflows) {
  ScratchFolder folder;
  write_program(folder, "fp16(loss_scale: dynamic(init: 2^24, window: 100, hysteresis: 3, min: 1))");
  std::vector<json> steps = steps_of(run(folder, 1, "a"));
  ASSERT_EQ(steps.size(), static_cast<std::size_t>(kSteps));
  double scale = std::ldexp(1.0, 24);
  int tolerated = 2;
  for (const json& step : steps) {
    EXPECT_EQ(step["loss_scale"].get<double>(), scale);
    if (!step["skipped"].get<bool>()) continue;
    if (tolerated > 0) --tolerated;
    else scale /= 2;
  }
  EXPECT_EQ(tolerated, 0);
}

TEST(Scaler, AStaticScaleSkipsAndNeverMoves) {
  ScratchFolder folder;
  write_program(folder, "fp16(loss_scale: 2^40)");
  for (const json& step : steps_of(run(folder, 3, "a"))) {
    EXPECT_TRUE(step["skipped"].get<bool>());
    EXPECT_EQ(step["loss_scale"].get<double>(), std::ldexp(1.0, 40));
    EXPECT_EQ(step["lr"].get<double>(), rate(0));
  }
}

TEST(Scaler, AtItsMinimumAnOverflowIsAnError) {
  ScratchFolder folder;
  write_program(folder, "fp16(loss_scale: dynamic(init: 2^24, window: 100, hysteresis: 1, min: 2^23))");
  for (int stage : {0, 1, 2, 3}) {
    Finished trained = run_dsc("train m.dsm --device cpu --layout z" + std::to_string(stage) + " --out z" + std::to_string(stage), folder.path());
    EXPECT_EQ(trained.status, 1);
    EXPECT_NE(trained.output.find("error[DSM0954]: step 2: gradients overflow"), std::string::npos) << trained.output;
  }
}

}  // namespace
