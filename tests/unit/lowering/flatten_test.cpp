#include "compiler/partition/flatten.h"

#include <gtest/gtest.h>

#include "tests/unit/lowering/toy.h"

namespace dsc::local {
namespace {

constexpr AxisId batch{0}, seq{1}, heads{2}, channel{3}, width{4}, kv{5}, group{6};

// One step over tensors by hand; sizes: batch 2, seq 8, heads 6 = kv 3 * group 2, channel 4, width 12.
struct Hand {
  Model model;
  Graph graph;
  Hand() {
    model.axes = {{"batch", 16, {}, false, {}}, {"seq", 8, {}, false, {}}, {"heads", 6, {}, false, {{kv, group}}},
                  {"channel", 4, {}, false, {}}, {"width", 12, {}, false, {}}, {"kv", 3, {}, false, {}}, {"group", 2, {}, false, {}}};
    model.ops.emplace_back();
  }
  TensorId tensor(std::vector<AxisId> axes, DType type = DType::f32) {
    Tensor made;
    made.name = "t" + std::to_string(graph.tensors.size());
    made.axes = std::move(axes);
    made.type = type;
    graph.tensors.push_back(made);
    return TensorId(graph.tensors.size() - 1);
  }
  FlatGraph flat() {
    graph.forward_steps = graph.steps.size();
    return flatten(graph, model, local_sizes(model, 2), reference_target());
  }
};

TEST(Flatten, ProductCollapsesRowsAndContraction) {
  Hand hand;
  Step step;
  step.kind = StepKind::product;
  // y[batch, seq, width] = sum over (heads, channel) of x[batch, seq, heads, channel] w[heads, channel, width]
  step.inputs = {{hand.tensor({batch, seq, heads, channel}), {}}, {hand.tensor({heads, channel, width}), {}}};
  step.outputs = {hand.tensor({batch, seq, width})};
  step.m_axes = step.outer = {batch, seq};
  step.n_axes = step.inner = {width};
  step.k_axes = {heads, channel};
  step.program = toy::copy_program();
  hand.graph.steps.push_back(step);
  const FlatGraph flat = hand.flat();
  ASSERT_EQ(flat.steps.size(), 1u);
  const ProductSpec& spec = std::get<ProductSpec>(flat.steps[0].spec);
  EXPECT_TRUE(spec.batch.empty());
  EXPECT_EQ(spec.m, 16);
  EXPECT_EQ(spec.n, 12);
  EXPECT_EQ(spec.k, 24);
  EXPECT_EQ(spec.a_m, 24);
  EXPECT_EQ(spec.a_k, 1);
  EXPECT_EQ(spec.b_k, 12);
  EXPECT_EQ(spec.b_n, 1);
  EXPECT_EQ(spec.outputs[0].strides, (std::vector<std::int64_t>{12, 1}));
}

TEST(Flatten, ProductRunsOverWhatDoesNotCollapse) {
  Hand hand;
  Step step;
  step.kind = StepKind::product;
  // The result keeps heads before seq: rows (batch, seq) are not one dim of it.
  step.inputs = {{hand.tensor({batch, seq, width}), {}}, {hand.tensor({width, heads, channel}), {}}};
  step.outputs = {hand.tensor({batch, heads, seq, channel})};
  step.m_axes = {batch, seq};
  step.n_axes = {heads, channel};
  step.outer = {batch, seq};
  step.inner = {heads, channel};
  step.k_axes = {width};
  step.program = toy::copy_program();
  hand.graph.steps.push_back(step);
  const FlatGraph flat = hand.flat();
  const ProductSpec& spec = std::get<ProductSpec>(flat.steps[0].spec);
  ASSERT_EQ(spec.batch.size(), 2u);  // batch, heads
  EXPECT_EQ(spec.batch[0].size, 2);
  EXPECT_EQ(spec.batch[0].a_stride, 96);
  EXPECT_EQ(spec.batch[0].b_stride, 0);
  EXPECT_EQ(spec.batch[1].size, 6);
  EXPECT_EQ(spec.batch[1].a_stride, 0);
  EXPECT_EQ(spec.batch[1].b_stride, 4);
  EXPECT_EQ(spec.m, 8);
  EXPECT_EQ(spec.n, 4);
  EXPECT_EQ(spec.outputs[0].strides, (std::vector<std::int64_t>{192, 32, 4, 1}));
}

TEST(Flatten, ProductCopiesAnOperandThatNoOrderSuits) {
  Hand hand;
  Step step;
  step.kind = StepKind::product;
  step.inputs = {{hand.tensor({heads, batch, channel}), {}}, {hand.tensor({heads, channel, width}), {}}};
  step.outputs = {hand.tensor({batch, width})};
  step.m_axes = step.outer = {batch};
  step.n_axes = step.inner = {width};
  step.k_axes = {heads, channel};
  step.program = toy::copy_program();
  hand.graph.steps.push_back(step);
  const FlatGraph flat = hand.flat();
  ASSERT_EQ(flat.steps.size(), 2u);
  const MapSpec& copy = std::get<MapSpec>(flat.steps[0].spec);
  EXPECT_EQ(copy.inputs[0].strides, (std::vector<std::int64_t>{4, 8, 1}));   // batch, heads, channel of [heads, batch, channel]
  EXPECT_EQ(copy.outputs[0].strides, (std::vector<std::int64_t>{24, 4, 1}));
  const ProductSpec& spec = std::get<ProductSpec>(flat.steps[1].spec);
  EXPECT_EQ(spec.k, 24);
  EXPECT_EQ(spec.a_m, 24);
  EXPECT_EQ(spec.a_k, 1);
  EXPECT_EQ(flat.steps[1].inputs[0].tensor, flat.steps[0].outputs[0]);
}

TEST(Flatten, MapResolvesConstantsPerRowAndPositions) {
  Hand hand;
  Step step;
  step.kind = StepKind::map;
  step.outputs = {hand.tensor({batch, seq, width})};
  step.outer = {batch, seq};
  step.reduced = {false, false};
  step.inner = {width};
  step.program.registers = 3;
  step.program.code = {{.op = MapOpcode::constant, .result = 0, .number = 3, .per_row = true},
                       {.op = MapOpcode::position, .result = 1, .slot = 1},
                       {.op = MapOpcode::multiply, .result = 2, .a = 0, .b = 1},
                       {.op = MapOpcode::store, .a = 2, .slot = 0}};
  hand.graph.steps.push_back(step);
  const FlatGraph flat = hand.flat();
  const MapSpec& spec = std::get<MapSpec>(flat.steps[0].spec);
  EXPECT_EQ(spec.outer, (std::vector<std::int64_t>{2, 8}));  // seq is read by number, so it stays a dim
  EXPECT_EQ(spec.program.code[0].number, 1.5);
  EXPECT_FALSE(spec.program.code[0].per_row);
  EXPECT_EQ(spec.program.code[1].slot, 1);
}

TEST(Flatten, GroupedHeadsShareKeys) {
  Hand hand;
  Op attend;
  attend.kind = OpKind::attend;
  attend.along = seq;
  attend.contract = channel;
  attend.mask = Mask::causal;
  attend.scale = 0.5;
  attend.operands = {OpId(0), OpId(0), OpId(0)};
  hand.model.ops[0].axes = {batch, seq, heads, channel};
  hand.model.ops.push_back(attend);
  Step step;
  step.kind = StepKind::attend_forward;
  step.op = OpId(1);
  step.inputs = {{hand.tensor({batch, seq, heads, channel}), {}}, {hand.tensor({batch, seq, kv, channel}), {}}, {hand.tensor({batch, seq, kv, channel}), {}}};
  step.outputs = {hand.tensor({batch, seq, heads, channel}), hand.tensor({batch, heads, seq})};
  hand.graph.steps.push_back(step);
  const FlatGraph flat = hand.flat();
  const AttendSpec& spec = std::get<AttendForwardSpec>(flat.steps[0].spec).attend;
  ASSERT_EQ(spec.batch.size(), 3u);  // batch, kv, group
  EXPECT_EQ(spec.batch[1].size, 3);
  EXPECT_EQ(spec.batch[1].q_stride, 8);
  EXPECT_EQ(spec.batch[1].k_stride, 4);
  EXPECT_FALSE(spec.batch[1].shared);
  EXPECT_EQ(spec.batch[2].size, 2);
  EXPECT_EQ(spec.batch[2].q_stride, 4);
  EXPECT_EQ(spec.batch[2].k_stride, 0);
  EXPECT_TRUE(spec.batch[2].shared);
  EXPECT_EQ(spec.q_along, 24);
  EXPECT_EQ(spec.k_along, 12);
  EXPECT_EQ(spec.length, 8);
  EXPECT_EQ(spec.scale, 0.5);
}

TEST(Flatten, RotationFollowsTheResultsOrder) {
  Hand hand;
  Op rotate;
  rotate.kind = OpKind::rotate;
  rotate.along = seq;
  rotate.contract = channel;
  rotate.theta = 500;
  hand.model.ops.push_back(rotate);
  Step step;
  step.kind = StepKind::rotate;
  step.op = OpId(1);
  step.inputs = {{hand.tensor({batch, seq, heads, channel}), {}}};
  step.outputs = {hand.tensor({batch, heads, seq, channel})};
  hand.graph.steps.push_back(step);
  const FlatGraph flat = hand.flat();
  const RotateSpec& spec = std::get<RotateSpec>(flat.steps[0].spec);
  EXPECT_EQ(spec.sizes, (std::vector<std::int64_t>{2, 6, 8, 4}));
  EXPECT_EQ(spec.x_strides, (std::vector<std::int64_t>{192, 4, 24, 1}));
  EXPECT_EQ(spec.along, 2);
  EXPECT_EQ(spec.pairs, 3);
}

TEST(Flatten, LossScaleCountsOneMicroBatch) {
  const toy::Toy toy = toy::make({});
  const FlatGraph flat = flatten(toy.step, toy.model, local_sizes(toy.model, 4), reference_target());
  int classifiers = 0;
  for (const FlatStep& step : flat.steps) {
    const auto* spec = std::get_if<ClassifierSpec>(&step.spec);
    if (!spec) continue;
    ++classifiers;
    EXPECT_EQ(spec->rows, 32);
    EXPECT_EQ(spec->scale, 1.0 / 32);
    EXPECT_EQ(spec->entries, 50);
    EXPECT_EQ(spec->entry_stride, 12);
    EXPECT_EQ(spec->element_stride, 1);
  }
  EXPECT_EQ(classifiers, 1);
}

}  // namespace
}  // namespace dsc::local
