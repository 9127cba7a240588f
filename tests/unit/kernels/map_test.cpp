#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/unit/kernels/map_cases.h"

namespace dsc::test {
namespace {

double store_tolerance(DType type, bool exact) {
  if (exact) return 0;
  return type == DType::bf16 ? 1.0 / 128 : type == DType::f16 ? 1.0 / 1024 : 2e-4;
}

Case random_map(std::uint64_t seed) {
  Random random(seed);
  MapSpec spec;
  std::int64_t total = 1;
  auto size = [&](std::vector<std::int64_t> from, std::int64_t limit) {
    const std::int64_t n = random.pick(from);
    return total * n > limit ? std::int64_t{1} : (total *= n, n);
  };
  const auto inner = random.below(3), outer = random.below(4);
  for (int i = 0; i < inner; ++i) spec.inner.push_back(size({1, 2, 7, 16, 64, 100, 257, 1500}, 6000));
  for (int i = 0; i < outer; ++i) spec.outer.push_back(size({1, 2, 3, 5, 8, 17, 33, 130}, 30000));
  for (int i = 0; i < outer; ++i) spec.reduced.push_back(random.chance(0.5));
  std::vector<std::int64_t> sizes = spec.outer;
  sizes.insert(sizes.end(), spec.inner.begin(), spec.inner.end());

  Case c;
  c.target = random.chance(0.5) ? reference_target() : cpu_target();
  ProgramMaker maker(random, spec.program);
  const int inputs = 1 + static_cast<int>(random.below(4));
  for (int i = 0; i < inputs; ++i) {
    MapInput in;
    in.type = random.pick<DType>({DType::f32, DType::f32, DType::bf16, DType::f16, DType::i32});
    std::vector<bool> varies;
    for (std::size_t d = 0; d < sizes.size(); ++d) varies.push_back(random.chance(0.7));
    std::int64_t elements = 0;
    in.strides = random_strides(random, sizes, varies, random.chance(0.7), &elements);
    in.offset = random.below(4);
    if (random.chance(0.25)) {
      for (std::int64_t n : sizes) {
        const std::int64_t lo = random.chance(0.5) ? 0 : random.below(n);
        in.windows.push_back({lo, random.chance(0.5) ? n : lo + random.below(n - lo + 1)});
      }
    }
    c.inputs.emplace_back(in.type, elements + in.offset);
    c.inputs.back().fill(random);
    spec.inputs.push_back(in);
    maker.load(i, true);
  }
  if (random.chance(0.3) && !sizes.empty()) maker.position(static_cast<int>(random.below(static_cast<std::int64_t>(sizes.size()))));
  if (random.chance(0.3)) maker.constant(random.between(-1, 1));
  maker.grow(2 + static_cast<int>(random.below(10)), random.chance(0.5));

  const bool any_reduced = std::find(spec.reduced.begin(), spec.reduced.end(), true) != spec.reduced.end();
  const int outputs = 1 + static_cast<int>(random.below(3));
  for (int i = 0; i < outputs; ++i) {
    const bool reduce = any_reduced && random.chance(0.6);
    const int reg = random.chance(0.5) ? maker.last() : maker.any();
    MapOutput out;
    std::vector<bool> varies(sizes.size(), true);
    if (reduce)
      for (std::size_t d = 0; d < spec.outer.size(); ++d) varies[d] = !spec.reduced[d];
    out.type = random.pick<DType>({DType::f32, DType::f32, DType::bf16, DType::f16});
    std::int64_t elements = 0;
    out.strides = random_strides(random, sizes, varies, random.chance(0.7), &elements);
    out.offset = random.below(3);
    out.accumulate = out.type == DType::f32 && random.chance(0.3);
    c.outputs.emplace_back(out.type, elements + out.offset);
    c.outputs.back().fill(random);
    const bool maximum = reduce && random.chance(0.3);
    c.tolerance.push_back(store_tolerance(out.type, maker.exact(reg) && (!reduce || maximum)));
    spec.outputs.push_back(out);
    if (reduce) maker.reduce(reg, i, maximum);
    else maker.store(reg, i);
  }
  c.spec = spec;
  return c;
}

TEST(Map, RandomPrograms) {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Case c = random_map(seed);
    check(c, "seed " + std::to_string(seed));
    if (HasFailure()) return;
  }
}

// A layer norm with its statistics stored once a row, and the sums over rows that its parameters' gradients are.
TEST(Map, RowStatisticsAreStoredOnceARow) {
  const std::int64_t rows = 37, width = 96;
  Random random(5);
  MapSpec spec;
  spec.outer = {rows}, spec.reduced = {true}, spec.inner = {width};
  spec.inputs = {{DType::bf16, {width, 1}, 0, {}}};
  spec.outputs = {{DType::f32, {1, 0}, 0, false}, {DType::bf16, {width, 1}, 0, false}, {DType::f32, {0, 1}, 0, true}, {DType::f32, {0, 0}, 0, false}};
  spec.program.registers = 6;
  auto add = [&](MapOpcode op, int result, int a, int b, int slot, double number = 0) {
    MapInstruction in;
    in.op = op, in.result = result, in.a = a, in.b = b, in.slot = slot, in.number = number;
    spec.program.code.push_back(in);
  };
  add(MapOpcode::load, 0, -1, -1, 0);
  add(MapOpcode::inner_sum, 1, 0, -1, -1);
  add(MapOpcode::constant, 2, -1, -1, -1, 1.0 / width);
  add(MapOpcode::multiply, 3, 1, 2, -1);
  add(MapOpcode::store, -1, 3, -1, 0);
  add(MapOpcode::subtract, 4, 0, 3, -1);
  add(MapOpcode::store, -1, 4, -1, 1);
  add(MapOpcode::reduce_sum, -1, 4, -1, 2);
  add(MapOpcode::multiply, 5, 3, 3, -1);
  add(MapOpcode::reduce_sum, -1, 5, -1, 3);
  Case c;
  c.spec = spec;
  c.inputs.emplace_back(DType::bf16, rows * width);
  c.inputs[0].fill(random);
  c.outputs = {Buffer(DType::f32, rows), Buffer(DType::bf16, rows * width), Buffer(DType::f32, width), Buffer(DType::f32, 1)};
  c.outputs[2].fill(random);
  c.tolerance = {1e-6, 1.0 / 128, 1e-5, 1e-6};
  c.target = reference_target();
  check(c, "layer norm");
}

// An operation gives the same bits alone and fused, in long registers and in short rows.
TEST(Map, BitsDoNotDependOnFusionOrShape) {
  const std::int64_t n = 3000;
  Random random(6);
  Buffer x(DType::f32, n);
  x.fill(random, -4, 4);
  for (MapOpcode op : {MapOpcode::exp, MapOpcode::tanh, MapOpcode::sigmoid, MapOpcode::erf, MapOpcode::sin, MapOpcode::cos}) {
    std::vector<std::vector<std::byte>> results;
    for (std::int64_t columns : {n, std::int64_t{1}, std::int64_t{3}, std::int64_t{1000}}) {
      MapSpec spec;
      spec.outer = {n / columns}, spec.reduced = {false}, spec.inner = {columns};
      spec.inputs = {{DType::f32, {columns, 1}, 0, {}}};
      spec.outputs = {{DType::f32, {columns, 1}, 0, false}};
      spec.program.registers = 3;
      MapInstruction load, function, sum, store;
      load.op = MapOpcode::load, load.result = 0, load.slot = 0;
      function.op = op, function.result = 1, function.a = 0;
      sum.op = MapOpcode::inner_sum, sum.result = 2, sum.a = 1;
      store.op = MapOpcode::store, store.a = 1, store.slot = 0;
      spec.program.code = {load, function};
      if (columns != n) spec.program.code.push_back(sum);  // another way of cutting the loop
      spec.program.code.push_back(store);
      Case c;
      c.spec = spec;
      c.inputs = {x};
      c.outputs = {Buffer(DType::f32, n)};
      c.tolerance = {1e-5};
      c.target = reference_target();
      check(c, "columns " + std::to_string(columns));
      results.push_back(c.outputs[0].bytes);
    }
    for (const auto& result : results) EXPECT_TRUE(result == results[0]);
  }
}

// A sum over rows has the same bits whether its loop keeps the columns apart or, fused with a sum along them, does not.
TEST(Map, SumsOverRowsDoNotDependOnFusion) {
  const std::int64_t q = 1000, p = 37, w = 300;
  Random random(8);
  Buffer x(DType::f32, q * p), y(DType::f32, q * p * w);
  x.fill(random), y.fill(random);
  std::vector<std::vector<std::byte>> results;
  for (bool fused : {false, true}) {
    MapSpec spec;
    spec.outer = {q, p}, spec.reduced = {true, false}, spec.inner = {w};
    if (!fused) spec.inner = {};
    spec.inputs = {{DType::f32, {p, 1}, 0, {}}};
    spec.outputs = {{DType::f32, {0, 1}, 0, false}};
    spec.program.registers = fused ? 3 : 1;
    MapInstruction load, reduce, load2, sum, store;
    load.op = MapOpcode::load, load.result = 0, load.slot = 0;
    reduce.op = MapOpcode::reduce_sum, reduce.a = 0, reduce.slot = 0;
    spec.program.code = {load, reduce};
    Case c;
    c.inputs = {x};
    c.outputs = {Buffer(DType::f32, p)};
    c.tolerance = {1e-4};
    if (fused) {
      spec.inputs[0].strides.push_back(0), spec.outputs[0].strides.push_back(0);
      spec.inputs.push_back({DType::f32, {p * w, w, 1}, 0, {}});
      spec.outputs.push_back({DType::f32, {p, 1, 0}, 0, false});
      load2.op = MapOpcode::load, load2.result = 1, load2.slot = 1;
      sum.op = MapOpcode::inner_sum, sum.result = 2, sum.a = 1;
      store.op = MapOpcode::store, store.a = 2, store.slot = 1;
      spec.program.code.insert(spec.program.code.end(), {load2, sum, store});
      c.inputs.push_back(y);
      c.outputs.emplace_back(DType::f32, q * p);
      c.tolerance.push_back(1e-5);
    }
    c.spec = spec, c.target = reference_target();
    check(c, fused ? "fused" : "alone");
    results.push_back(c.outputs[0].bytes);
  }
  EXPECT_TRUE(results[0] == results[1]);
}

// Where operands lie by rows, elementwise steps and sums of columns go by strips: an output of another layout sends the same program over
// whole blocks.
TEST(Map, StripsGiveTheBitsOfWholeBlocks) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Random random(1000 + seed);
    const bool sums = random.chance(0.4);
    const std::int64_t rows = random.pick<std::int64_t>({1, 3, 8, sums ? 200 : 33}), columns = random.pick<std::int64_t>({64, 128, 192, 320, 384, 4096});
    MapSpec spec;
    spec.outer = {rows}, spec.reduced = {sums}, spec.inner = {columns};
    ProgramMaker maker(random, spec.program);
    Case strips;
    const int inputs = 1 + static_cast<int>(random.below(4));
    for (int i = 0; i < inputs; ++i) {
      MapInput in;
      in.type = random.pick<DType>({DType::f32, DType::bf16});
      const std::int64_t pitch = random.chance(0.3) ? 0 : columns + random.pick<std::int64_t>({0, 0, 64, 5});
      in.strides = {pitch, 1};
      in.offset = random.below(2) * 3;
      strips.inputs.emplace_back(in.type, rows * std::max(pitch, columns) + in.offset);
      strips.inputs.back().fill(random);
      spec.inputs.push_back(in);
      maker.load(i, true);
    }
    maker.constant(random.between(-1, 1));
    maker.grow(4 + static_cast<int>(random.below(16)), random.chance(0.4));
    const int outputs = 1 + static_cast<int>(random.below(3));
    for (int i = 0; i < outputs; ++i) {
      const int reg = i == 0 ? maker.last() : maker.any();
      MapOutput out;
      out.type = random.pick<DType>({DType::f32, DType::bf16});
      out.strides = {columns, 1};
      out.accumulate = out.type == DType::f32 && random.chance(0.3);
      strips.outputs.emplace_back(out.type, rows * columns);
      strips.outputs.back().fill(random);
      strips.tolerance.push_back(store_tolerance(out.type, maker.exact(reg)));
      spec.outputs.push_back(out);
      maker.store(reg, i);
    }
    if (sums) {
      MapOutput out;
      out.strides = {0, 1};
      out.accumulate = random.chance(0.5);
      strips.outputs.emplace_back(out.type, columns);
      strips.outputs.back().fill(random);
      strips.tolerance.push_back(store_tolerance(out.type, false));
      spec.outputs.push_back(out);
      maker.reduce(maker.any(), outputs, false);
    }
    strips.spec = spec, strips.target = cpu_target();
    Case whole = strips;
    for (std::size_t i = 0; i < strips.outputs.size(); ++i) {
      for (std::int64_t& stride : spec.outputs[i].strides) stride *= 2;
      whole.outputs[i] = Buffer(spec.outputs[i].type, 2 * strips.outputs[i].elements);
      for (std::int64_t e = 0; e < strips.outputs[i].elements; ++e) whole.outputs[i].set(2 * e, strips.outputs[i].get(e));
    }
    whole.spec = spec;
    check(strips, "strips, seed " + std::to_string(seed));
    check(whole, "whole blocks, seed " + std::to_string(seed));
    for (std::size_t i = 0; i < strips.outputs.size(); ++i)
      for (std::int64_t e = 0; e < strips.outputs[i].elements; ++e)
        ASSERT_EQ(strips.outputs[i].get(e), whole.outputs[i].get(2 * e)) << "seed " << seed << ", output " << i << ", element " << e;
  }
}

TEST(Map, FunctionsOfSpecialNumbers) {
  const std::vector<double> values = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-40, 1e38, -1e38, 88.0, -104.0, 1.0};
  for (MapOpcode op : {MapOpcode::exp, MapOpcode::log, MapOpcode::tanh, MapOpcode::sigmoid, MapOpcode::erf, MapOpcode::sqrt, MapOpcode::maximum,
                       MapOpcode::minimum, MapOpcode::negate, MapOpcode::absolute})
  for (const std::int64_t n : {static_cast<std::int64_t>(values.size()), std::int64_t{128}}) {  // 128: by strips
    MapSpec spec;
    spec.inner = {n};
    spec.inputs = {{DType::f32, {1}, 0, {}}};
    spec.outputs = {{DType::f32, {1}, 0, false}};
    spec.program.registers = 3;
    MapInstruction load, one, function, store;
    load.op = MapOpcode::load, load.result = 0, load.slot = 0;
    one.op = MapOpcode::constant, one.result = 1, one.number = 1;
    function.op = op, function.result = 2, function.a = 0;
    if (op == MapOpcode::maximum || op == MapOpcode::minimum) function.b = 1;
    store.op = MapOpcode::store, store.a = 2, store.slot = 0;
    spec.program.code = {load, one, function, store};
    Case c;
    c.spec = spec;
    c.inputs = {Buffer(DType::f32, n)};
    for (std::int64_t i = 0; i < n; ++i) c.inputs[0].set(i, values[static_cast<std::size_t>(i) % values.size()]);
    c.outputs = {Buffer(DType::f32, n)};
    c.tolerance = {1e-5};
    c.target = reference_target();
    check(c, "operation " + std::to_string(static_cast<int>(op)));
  }
}

TEST(Map, RoundsEveryKindOfNumber) {
  Random random(7);
  const std::int64_t n = 4096;
  for (DType type : {DType::bf16, DType::f16}) {
    Case c;
    MapSpec spec;
    spec.inner = {n};
    spec.inputs = {{DType::f32, {1}, 0, {}}};
    spec.outputs = {{type, {1}, 0, false}, {DType::f32, {1}, 0, false}};
    spec.program.registers = 2;
    MapInstruction load, round, store, store2;
    load.op = MapOpcode::load, load.result = 0, load.slot = 0;
    round.op = MapOpcode::round, round.result = 1, round.a = 0, round.type = type;
    store.op = MapOpcode::store, store.a = 0, store.slot = 0;
    store2.op = MapOpcode::store, store2.a = 1, store2.slot = 1;
    spec.program.code = {load, round, store, store2};
    c.spec = spec;
    c.inputs = {Buffer(DType::f32, n)};
    for (std::int64_t i = 0; i < n; ++i) {  // any bits at all, many near halfway cases
      std::uint32_t bits = static_cast<std::uint32_t>(random.bits());
      if (i % 3 == 0) bits = (bits & 0xffff0000u) | 0x8000u;
      if (i % 7 == 0) bits = (bits & 0xffffe000u) | 0x1000u;
      std::memcpy(static_cast<char*>(c.inputs[0].data()) + i * 4, &bits, 4);
    }
    c.outputs = {Buffer(type, n), Buffer(DType::f32, n)};
    c.target = reference_target();
    check(c, "rounding");
  }
}

}  // namespace
}  // namespace dsc::test
