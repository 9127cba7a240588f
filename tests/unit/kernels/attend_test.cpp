#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/kernels/map_cases.h"

namespace dsc::test {
namespace {

struct Shape {
  std::int64_t length, qk, v, batch, groups, shared;
};

// [batch, length, heads, channel] or [batch, heads, length, channel]; the shared queries are a dim of their own.
AttendSpec attend(Random& random, const Shape& s, Mask mask, DType type) {
  AttendSpec spec;
  spec.length = s.length, spec.qk_size = s.qk, spec.v_size = s.v;
  spec.mask = mask;
  spec.window = mask == Mask::window ? 1 + random.below(s.length) : 0;
  spec.scale = 1 / std::sqrt(static_cast<double>(s.qk));
  spec.type = spec.out_type = type;
  const bool heads_first = random.chance(0.5), transposed = random.chance(0.2);
  auto strides = [&](std::int64_t channel, std::int64_t heads, std::int64_t& along, std::int64_t& channel_stride, std::int64_t* batch, std::int64_t* head) {
    channel_stride = transposed ? s.length * heads : 1;
    const std::int64_t unit = transposed ? 1 : channel;
    along = heads_first ? unit : unit * heads;
    *head = heads_first ? unit * s.length : unit;
    *batch = s.length * heads * channel;
  };
  std::int64_t qb, qh, kb, kh, vb, vh, ob, oh;
  strides(s.qk, s.groups * s.shared, spec.q_along, spec.q_channel, &qb, &qh);
  strides(s.qk, s.groups, spec.k_along, spec.k_channel, &kb, &kh);
  strides(s.v, s.groups, spec.v_along, spec.v_channel, &vb, &vh);
  strides(s.v, s.groups * s.shared, spec.out_along, spec.out_channel, &ob, &oh);
  spec.batch.push_back({s.batch, qb, kb, vb, ob, false});
  if (s.groups > 1 || random.chance(0.5)) spec.batch.push_back({s.groups, qh * s.shared, kh, vh, oh * s.shared, false});
  if (s.shared > 1) spec.batch.push_back({s.shared, qh, 0, 0, oh, true});
  return spec;
}

class Attend : public ::testing::TestWithParam<int> {};

TEST_P(Attend, ForwardAndBackward) {
  Random random(static_cast<std::uint64_t>(GetParam()));
  const std::vector<Shape> shapes = {{1, 8, 8, 1, 1, 1},   {17, 16, 16, 2, 2, 1}, {64, 32, 32, 1, 2, 2}, {65, 8, 24, 1, 1, 3}, {128, 64, 64, 1, 1, 1},
                                     {130, 7, 5, 2, 1, 2}, {200, 16, 16, 1, 2, 1}};
  const Shape s = random.pick(shapes);
  const Mask mask = random.pick<Mask>({Mask::causal, Mask::causal, Mask::full, Mask::window});
  const DType type = random.pick<DType>({DType::f32, DType::f32, DType::bf16, DType::f16});
  const AttendSpec spec = attend(random, s, mask, type);
  const std::int64_t heads = s.groups * s.shared;
  Case c;
  c.spec = AttendForwardSpec{spec};
  c.target = cpu_target();
  c.inputs = {Buffer(type, s.batch * s.length * heads * s.qk), Buffer(type, s.batch * s.length * s.groups * s.qk), Buffer(type, s.batch * s.length * s.groups * s.v)};
  for (Buffer& b : c.inputs) b.fill(random, -2, 2);
  c.outputs = {Buffer(type, s.batch * s.length * heads * s.v), Buffer(DType::f32, s.batch * heads * s.length)};
  const double unit = type == DType::bf16 ? 1.0 / 128 : type == DType::f16 ? 1.0 / 1024 : 0;
  c.tolerance = {unit + 3e-6, 1e-5};
  check(c, "forward");

  Case b;
  AttendBackwardSpec backward;
  backward.attend = spec;
  backward.gradient_type = type;
  b.spec = backward;
  b.target = c.target;
  Buffer dout = c.outputs[0];
  dout.fill(random);
  b.inputs = {c.inputs[0], c.inputs[1], c.inputs[2], c.outputs[0], c.outputs[1], dout};
  for (int i = 0; i < 3; ++i) {
    b.outputs.emplace_back(type, c.inputs[static_cast<std::size_t>(i)].elements);
    b.tolerance.push_back(unit + 2e-5);
  }
  check(b, "backward");
}

INSTANTIATE_TEST_SUITE_P(Seeds, Attend, ::testing::Range(0, 60));

// The gradient kernel against central differences of the forward reference, in double.
TEST(AttendGradient, MatchesFiniteDifferences) {
  Random random(77);
  const Shape s{9, 4, 3, 1, 1, 2};
  AttendSpec spec = attend(random, s, Mask::causal, DType::f32);
  spec.type = spec.out_type = DType::f64;  // the reference reads any type
  const std::int64_t q = s.length * 2 * s.qk, k = s.length * s.qk, v = s.length * s.v, o = s.length * 2 * s.v;
  Case forward;
  forward.spec = AttendForwardSpec{spec};
  forward.inputs = {Buffer(DType::f64, q), Buffer(DType::f64, k), Buffer(DType::f64, v)};
  for (Buffer& b : forward.inputs) b.fill(random);
  forward.outputs = {Buffer(DType::f64, o), Buffer(DType::f32, 2 * s.length)};
  Buffer dout(DType::f64, o);
  dout.fill(random);
  auto loss = [&]() {
    reference::run(forward.spec, bind(forward, forward.outputs));
    double sum = 0;
    for (std::int64_t i = 0; i < o; ++i) sum += forward.outputs[0].get(i) * dout.get(i);
    return sum;
  };
  loss();
  Case backward;
  backward.spec = AttendBackwardSpec{spec, DType::f64};
  backward.inputs = {forward.inputs[0], forward.inputs[1], forward.inputs[2], forward.outputs[0], forward.outputs[1], dout};
  backward.outputs = {Buffer(DType::f64, q), Buffer(DType::f64, k), Buffer(DType::f64, v)};
  reference::run(backward.spec, bind(backward, backward.outputs));
  for (std::size_t operand = 0; operand < 3; ++operand) {
    for (std::int64_t i = 0; i < forward.inputs[operand].elements; ++i) {
      const double x = forward.inputs[operand].get(i), step = 1e-5;
      forward.inputs[operand].set(i, x + step);
      const double above = loss();
      forward.inputs[operand].set(i, x - step);
      const double below = loss();
      forward.inputs[operand].set(i, x);
      EXPECT_NEAR(backward.outputs[operand].get(i), (above - below) / (2 * step), 1e-7);
    }
  }
}

TEST(Rotate, RandomShapes) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    Random random(seed);
    RotateSpec spec;
    const int dims = 2 + static_cast<int>(random.below(3));
    spec.pairs = static_cast<int>(random.below(dims));
    do spec.along = static_cast<int>(random.below(dims)); while (spec.along == spec.pairs);
    std::int64_t total = 1;
    for (int d = 0; d < dims; ++d) {
      spec.sizes.push_back(d == spec.pairs ? 2 * (1 + random.below(20)) : 1 + random.below(12));
      total *= spec.sizes.back();
    }
    Case c;
    std::int64_t elements = 0;
    spec.x_strides = random_strides(random, spec.sizes, std::vector<bool>(spec.sizes.size(), true), false, &elements);
    spec.x_offset = random.below(4);
    spec.inverse = random.chance(0.5);
    spec.x_type = random.pick<DType>({DType::f32, DType::bf16, DType::f16});
    spec.out_type = random.pick<DType>({DType::f32, DType::bf16, DType::f16});
    c.spec = spec;
    c.inputs = {Buffer(spec.x_type, elements + spec.x_offset)};
    c.inputs[0].fill(random);
    c.outputs = {Buffer(spec.out_type, total)};
    c.tolerance = {spec.out_type == DType::bf16 ? 1.0 / 128 : spec.out_type == DType::f16 ? 1.0 / 1024 : 1e-6};
    c.target = reference_target();
    check(c, "seed " + std::to_string(seed));
    if (HasFailure()) return;
  }
}

// So large that the result goes past the caches, by rows of whole lines and by others.
TEST(Rotate, LargeResults) {
  for (const DType type : {DType::f32, DType::bf16})
    for (const std::int64_t pairs : {64, 20}) {
      RotateSpec spec;
      spec.sizes = {3, 700, 2, pairs}, spec.x_strides = {700 * 2 * pairs, 2 * pairs, pairs, 1};
      spec.along = 1, spec.pairs = 3;
      spec.x_type = spec.out_type = type;
      Random random(static_cast<std::uint64_t>(pairs));
      Case c;
      c.spec = spec;
      c.inputs = {Buffer(type, 3 * 700 * 2 * pairs)};
      c.inputs[0].fill(random);
      c.outputs = {Buffer(type, 3 * 700 * 2 * pairs)};
      c.tolerance = {type == DType::bf16 ? 1.0 / 128 : 1e-6};
      c.target = cpu_target();
      check(c, std::string(name_of(type)) + ", rows of " + std::to_string(pairs));
    }
}

}  // namespace
}  // namespace dsc::test
