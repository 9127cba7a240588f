#include "compiler/partition/flatten.h"

#include <algorithm>

#include "compiler/partition/flatten_steps.h"
#include "compiler/support/check.h"

namespace dsc::local {
namespace {

MapProgram copy_program() {
  MapProgram program;
  program.registers = 1;
  program.code.push_back({.op = MapOpcode::load, .result = 0, .slot = 0});
  program.code.push_back({.op = MapOpcode::store, .a = 0, .slot = 0});
  return program;
}

}  // namespace

MapSpec accumulate_map(std::int64_t elements) {
  MapSpec spec;
  spec.inner = {elements};
  spec.inputs.push_back({DType::f32, {1}, 0, {}});
  spec.outputs.push_back({DType::f32, {1}, 0, true});
  spec.program = copy_program();
  return spec;
}

MapSpec zero_map(std::int64_t elements) {
  MapSpec spec;
  spec.inner = {elements};
  spec.outputs.push_back({DType::f32, {1}, 0, false});
  spec.program = copy_program();
  spec.program.code[0] = {.op = MapOpcode::constant, .result = 0};
  return spec;
}

const Tensor& Flattener::tensor(TensorId id) const { return result.tensors[id.index()]; }

TensorId Flattener::add_tensor(TensorId like, const std::vector<AxisId>& axes, const char* suffix) {
  Tensor copy = tensor(like);
  copy.name += suffix;
  copy.axes = axes;
  if (copy.role == TensorRole::parameter) copy.role = TensorRole::contribution;
  if (copy.role == TensorRole::parameter_gradient) copy.role = TensorRole::contribution;
  copy.parameter.reset();
  result.tensors.push_back(copy);
  return TensorId(result.tensors.size() - 1);
}

void Flattener::add_copy(TensorId from, const View& view, TensorId to, const std::vector<AxisId>& axes) {
  FlatStep copy = begin("copy of " + tensor(from).name);
  Loop loop;
  for (AxisId axis : axes) loop.dims.push_back({sizes(axis), 0, false, -1});
  loop.operands.push_back(loop_operand(view, axes, sizes));
  loop.operands.push_back(loop_operand(view_of(tensor(to), sizes), axes, sizes));
  collapse(loop);
  MapSpec spec;
  spec.program = copy_program();
  const std::size_t dims = loop.dims.size();
  for (std::size_t i = 0; i + 1 < dims; ++i) spec.outer.push_back(loop.dims[i].size), spec.reduced.push_back(false);
  if (dims > 0) spec.inner.push_back(loop.dims.back().size);
  spec.inputs.push_back(map_input(loop.operands[0], loop.dims, tensor(from).type));
  spec.outputs.push_back({tensor(to).type, loop.operands[1].strides, 0, false});
  copy.spec = std::move(spec);
  copy.inputs.push_back({from, 0});
  copy.outputs.push_back(to);
  result.steps.push_back(std::move(copy));
}

Operand Flattener::arranged(const Operand& operand, const std::vector<AxisId>& axes) {
  const View view = view_of(operand, tensor(operand.tensor), sizes);
  const TensorId copy = add_tensor(operand.tensor, axes, " copy");
  add_copy(operand.tensor, view, copy, axes);
  return {copy, {}};
}

Operand Flattener::contiguous_operand(const Operand& operand, const std::vector<AxisId>& axes) {
  const View view = view_of(operand, tensor(operand.tensor), sizes);
  return contiguous(view, axes, sizes) ? operand : arranged(operand, axes);
}

void Flattener::use_contiguous(FlatStep& step, const Operand& operand, const std::vector<AxisId>& axes) {
  const Operand usable = contiguous_operand(operand, axes);
  step.inputs.push_back({usable.tensor, view_of(usable, tensor(usable.tensor), sizes).offset});
}

void Flattener::write_contiguous(FlatStep& step, TensorId output, const std::vector<AxisId>& axes) {
  const View stored = output_view(output, axes);
  if (contiguous(stored, axes, sizes)) {
    step.outputs.push_back(output);
    return;
  }
  const TensorId temporary = add_tensor(output, axes, " as computed");
  step.outputs.push_back(temporary);
  after_.push_back({temporary, output, axes});
}

View Flattener::output_view(TensorId output, const std::vector<AxisId>& axes) const {
  const Tensor& stored = tensor(output);
  const bool by_name = std::all_of(stored.axes.begin(), stored.axes.end(), [&](AxisId axis) {
    return std::find(axes.begin(), axes.end(), axis) != axes.end();
  });
  if (by_name) return view_of(stored, sizes);
  // The same elements in the same order under other names (a parameter read through a rename, merge or unmerge).
  DSC_CHECK(sizes.count(stored.axes) == sizes.count(axes), "an output has other axes than its step: " + stored.name);
  Tensor renamed = stored;
  renamed.axes = axes;
  return view_of(renamed, sizes);
}

MapInput Flattener::map_input(const LoopOperand& operand, const std::vector<LoopDim>& dims, DType type) {
  MapInput input{type, operand.strides, operand.offset, {}};
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (operand.windows[i].lo != 0 || operand.windows[i].hi != dims[i].size) input.windows = operand.windows;
  }
  return input;
}

std::vector<bool> Flattener::pinned_dims(const MapProgram& program, std::size_t dims) {
  std::vector<bool> pinned(dims, false);
  for (const MapInstruction& code : program.code) {
    if (code.op == MapOpcode::position) pinned[static_cast<std::size_t>(code.slot)] = true;
  }
  return pinned;
}

void Flattener::localise(MapProgram& program, const std::vector<LoopDim>& dims) const {
  for (MapInstruction& code : program.code) {
    if (code.op == MapOpcode::constant && code.per_row) {
      code.number /= static_cast<double>(sizes(model.batch));
      code.per_row = false;
    }
    if (code.op != MapOpcode::position) continue;
    const auto at = std::find_if(dims.begin(), dims.end(), [&](const LoopDim& dim) { return dim.original == code.slot; });
    DSC_CHECK(at != dims.end(), "a program reads the index of a dim that is gone");
    code.slot = static_cast<int>(at - dims.begin());
  }
}

FlatStep Flattener::begin(const std::string& name) const {
  FlatStep flat;
  flat.name = name;
  flat.source = current_->source;
  flat.backward = backward_;
  flat.segment = segment_;
  return flat;
}

void Flattener::run(std::size_t index) {
  const Step& step = graph.steps[index];
  current_ = &step;
  backward_ = index >= graph.forward_steps;
  segment_ = step.performs.empty() ? segment_ : model.op(step.performs.front().op).segment;
  after_.clear();
  FlatStep flat = begin(step.name);
  flat.performs = step.performs;
  switch (step.kind) {
    case StepKind::map: flatten_map(*this, step, flat); break;
    case StepKind::product: flatten_product(*this, step, flat); break;
    case StepKind::attend_forward: flatten_attend(*this, step, flat, false); break;
    case StepKind::attend_backward: flatten_attend(*this, step, flat, true); break;
    case StepKind::lookup: flatten_lookup(*this, step, flat); break;
    case StepKind::lookup_backward: flatten_lookup_backward(*this, step, flat); break;
    case StepKind::cross_entropy: flatten_cross_entropy(*this, step, flat); break;
    case StepKind::classifier: flatten_classifier(*this, step, flat); break;
    case StepKind::rotate: flatten_rotate(*this, step, flat); break;
  }
  result.steps.push_back(std::move(flat));
  for (const After& copy : after_) add_copy(copy.from, view_of(tensor(copy.from), sizes), copy.to, copy.axes);
}

FlatGraph flatten(const Graph& graph, const Model& model, const Sizes& sizes, const Target& target) {
  Flattener flattener{graph, model, sizes, target};
  flattener.result.tensors = graph.tensors;
  for (std::size_t i = 0; i < graph.steps.size(); ++i) flattener.run(i);
  return std::move(flattener.result);
}

}  // namespace dsc::local
