// How much is fused: a block of GPT-2 or Llama has as many steps as written here and no more, and large models build fast.
#include <gtest/gtest.h>

#include <ctime>

#include "compiler/graph/graph.h"
#include "tests/support/model_builder.h"

namespace dsc::testing {
namespace {

std::size_t steps(const Model& model, Purpose purpose) { return build_graph(model, DType::bf16, purpose).steps.size(); }

TEST(Fusion, StepsOfAGpt2Block) {
  // Forward: norm, q, k, v, attend, o with residual, norm, fc with gelu, proj with residual.
  EXPECT_EQ(steps(tiny_gpt2(3), Purpose::evaluate) - steps(tiny_gpt2(2), Purpose::evaluate), 9u);
}

TEST(Fusion, ClassifierStoresNoLogits) {
  Model model = tiny_gpt2(1);
  AxisId vocab(2);
  for (Purpose purpose : {Purpose::train, Purpose::evaluate}) {
    Graph graph = build_graph(model, DType::bf16, purpose);
    std::size_t classifiers = 0;
    for (const Step& step : graph.steps) {
      classifiers += step.kind == StepKind::classifier;
      for (TensorId t : step.outputs) {
        const auto& axes = graph.tensors[t.index()].axes;
        EXPECT_FALSE(axes.size() == 3 && axes[2] == vocab);
      }
    }
    EXPECT_EQ(classifiers, 1u);
  }
}

TEST(Fusion, LargeModelsBuildFast) {
  Model model = tiny_gpt2(48, 8, 1024, 1600, 50257);
  const std::clock_t begin = std::clock();
  Graph graph = build_graph(model, DType::bf16, Purpose::train);
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  // About 0.03 s; the rest is room for builds with checks.
  EXPECT_LT(seconds, 1.0);
  EXPECT_GT(graph.steps.size(), 1000u);
}

}  // namespace
}  // namespace dsc::testing
