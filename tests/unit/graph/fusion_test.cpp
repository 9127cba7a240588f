// How much is fused: a block of GPT-2 or Llama has as many steps as written here and no more, however many there are.
#include <gtest/gtest.h>

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

// GELU's result and the norms' in front of weights are read by the forward pass alone; products of the backward pass read them
// computed again by a step that exists anyway.
TEST(Recompute, CheapValuesAreNotKept) {
  for (const Model& model : {tiny_gpt2(2), tiny_llama(2)}) {
    const Graph graph = build_graph(model, DType::bf16, Purpose::train);
    std::size_t again = 0;
    for (std::size_t s = graph.forward_steps; s < graph.steps.size(); ++s) {
      const Step& step = graph.steps[s];
      std::size_t own = 0;
      for (TensorId t : step.outputs) (graph.tensors[t.index()].role == TensorRole::value ? again : own) += 1;
      EXPECT_GT(own, 0u) << step.name << " computes nothing but what the forward pass had";
      if (!step.weight_gradient) continue;
      const Operand& activation = step.inputs[0];
      const Tensor& read = graph.tensors[activation.tensor.index()];
      EXPECT_FALSE(read.name.ends_with(".mlp") || read.name.ends_with("norm1") || read.name.ends_with("norm2")) << step.name << " keeps " << read.name;
    }
    EXPECT_EQ(again, 2u * 3);  // of each block: two norms and the MLP's activation
  }
}

// Every layer is fused like the first: nothing grows faster than the layers (tests/bench/compile_time.sh has the time).
TEST(Fusion, StepsAndTensorsGrowWithTheLayers) {
  const auto graph_of = [](int layers) { return build_graph(tiny_gpt2(layers, 8, 1024, 1600, 50257), DType::bf16, Purpose::train); };
  const Graph two = graph_of(2), three = graph_of(3), many = graph_of(48);
  EXPECT_EQ(many.steps.size(), two.steps.size() + 46 * (three.steps.size() - two.steps.size()));
  EXPECT_EQ(many.tensors.size(), two.tensors.size() + 46 * (three.tensors.size() - two.tensors.size()));
}

}  // namespace
}  // namespace dsc::testing
