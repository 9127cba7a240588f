// A graph's fused steps to kernel specs of one rank and one micro-batch: axes become sizes and strides, dims collapse
// where every operand allows it. Where a kernel cannot read or write a tensor in its stored order, a copy is put in.
// Still logical: operands are tensors, not buffers.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/graph/graph.h"
#include "compiler/partition/views.h"
#include "compiler/support/kernel_spec.h"
#include "compiler/support/target.h"

namespace dsc::local {

struct FlatOperand {
  TensorId tensor{0};
  std::int64_t offset = 0;  // elements, where the spec has no field for it
};

struct FlatStep {
  KernelSpec spec;
  std::vector<FlatOperand> inputs;
  std::vector<TensorId> outputs;
  std::vector<Performed> performs;
  std::string name;
  SourceRange source;
  int segment = 0;
  bool backward = false;
};

struct FlatGraph {
  std::vector<Tensor> tensors;  // the graph's, then those of inserted copies
  std::vector<FlatStep> steps;
};

FlatGraph flatten(const Graph& graph, const Model& model, const Sizes& sizes, const Target& target);

// fl(out + in) over n elements of f32; and zeros over n elements.
MapSpec accumulate_map(std::int64_t elements);
MapSpec zero_map(std::int64_t elements);

}  // namespace dsc::local
