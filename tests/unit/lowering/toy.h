// A small residual network as model and graph, written down by hand: what the lowering is tried on without the parser. It
// has what matters to a layout: a tied table (two segments), vectors, matrices, values that live until the backward pass.
#pragma once

#include <cstdint>

#include "compiler/graph/graph.h"
#include "compiler/partition/partition.h"
#include "compiler/support/layout.h"
#include "compiler/support/model.h"
#include "compiler/support/training.h"

namespace dsc::toy {

struct Shape {
  std::int64_t layers = 3, batch = 16, seq = 8, vocab = 50, width = 12, hidden = 20;
};

struct Toy {
  Model model;
  Graph step, evaluate;
  TrainSpec train;
};
Toy make(const Shape& shape, DType activation = DType::f32);

// `ranks` data ranks, M = batch / (ranks * micro_batch), generous limits.
LayoutSpec layout(std::int64_t ranks, int zero_stage, std::int64_t micro_batch);

local::Partitioned partitioned(const Toy& toy, const LayoutSpec& layout);

// Axes, parameters and tensors of the toy by hand, for other small graphs.
MapProgram copy_program(int inputs = 1);

}  // namespace dsc::toy
