// Printed graphs of small models. DSC_UPDATE_GOLDENS=1 writes them anew.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "compiler/graph/graph.h"
#include "tests/support/model_builder.h"

namespace dsc::testing {
namespace {

void compare(const std::string& name, const Model& model, DType type, Purpose purpose) {
  const std::string path = std::string(DSC_SOURCE_DIR) + "/tests/golden/graph/" + name + ".txt";
  const std::string text = print(build_graph(model, type, purpose), model);
  if (std::getenv("DSC_UPDATE_GOLDENS")) {
    std::ofstream(path) << text;
    return;
  }
  std::ifstream file(path);
  std::stringstream expected;
  expected << file.rdbuf();
  EXPECT_EQ(text, expected.str()) << path;
}

TEST(Golden, Gpt2Train) { compare("gpt2_train", tiny_gpt2(1), DType::bf16, Purpose::train); }
TEST(Golden, Gpt2Evaluate) { compare("gpt2_evaluate", tiny_gpt2(1), DType::f32, Purpose::evaluate); }
TEST(Golden, LlamaTrain) { compare("llama_train", tiny_llama(1), DType::bf16, Purpose::train); }
TEST(Golden, LlamaSample) { compare("llama_sample", tiny_llama(1), DType::bf16, Purpose::sample); }
TEST(Golden, MixerTrain) { compare("mixer_train", tiny_mixer(1), DType::bf16, Purpose::train); }

TEST(Golden, TheSameModelGivesTheSameGraph) {
  Model model = tiny_mixer(2);
  EXPECT_EQ(print(build_graph(model, DType::bf16, Purpose::train), model), print(build_graph(model, DType::bf16, Purpose::train), model));
}

}  // namespace
}  // namespace dsc::testing
