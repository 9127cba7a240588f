// One function a step kind, and what they share: operands brought into the order that a kernel reads. Internal to
// partition.
#pragma once

#include "compiler/partition/flatten.h"

namespace dsc::local {

class Flattener {
 public:
  Flattener(const Graph& graph_in, const Model& model_in, const Sizes& sizes_in, const Target& target_in)
      : graph(graph_in), model(model_in), sizes(sizes_in), target(target_in) {}
  const Graph& graph;
  const Model& model;
  const Sizes& sizes;
  const Target& target;
  FlatGraph result;

  void run(std::size_t index);

  const Tensor& tensor(TensorId id) const;
  View view(const Operand& operand) const { return view_of(operand, tensor(operand.tensor), sizes); }
  // A copy of the operand, stored in this order.
  Operand arranged(const Operand& operand, const std::vector<AxisId>& axes);
  // The operand itself where it is one run of memory in this order, else a copy.
  Operand contiguous_operand(const Operand& operand, const std::vector<AxisId>& axes);
  void use_contiguous(FlatStep& step, const Operand& operand, const std::vector<AxisId>& axes);
  // The output itself where it is stored in this order, else a temporary that a copy follows.
  void write_contiguous(FlatStep& step, TensorId output, const std::vector<AxisId>& axes);
  View output_view(TensorId output, const std::vector<AxisId>& axes) const;

  static MapInput map_input(const LoopOperand& operand, const std::vector<LoopDim>& dims, DType type);
  static std::vector<bool> pinned_dims(const MapProgram& program, std::size_t dims);
  // Constants per row get their value, positions the numbers of the dims that are left.
  void localise(MapProgram& program, const std::vector<LoopDim>& dims) const;

 private:
  struct After {
    TensorId from, to;
    std::vector<AxisId> axes;
  };
  FlatStep begin(const std::string& name) const;
  TensorId add_tensor(TensorId like, const std::vector<AxisId>& axes, const char* suffix);
  void add_copy(TensorId from, const View& view, TensorId to, const std::vector<AxisId>& axes);

  const Step* current_ = nullptr;
  bool backward_ = false;
  int segment_ = 0;
  std::vector<After> after_;
};

void flatten_map(Flattener& in, const Step& step, FlatStep& out);
void flatten_product(Flattener& in, const Step& step, FlatStep& out);
void flatten_attend(Flattener& in, const Step& step, FlatStep& out, bool backward);
void flatten_lookup(Flattener& in, const Step& step, FlatStep& out);
void flatten_lookup_backward(Flattener& in, const Step& step, FlatStep& out);
void flatten_cross_entropy(Flattener& in, const Step& step, FlatStep& out);
void flatten_classifier(Flattener& in, const Step& step, FlatStep& out);
void flatten_rotate(Flattener& in, const Step& step, FlatStep& out);

}  // namespace dsc::local
