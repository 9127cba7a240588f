#include "tests/unit/lowering/toy.h"

#include <string>

#include "compiler/support/target.h"

namespace dsc::toy {

// Adds its inputs and stores the sum.
MapProgram copy_program(int inputs) {
  MapProgram program;
  for (int i = 0; i < inputs; ++i) program.code.push_back({.op = MapOpcode::load, .result = i, .slot = i});
  int sum = 0;
  program.registers = inputs;
  for (int i = 1; i < inputs; ++i) {
    program.code.push_back({.op = MapOpcode::add, .result = program.registers, .a = sum, .b = i});
    sum = program.registers++;
  }
  program.code.push_back({.op = MapOpcode::store, .a = sum, .slot = 0});
  return program;
}

namespace {

constexpr AxisId batch{0}, seq{1}, vocab{2}, width{3}, hidden{4};

class Maker {
 public:
  Maker(Toy& toy, Graph& graph, const Shape& shape, DType activation, bool train)
      : toy_(toy), graph_(graph), shape_(shape), activation_(activation), train_(train) {}

  void run() {
    for (std::size_t p = 0; p < toy_.model.parameters.size(); ++p) {
      const Parameter& parameter = toy_.model.parameters[p];
      const TensorId id = tensor(parameter.path, TensorRole::parameter, parameter.axes, activation_);
      graph_.tensors[id.index()].parameter = ParameterId(p);
      graph_.parameters.push_back(id);
      graph_.parameter_gradients.emplace_back();
    }
    graph_.tokens = tensor("tokens", TensorRole::tokens, {batch, seq}, DType::i32);
    graph_.targets = tensor("targets", TensorRole::targets, {batch, seq}, DType::i32);
    if (train_) graph_.seed = tensor("seed", TensorRole::seed, {}, DType::f32);
    forward();
    if (train_) backward();
  }

 private:
  TensorId tensor(const std::string& name, TensorRole role, std::vector<AxisId> axes, DType type) {
    Tensor made;
    made.name = name;
    made.role = role;
    made.axes = std::move(axes);
    made.type = type;
    graph_.tensors.push_back(made);
    return TensorId(graph_.tensors.size() - 1);
  }
  TensorId value(const std::string& name, AxisId last) { return tensor(name, TensorRole::value, {batch, seq, last}, activation_); }
  TensorId slope(const std::string& name, AxisId last) { return tensor("grad " + name, TensorRole::gradient, {batch, seq, last}, activation_); }
  TensorId parameter_slope(ParameterId id, int segment) {
    const TensorId made = tensor("grad " + toy_.model.parameter(id).path, TensorRole::parameter_gradient, toy_.model.parameter(id).axes, DType::f32);
    graph_.tensors[made.index()].parameter = id;
    graph_.tensors[made.index()].segment = segment;
    auto& list = graph_.parameter_gradients[id.index()];
    // The head's gradient comes first in time, the table's first in the model.
    list.insert(segment == 0 ? list.begin() : list.end(), made);
    return made;
  }
  Operand whole(TensorId id) const {
    Operand operand{id, {}};
    for (AxisId axis : graph_.tensors[id.index()].axes) operand.groups.push_back({{axis}, {axis}, 0});
    return operand;
  }
  TensorId parameter(std::int64_t layer, int which) const { return *graph_.parameters[static_cast<std::size_t>(1 + 3 * layer + which)]; }

  Step& step(StepKind kind, const std::string& name, std::vector<TensorId> inputs, std::vector<TensorId> outputs, int segment) {
    Step made;
    made.kind = kind;
    made.name = name;
    for (TensorId input : inputs) made.inputs.push_back(whole(input));
    made.outputs = std::move(outputs);
    made.performs.push_back({Pass::forward, OpId(static_cast<std::size_t>(segment)), 0});
    graph_.steps.push_back(std::move(made));
    return graph_.steps.back();
  }
  void product(const std::string& name, std::vector<TensorId> inputs, TensorId output, std::vector<AxisId> m, AxisId n, std::vector<AxisId> k, int segment) {
    const int extra = static_cast<int>(inputs.size()) - 2;
    Step& made = step(StepKind::product, name, std::move(inputs), {output}, segment);
    made.outer = m;
    made.inner = {n};
    made.m_axes = m;
    made.n_axes = {n};
    made.k_axes = std::move(k);
    made.program = copy_program(1 + extra);
  }

  void forward() {
    xs_.push_back(value("x0", width));
    step(StepKind::lookup, "embed", {*graph_.parameters[0], *graph_.tokens}, {xs_[0]}, 0).op = OpId(embed_op());
    for (std::int64_t i = 0; i < shape_.layers; ++i) {
      const std::string at = "block[" + std::to_string(i) + "].";
      const int segment = static_cast<int>(i) + 1;
      ns_.push_back(value(at + "n", width));
      hs_.push_back(value(at + "h", hidden));
      Step& norm = step(StepKind::map, at + "norm", {xs_.back(), parameter(i, 0)}, {ns_.back()}, segment);
      norm.outer = {batch, seq};
      norm.reduced = {false, false};
      norm.inner = {width};
      norm.program = copy_program(2);
      product(at + "up", {ns_.back(), parameter(i, 1)}, hs_.back(), {batch, seq}, hidden, {width}, segment);
      const TensorId next = value("x" + std::to_string(i + 1), width);
      product(at + "down", {hs_.back(), parameter(i, 2), xs_.back()}, next, {batch, seq}, width, {hidden}, segment);
      xs_.push_back(next);
    }
    graph_.forward_steps = graph_.steps.size();
    graph_.loss = tensor("loss", TensorRole::loss, {}, DType::f32);
    std::vector<TensorId> inputs = {xs_.back(), *graph_.parameters[0], *graph_.targets}, outputs = {graph_.loss};
    const int segment = static_cast<int>(shape_.layers) + 1;
    if (train_) {
      inputs.push_back(*graph_.seed);
      dx_ = slope("x" + std::to_string(shape_.layers), width);
      outputs.push_back(dx_);
      outputs.push_back(parameter_slope(ParameterId(0), segment));
    }
    Step& head = step(StepKind::classifier, "head", inputs, outputs, segment);
    head.op = OpId(embed_op() + 2);
    head.dot = OpId(embed_op() + 1);
    head.backward = train_;
  }

  void backward() {
    for (std::int64_t i = shape_.layers; i-- > 0;) {
      const std::string at = "block[" + std::to_string(i) + "].";
      const int segment = static_cast<int>(i) + 1;
      const std::size_t l = static_cast<std::size_t>(i);
      const auto id = [&](int which) { return ParameterId(static_cast<std::size_t>(1 + 3 * i + which)); };
      const TensorId dh = slope(at + "h", hidden), dn = slope(at + "n", width), dx = slope("x" + std::to_string(i), width);
      product(at + "down.dx", {dx_, parameter(i, 2)}, dh, {batch, seq}, hidden, {width}, segment);
      product(at + "down.dw", {hs_[l], dx_}, parameter_slope(id(2), segment), {hidden}, width, {batch, seq}, segment);
      product(at + "up.dx", {dh, parameter(i, 1)}, dn, {batch, seq}, width, {hidden}, segment);
      product(at + "up.dw", {ns_[l], dh}, parameter_slope(id(1), segment), {width}, hidden, {batch, seq}, segment);
      Step& norm = step(StepKind::map, at + "norm.dx", {dn, parameter(i, 0), dx_}, {dx, parameter_slope(id(0), segment)}, segment);
      norm.outer = {batch, seq};
      norm.reduced = {true, true};
      norm.inner = {width};
      norm.program = copy_program(3);
      norm.program.code.push_back({.op = MapOpcode::reduce_sum, .a = 0, .slot = 1});
      dx_ = dx;
    }
    step(StepKind::lookup_backward, "embed.dw", {dx_, *graph_.tokens}, {parameter_slope(ParameterId(0), 0)}, 0).op = OpId(embed_op());
  }

  std::size_t embed_op() const { return static_cast<std::size_t>(shape_.layers) + 2; }

  Toy& toy_;
  Graph& graph_;
  const Shape& shape_;
  DType activation_;
  bool train_;
  std::vector<TensorId> xs_, ns_, hs_;
  TensorId dx_{0};
};

Op op(OpKind kind, std::vector<AxisId> axes, int segment) {
  Op made;
  made.kind = kind;
  made.axes = std::move(axes);
  made.segment = segment;
  return made;
}

}  // namespace

Toy make(const Shape& shape, DType activation) {
  Toy toy;
  Model& model = toy.model;
  model.name = "toy";
  model.axes = {{"batch", shape.batch, {}, false, {}}, {"seq", shape.seq, {}, false, {}}, {"vocab", shape.vocab, {}, true, {}},
                {"width", shape.width, {}, false, {}}, {"hidden", shape.hidden, {}, false, {}}};
  const auto parameter = [&](const std::string& path, std::vector<AxisId> axes) {
    Parameter made;
    made.path = path;
    made.axes = std::move(axes);
    model.parameters.push_back(made);
  };
  parameter("wte", {vocab, width});
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    const std::string at = "block[" + std::to_string(i) + "].";
    parameter(at + "norm", {width});
    parameter(at + "up", {width, hidden});
    parameter(at + "down", {hidden, width});
  }
  // One op for each segment, for the steps to name; then those that steps read their axes from.
  for (std::int64_t s = 0; s < shape.layers + 2; ++s) model.ops.push_back(op(OpKind::round, {batch, seq, width}, static_cast<int>(s)));
  const std::size_t first = model.ops.size();
  model.ops.push_back(op(OpKind::lookup, {batch, seq, width}, 0));
  model.ops.push_back(op(OpKind::dot, {batch, seq, vocab}, static_cast<int>(shape.layers) + 1));
  model.ops.push_back(op(OpKind::cross_entropy, {}, static_cast<int>(shape.layers) + 1));
  model.ops.push_back(op(OpKind::parameter, {vocab, width}, 0));
  model.ops.push_back(op(OpKind::tokens, {batch, seq}, 0));
  model.ops[first].operands = {OpId(first + 3), OpId(first + 4)};
  model.ops[first].over = {vocab};
  model.ops[first + 1].over = {width};
  model.ops[first + 2].operands = {OpId(first + 1), OpId(first + 4)};
  model.ops[first + 2].over = {vocab};
  model.loss = OpId(first + 2);
  toy.train.batch = shape.batch;
  toy.train.activation = activation;
  Maker(toy, toy.step, shape, activation, true).run();
  Maker(toy, toy.evaluate, shape, activation, false).run();
  return toy;
}

LayoutSpec layout(std::int64_t ranks, int zero_stage, std::int64_t micro_batch) {
  LayoutSpec layout;
  layout.name = "test";
  if (ranks > 1) {
    layout.mesh = {{"data", ranks, {}}};
    layout.batch_axes = {0};
  }
  layout.zero_stage = zero_stage;
  layout.micro_batch = micro_batch;
  layout.bucket = Elements(400);
  layout.prefetch = Elements(600);
  layout.persist_below = Elements(0);
  layout.max_live = Elements(100'000);
  layout.reuse_distance = Elements(0);
  return layout;
}

local::Partitioned partitioned(const Toy& toy, const LayoutSpec& layout) {
  return partition({toy.model, toy.train, layout, reference_target(), &toy.step, &toy.evaluate, nullptr});
}

}  // namespace dsc::toy
