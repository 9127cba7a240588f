#include <gtest/gtest.h>

#include <cmath>

#include "compiler/support/kernel_shape.h"
#include "tests/unit/kernels/map_cases.h"

namespace dsc::test {
namespace {

Case random_product(std::uint64_t seed) {
  Random random(seed);
  ProductSpec spec;
  Case c;
  c.target = random.chance(0.3) ? reference_target() : cpu_target();
  if (random.chance(0.3)) c.target.tile_m = 8, c.target.tile_n = 32, c.target.block_k = 16;
  const std::vector<std::int64_t> extents = {1, 2, 3, 7, 16, 31, 64, 65, 100, 130, 200};
  spec.m = random.pick(extents), spec.n = random.pick(extents), spec.k = random.pick<std::int64_t>({1, 2, 3, 8, 33, 64, 129, 400, 801});
  while (spec.m * spec.n * spec.k > 4000000) spec.k = (spec.k + 1) / 2;
  const int batch = static_cast<int>(random.below(3));
  for (int i = 0; i < batch; ++i) spec.batch.push_back({1 + random.below(3), 0, 0});
  const DType type = random.pick<DType>({DType::f32, DType::f32, DType::bf16, DType::bf16, DType::f16});
  spec.a_type = spec.b_type = type;
  if (random.chance(0.1)) spec.a_type = DType::f32;

  auto operand = [&](bool a) {
    std::vector<std::int64_t> sizes, strides;
    std::vector<bool> varies;
    for (const ProductDim& dim : spec.batch) sizes.push_back(dim.size), varies.push_back(random.chance(0.7));
    sizes.push_back(a ? spec.m : spec.k), sizes.push_back(a ? spec.k : spec.n);
    varies.push_back(true), varies.push_back(true);
    std::int64_t elements = 0;
    strides = random_strides(random, sizes, varies, random.chance(0.4), &elements);
    for (std::size_t d = 0; d < spec.batch.size(); ++d) (a ? spec.batch[d].a_stride : spec.batch[d].b_stride) = strides[d];
    const std::int64_t offset = random.below(3);
    if (a) spec.a_m = strides[spec.batch.size()], spec.a_k = strides[spec.batch.size() + 1], spec.a_offset = offset;
    else spec.b_k = strides[spec.batch.size()], spec.b_n = strides[spec.batch.size() + 1], spec.b_offset = offset;
    c.inputs.emplace_back(a ? spec.a_type : spec.b_type, elements + offset);
    c.inputs.back().fill(random);
  };
  operand(true);
  operand(false);

  std::vector<std::int64_t> sizes;
  for (const ProductDim& dim : spec.batch) sizes.push_back(dim.size);
  sizes.push_back(spec.m), sizes.push_back(spec.n);
  ProgramMaker maker(random, spec.epilogue);
  spec.inputs.resize(1);
  spec.inputs[0].strides.assign(sizes.size(), 0);
  maker.load(0, false);
  const bool plain = random.chance(0.3);
  const int inputs = plain ? 0 : static_cast<int>(random.below(3));
  for (int i = 1; i <= inputs; ++i) {
    MapInput in;
    in.type = random.pick<DType>({DType::f32, DType::bf16, DType::f16});
    std::vector<bool> varies;
    for (std::size_t d = 0; d < sizes.size(); ++d) varies.push_back(random.chance(0.6));
    std::int64_t elements = 0;
    in.strides = random_strides(random, sizes, varies, random.chance(0.7), &elements);
    in.offset = random.below(3);
    if (random.chance(0.2))
      for (std::int64_t n : sizes) in.windows.push_back({random.below(n), n});
    c.inputs.emplace_back(in.type, elements + in.offset);
    c.inputs.back().fill(random);
    spec.inputs.push_back(in);
    maker.load(i, true);
  }
  if (!plain && random.chance(0.3)) maker.position(static_cast<int>(random.below(static_cast<std::int64_t>(sizes.size()))));
  if (!plain) maker.grow(static_cast<int>(random.below(6)), false);
  const int outputs = plain ? 1 : 1 + static_cast<int>(random.below(2));
  for (int i = 0; i < outputs; ++i) {
    MapOutput out;
    out.type = random.pick<DType>({DType::f32, DType::f32, DType::bf16, DType::f16});
    std::int64_t elements = 0;
    out.strides = random_strides(random, sizes, std::vector<bool>(sizes.size(), true), random.chance(0.8), &elements);
    out.accumulate = out.type == DType::f32 && random.chance(0.3);
    c.outputs.emplace_back(out.type, elements);
    c.outputs.back().fill(random);
    const double unit = out.type == DType::bf16 ? 1.0 / 128 : out.type == DType::f16 ? 1.0 / 1024 : 0;
    c.tolerance.push_back(unit + 1e-5 * std::sqrt(static_cast<double>(spec.k) + 4));
    spec.outputs.push_back(out);
    maker.store(i == 0 ? maker.last() : 0, i);
  }
  c.spec = spec;
  return c;
}

TEST(Product, RandomShapes) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Case c = random_product(seed);
    check(c, "seed " + std::to_string(seed));
    if (HasFailure()) return;
  }
}

// Rows of the result have the same bits wherever they lie in the tiles: the layout of a run must not show.
TEST(Product, RowsDoNotDependOnTheirTile) {
  Random random(3);
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    const std::int64_t m = 600, n = 70, k = 500;
    Buffer a(type, m * k), b(type, k * n);
    a.fill(random), b.fill(random);
    auto product = [&](std::int64_t rows, std::int64_t first) {
      Case c;
      ProductSpec spec;
      spec.m = rows, spec.n = n, spec.k = k;
      spec.a_type = spec.b_type = type;
      spec.a_m = k, spec.a_k = 1, spec.a_offset = first * k, spec.b_k = n, spec.b_n = 1;
      spec.inputs.resize(1);
      spec.inputs[0].strides = {0, 0};
      MapOutput out;
      out.strides = {n, 1};
      spec.outputs = {out};
      ProgramMaker maker(random, spec.epilogue);
      maker.store(maker.load(0, false), 0);
      c.spec = spec, c.target = cpu_target();
      c.inputs = {a, b};
      c.outputs = {Buffer(DType::f32, rows * n)};
      c.tolerance = {1e-3};
      check(c, "product");
      return c.outputs[0];
    };
    const Buffer whole = product(m, 0);
    for (std::int64_t first : {64, 100, 550}) {
      const Buffer part = product(m - first, first);
      EXPECT_EQ(std::memcmp(part.data(), static_cast<const char*>(whole.data()) + first * n * 4, static_cast<std::size_t>((m - first) * n * 4)), 0)
          << "from row " << first;
    }
  }
}

// The gradient of a weight: a contraction over rows so long that it goes part by part, with an end that fills no block, pair or row
// of packing.
TEST(Product, LongContractionsGoPartByPart) {
  Random random(5);
  for (DType type : {DType::f32, DType::bf16}) {
    ProductSpec spec;
    if (type == DType::f32) spec.m = 100, spec.n = 148, spec.k = 6701;
    else spec.m = 600, spec.n = 50, spec.k = 3501;
    spec.a_type = spec.b_type = type;
    spec.a_m = 1, spec.a_k = spec.m, spec.b_k = spec.n, spec.b_n = 1;
    spec.inputs.resize(1);
    spec.inputs[0].strides = {0, 0};
    MapOutput out;
    out.strides = {spec.n, 1};
    spec.outputs = {out};
    ProgramMaker maker(random, spec.epilogue);
    maker.store(maker.load(0, false), 0);
    Case c;
    c.spec = spec, c.target = cpu_target();
    EXPECT_GT(product_shape(spec, c.target, true).parts, 1);
    c.inputs = {Buffer(type, spec.m * spec.k), Buffer(type, spec.k * spec.n)};
    for (Buffer& input : c.inputs) input.fill(random);
    c.outputs = {Buffer(DType::f32, spec.m * spec.n)};
    c.tolerance = {1e-3};
    check(c, "long product");
    if (HasFailure()) return;
  }
}

// A contraction of two blocks whose result is too wide to be kept whole: more than one strip, the last one shorter.
TEST(Product, WideResultsGoStripByStrip) {
  Random random(7);
  ProductSpec spec;
  spec.m = 40, spec.n = 2500, spec.k = 400;
  spec.a_m = spec.k, spec.a_k = 1, spec.b_k = spec.n, spec.b_n = 1;
  spec.inputs.resize(1);
  spec.inputs[0].strides = {0, 0};
  MapOutput out;
  out.type = DType::bf16, out.strides = {spec.n, 1};
  spec.outputs = {out};
  ProgramMaker maker(random, spec.epilogue);
  maker.store(maker.load(0, false), 0);
  Case c;
  c.spec = spec, c.target = cpu_target();
  const ProductShape shape = product_shape(spec, c.target, true);
  if (shape.bf16x3) {
    EXPECT_GT(shape.kept_tiles, 1);
    EXPECT_GT(shape.tiles, shape.m_tiles);
  }
  c.inputs = {Buffer(DType::f32, spec.m * spec.k), Buffer(DType::f32, spec.k * spec.n)};
  for (Buffer& input : c.inputs) input.fill(random);
  c.outputs = {Buffer(DType::bf16, spec.m * spec.n)};
  c.tolerance = {1.0 / 128};
  check(c, "strips");
}

TEST(Product, WithoutBf16ProductsOperandsAreWidened) {
  Random random(9);
  Case c = random_product(4);
  auto& spec = std::get<ProductSpec>(c.spec);
  spec.a_type = spec.b_type = DType::bf16;
  for (int i = 0; i < 2; ++i) {
    Buffer wide(DType::bf16, c.inputs[static_cast<std::size_t>(i)].elements);
    wide.fill(random);
    c.inputs[static_cast<std::size_t>(i)] = wide;
  }
  c.target = reference_target();
  ASSERT_FALSE(c.target.bf16_products);
  check(c, "widened");
}

}  // namespace
}  // namespace dsc::test
