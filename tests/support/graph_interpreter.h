// Executes a Graph step by step in double: what its steps mean, for tests alone. The whole batch is one micro-batch.
#pragma once

#include <vector>

#include "compiler/graph/graph.h"
#include "tests/support/model_interpreter.h"

namespace dsc::testing {

// By TensorId. Stores round to the tensor's type where that has 16 bits.
std::vector<Array> run_graph(const Graph& graph, const Model& model, const ModelInputs& inputs, DType activation);

// The gradient of a parameter over all segments, in double.
Array parameter_gradient(const Graph& graph, const std::vector<Array>& tensors, const Model& model, ParameterId parameter);

}  // namespace dsc::testing
