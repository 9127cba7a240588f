// The same run against PyTorch: dsc's losses and gradient norms beside fixtures.json, which make_fixtures.py made with
// the transformers library's own GPT-2 and Llama from the same initial weights on the same windows.
#include <gtest/gtest.h>

#include "tests/support/run_dsc.h"

namespace {

using namespace dsc_test;
using nlohmann::json;

const std::filesystem::path kHere = std::filesystem::path(DSC_SOURCE_DIR) / "tests/parity";

std::vector<json> train(const std::string& model, const std::string& precision, const std::string& options) {
  ScratchFolder folder;
  std::string text = read_file(kHere / (model + ".dsm"));
  text.replace(text.find("precision = fp32"), 16, "precision = " + precision);
  write_file(folder.path() / "m.dsm", text);
  Finished trained = run_dsc("train m.dsm --device cpu --out run " + options, folder.path());
  EXPECT_EQ(trained.status, 0) << trained.output;
  return trained.status == 0 ? step_metrics(folder.path() / "run") : std::vector<json>{};
}

class Parity : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(Parity, Fp32MatchesPyTorch) {
  auto [model, options] = GetParam();
  json expected = json::parse(read_file(kHere / "fixtures.json"))[model]["fp32"];
  std::vector<json> steps = train(model, "fp32", options);
  ASSERT_EQ(steps.size(), 20u);
  EXPECT_GT(steps.front()["loss"].get<double>() - steps.back()["loss"].get<double>(), 0.5);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_NEAR(steps[i]["loss"].get<double>() / expected["loss"][i].get<double>(), 1, 1e-4) << "loss of step " << i + 1;
    EXPECT_NEAR(steps[i]["grad_norm"].get<double>() / expected["grad_norm"][i].get<double>(), 1, 1e-3) << "norm of step " << i + 1;
  }
}

TEST_P(Parity, Bf16MatchesAutocast) {
  auto [model, options] = GetParam();
  json expected = json::parse(read_file(kHere / "fixtures.json"))[model]["bf16"];
  std::vector<json> steps = train(model, "bf16", options);
  ASSERT_EQ(steps.size(), 20u);
  for (std::size_t i = 0; i < steps.size(); ++i)
    EXPECT_NEAR(steps[i]["loss"].get<double>(), expected["loss"][i].get<double>(), 2e-2) << "loss of step " << i + 1;
}

INSTANTIATE_TEST_SUITE_P(All, Parity,
                         testing::Combine(testing::Values("gpt2", "llama"),
                                          testing::Values("--layout single", "--layout zero3 --gpus 8")),
                         [](const auto& info) { return std::get<0>(info.param) + (std::get<1>(info.param).find("zero3") == std::string::npos ? "_single" : "_zero3"); });

// A text that a tiny model learns by heart: the likeliest continuation is the text itself, past the context's length too.
TEST(Sample, ContinuesWhatWasLearnt) {
  ScratchFolder folder;
  const std::string line = "the cat sat on my mat. ";  // 23 letters: windows of 32 begin at every one of them
  std::string text;
  while (text.size() < 4000) text += line;
  write_file(folder.path() / "text.txt", text);
  write_file(folder.path() / "m.dsm",
             "use std.gpt2\ndata { train = text(\"text.txt\", tokenizer: bytes) sequence = 32 order = shuffled }\n"
             "train { model = gpt2(vocab: 256, context: 32, layers: 2, width: 32, heads: 2) steps = 150 batch = 8\n"
             "  optimizer = adamw(lr: constant(5e-3)) clip_norm = 1.0 seed = 2 }\n"
             "layout one { }\nlayout two { mesh (data: 2) split batch over data zero 3 over data }\n");
  for (const char* layout : {"one", "two"}) {
    Finished trained = run_dsc(std::string("train m.dsm --device cpu --layout ") + layout + " --out " + layout, folder.path());
    ASSERT_EQ(trained.status, 0) << trained.output;
    EXPECT_LT(step_metrics(folder.path() / layout).back()["loss"].get<double>(), 0.1);
    Finished sampled = run_dsc(std::string("sample ") + layout + " --prompt 'the cat sat' --tokens 77 --temperature 0", folder.path());
    EXPECT_EQ(sampled.output, (line + line + line + line).substr(0, 88) + "\n");
  }
}

}  // namespace
