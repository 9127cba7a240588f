// The gradients of a model that stdlib does not have, from its file: the compiler's graph, executed in double, against
// finite differences of the model's own operations.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <sstream>

#include "compiler/graph/graph.h"
#include "compiler/sema/check.h"
#include "tests/support/graph_interpreter.h"

namespace dsc::testing {
namespace {

std::string read(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

Model own_model() {
  std::string text = read(std::string(DSC_SOURCE_DIR) + "/tests/layouts/own_model.dsm") +
      "data { train = text(\"x.txt\", tokenizer: bytes) sequence = 14 }\n"
      "train { model = mixer(vocab: 13, context: 16, layers: 2, width: 8, heads: 2) steps = 1 batch = 2\n"
      "  optimizer = sgd(lr: constant(0.1)) seed = 1 }\n";
  SourceMap sources;
  Diagnostics diagnostics;
  std::uint32_t file = sources.add({"own.dsm", text});
  std::optional<CheckedProgram> program = check(file, sources, {}, diagnostics);
  EXPECT_TRUE(program.has_value()) << render(diagnostics, sources);
  return program ? program->model : Model{};
}

TEST(OwnModel, GradientsMatchFiniteDifferences) {
  Model model = own_model();
  ASSERT_FALSE(model.ops.empty());
  ModelInputs inputs = random_inputs(model, 11);
  Graph graph = build_graph(model, DType::f32, Purpose::train);
  ASSERT_EQ(verify_graph(graph, model), "");
  std::vector<Array> tensors = run_graph(graph, model, inputs, DType::f32);
  std::mt19937 random(5);
  int checked = 0;
  for (std::size_t p = 0; p < model.parameters.size(); ++p) {
    Array gradient = parameter_gradient(graph, tensors, model, ParameterId(p));
    double largest = 0;
    for (double g : gradient.data) largest = std::max(largest, std::fabs(g));
    EXPECT_GT(largest, 0) << model.parameters[p].path;
    for (int trial = 0; trial < 8; ++trial, ++checked) {
      std::size_t i = random() % gradient.data.size();
      double& x = inputs.parameters[p].data[i];
      const double at = x, h = 1e-5;
      auto loss = [&](double value) {
        x = value;
        return evaluate(model, inputs, DType::f64).loss(model);
      };
      double slope = (8 * (loss(at + h) - loss(at - h)) - (loss(at + 2 * h) - loss(at - 2 * h))) / (12 * h);
      x = at;
      EXPECT_NEAR(gradient.data[i], slope, 1e-6 * std::max(largest, 1e-3)) << model.parameters[p].path << " element " << i;
    }
  }
  EXPECT_GE(checked, 100);
}

}  // namespace
}  // namespace dsc::testing
