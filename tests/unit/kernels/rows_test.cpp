#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/kernels/harness.h"

namespace dsc::test {
namespace {

const std::vector<DType> real_types = {DType::f32, DType::bf16, DType::f16};

double unit_of(DType type) { return type == DType::bf16 ? 1.0 / 128 : type == DType::f16 ? 1.0 / 1024 : 0; }

TEST(Lookup, RandomShapes) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    LookupSpec spec;
    spec.rows = 1 + random.below(300), spec.entries = 1 + random.below(90), spec.width = 1 + random.below(600);
    const bool columns = random.chance(0.3);
    spec.entry_stride = columns ? 1 : spec.width, spec.element_stride = columns ? spec.entries : 1;
    spec.table_offset = random.below(3);
    spec.table_type = random.pick(real_types), spec.out_type = random.pick(real_types);
    Case c;
    c.spec = spec, c.target = reference_target();
    c.inputs = {Buffer(spec.table_type, spec.entries * spec.width + spec.table_offset), Buffer(DType::i32, spec.rows)};
    c.inputs[0].fill(random), c.inputs[1].fill_ids(random, spec.entries);
    c.outputs = {Buffer(spec.out_type, spec.rows * spec.width)};
    check(c, "seed " + std::to_string(seed));

    LookupBackwardSpec backward;
    backward.rows = spec.rows, backward.entries = spec.entries, backward.width = spec.width;
    backward.entry_stride = spec.entry_stride, backward.element_stride = spec.element_stride;
    backward.dout_type = spec.out_type;
    backward.accumulate = random.chance(0.5);
    Case b;
    b.spec = backward, b.target = reference_target();
    b.inputs = {Buffer(spec.out_type, spec.rows * spec.width), c.inputs[1]};
    b.inputs[0].fill(random);
    b.outputs = {Buffer(DType::f32, spec.entries * spec.width)};
    b.outputs[0].fill(random);  // what is not accumulated is overwritten, entries without rows too
    check(b, "backward, seed " + std::to_string(seed));  // ascending rows: the same bits
    if (HasFailure()) return;
  }
}

TEST(CrossEntropy, RandomShapes) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    CrossEntropySpec spec;
    spec.rows = 1 + random.below(70), spec.entries = 1 + random.below(seed % 5 == 0 ? 3000 : 100);
    spec.x_type = random.pick(real_types), spec.dx_type = random.pick(real_types);
    spec.scale = 1.0 / static_cast<double>(spec.rows), spec.seed_factor = random.between(0.2, 2);
    spec.backward = random.chance(0.8);
    Case c;
    c.spec = spec, c.target = reference_target();
    c.inputs = {Buffer(spec.x_type, spec.rows * spec.entries), Buffer(DType::i32, spec.rows)};
    c.inputs[0].fill(random, -6, 6), c.inputs[1].fill_ids(random, spec.entries, 0.2);
    c.outputs = {Buffer(DType::f32, 1)};
    c.tolerance = {1e-5};
    if (spec.backward) {
      c.inputs.emplace_back(DType::f32, 1);
      c.inputs[2].set(0, 128);
      c.outputs.emplace_back(spec.dx_type, spec.rows * spec.entries);
      c.tolerance.push_back(2 * unit_of(spec.dx_type) + 1e-4);
    }
    check(c, "seed " + std::to_string(seed));
    if (HasFailure()) return;
  }
}

TEST(Classifier, RandomShapes) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    Random random(seed);
    ClassifierSpec spec;
    spec.rows = 1 + random.below(150), spec.entries = 1 + random.below(seed % 4 == 0 ? 700 : 130), spec.width = 1 + random.below(90);
    spec.rows_per_chunk = random.chance(0.3) ? spec.rows : 1 + random.below(spec.rows);
    const bool columns = random.chance(0.3);
    spec.entry_stride = columns ? 1 : spec.width, spec.element_stride = columns ? spec.entries : 1;
    spec.h_type = spec.w_type = spec.dh_type = random.pick(real_types);
    if (random.chance(0.2)) spec.dh_type = DType::f32;
    spec.scale = 1.0 / static_cast<double>(spec.rows);
    spec.backward = random.chance(0.8);
    Case c;
    c.spec = spec, c.target = random.chance(0.5) ? reference_target() : cpu_target();
    c.inputs = {Buffer(spec.h_type, spec.rows * spec.width), Buffer(spec.w_type, spec.entries * spec.width), Buffer(DType::i32, spec.rows)};
    c.inputs[0].fill(random), c.inputs[1].fill(random), c.inputs[2].fill_ids(random, spec.entries, 0.1);
    c.outputs = {Buffer(DType::f32, 1)};
    c.tolerance = {1e-4};
    if (spec.backward) {
      c.inputs.emplace_back(DType::f32, 1);
      c.inputs[3].set(0, 64);
      c.outputs.emplace_back(spec.dh_type, spec.rows * spec.width);
      c.outputs.emplace_back(DType::f32, spec.entries * spec.width);
      c.outputs[2].fill(random);  // all of it is overwritten
      const double unit = std::max(unit_of(spec.dh_type), unit_of(spec.h_type));
      c.tolerance.push_back(2 * unit + 1e-3);
      c.tolerance.push_back(2 * unit_of(spec.h_type) + 1e-3);
    }
    check(c, "seed " + std::to_string(seed));
    if (HasFailure()) return;
  }
}

TEST(Classifier, ChunksFitTheTarget) {
  Target target = reference_target();
  EXPECT_EQ(classifier_rows_per_chunk(4096, 256, target), 4096);
  EXPECT_EQ(classifier_rows_per_chunk(4096, 50257, target), 20);
  target.chunk = Bytes(32 << 20);
  EXPECT_EQ(classifier_rows_per_chunk(4096, 50257, target), 166);
  EXPECT_EQ(classifier_rows_per_chunk(1024, 50257, target), 160);  // seven chunks: the last is a little shorter
  EXPECT_EQ(classifier_rows_per_chunk(3, 50257, target), 3);
  target.chunk = Bytes(1);
  EXPECT_EQ(classifier_rows_per_chunk(4096, 50257, target), 1);
}

}  // namespace
}  // namespace dsc::test
