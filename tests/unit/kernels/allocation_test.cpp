// While kernels run nothing allocates, LIBXSMM and the vector library included: malloc and its kin are counted.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>

#include "tests/unit/kernels/harness.h"

extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
}

namespace {
std::atomic<long> allocations{0};
}

extern "C" {
void* malloc(std::size_t size) noexcept { ++allocations; return __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) noexcept { ++allocations; return __libc_calloc(count, size); }
void* realloc(void* p, std::size_t size) noexcept { ++allocations; return __libc_realloc(p, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept { ++allocations; return __libc_memalign(alignment, size); }
void* memalign(std::size_t alignment, std::size_t size) noexcept { ++allocations; return __libc_memalign(alignment, size); }
int posix_memalign(void** out, std::size_t alignment, std::size_t size) noexcept {
  ++allocations;
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? 12 : 0;
}
}

namespace dsc::test {
namespace {

void expect_no_allocation(Case c, const char* what) {
  const Workspace plan = workspace_of(c.spec, c.target);
  std::vector<std::byte> workspace(static_cast<std::size_t>(plan.total().value + 64));
  Bindings bindings = bind(c, c.outputs);
  void* at = workspace.data();
  std::size_t space = workspace.size();
  bindings.workspace = std::align(64, static_cast<std::size_t>(plan.total().value), at, space);
  auto kernel = prepare(c.spec, bindings, c.target);
  const long before = allocations;
  for (int phase = 0; phase < (*kernel)->phases(); ++phase)
    for (int tile = 0; tile < (*kernel)->tiles(phase); ++tile) (*kernel)->run(phase, tile, 0);
  EXPECT_EQ(allocations - before, 0) << what;
}

TEST(Allocation, TheCounterCounts) {
  const long before = allocations;
  void* volatile p = std::malloc(64);
  std::free(p);
  EXPECT_GT(allocations, before);
}

TEST(Allocation, NoKernelAllocatesWhileItRuns) {
  Random random(1);
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    const std::int64_t rows = 100, width = 48, entries = 77;
    MapInstruction load, store;
    load.op = MapOpcode::load, load.result = 0, load.slot = 0;
    store.op = MapOpcode::store, store.a = 0, store.slot = 0;

    Case product;
    ProductSpec p;
    p.m = rows, p.n = entries, p.k = width, p.a_type = p.b_type = type;
    p.a_m = width, p.a_k = 1, p.b_k = 1, p.b_n = width;
    p.epilogue.registers = 1, p.epilogue.code = {load, store};
    p.inputs.resize(1);
    p.inputs[0].strides = {0, 0};
    p.outputs = {{type, {entries, 1}, 0, false}};
    product.spec = p, product.target = cpu_target();
    product.inputs = {Buffer(type, rows * width), Buffer(type, entries * width)};
    product.outputs = {Buffer(type, rows * entries)};
    expect_no_allocation(product, "product");

    Case map;
    MapSpec m;
    m.outer = {rows}, m.reduced = {true}, m.inner = {width};
    m.inputs = {{type, {width, 1}, 0, {}}};
    m.outputs = {{DType::f32, {width, 1}, 0, false}, {DType::f32, {0, 1}, 0, false}};
    m.program.registers = 3;
    MapInstruction exp = load, sum = load, reduce = store;
    exp.op = MapOpcode::exp, exp.result = 1, exp.a = 0;
    sum.op = MapOpcode::inner_sum, sum.result = 2, sum.a = 1;
    store.a = 2, reduce.op = MapOpcode::reduce_sum, reduce.a = 1, reduce.slot = 1;
    m.program.code = {load, exp, sum, store, reduce};
    map.spec = m, map.target = reference_target();
    map.inputs = {Buffer(type, rows * width)};
    map.inputs[0].fill(random, -100, 100);
    map.outputs = {Buffer(DType::f32, rows * width), Buffer(DType::f32, width)};
    expect_no_allocation(map, "map");

    AttendSpec a;
    a.length = rows, a.qk_size = a.v_size = width;
    a.q_along = a.k_along = a.v_along = a.out_along = width;
    a.type = a.out_type = type;
    Case forward, backward;
    const Buffer x(type, rows * width);
    forward.spec = AttendForwardSpec{a}, forward.target = cpu_target();
    forward.inputs = {x, x, x};
    forward.outputs = {x, Buffer(DType::f32, rows)};
    expect_no_allocation(forward, "attend_forward");
    backward.spec = AttendBackwardSpec{a, type}, backward.target = cpu_target();
    backward.inputs = {x, x, x, x, Buffer(DType::f32, rows), x};
    backward.outputs = {x, x, x};
    expect_no_allocation(backward, "attend_backward");

    Case classifier;
    ClassifierSpec k;
    k.rows = rows, k.entries = entries, k.width = width, k.rows_per_chunk = 33, k.entry_stride = width;
    k.h_type = k.w_type = k.dh_type = type, k.backward = true;
    classifier.spec = k, classifier.target = cpu_target();
    classifier.inputs = {x, Buffer(type, entries * width), Buffer(DType::i32, rows), Buffer(DType::f32, 1)};
    classifier.outputs = {Buffer(DType::f32, 1), x, Buffer(DType::f32, entries * width)};
    expect_no_allocation(classifier, "classifier");

    Case entropy;
    CrossEntropySpec e;
    e.rows = rows, e.entries = width, e.x_type = e.dx_type = type, e.backward = true;
    entropy.spec = e, entropy.target = reference_target();
    entropy.inputs = {x, Buffer(DType::i32, rows), Buffer(DType::f32, 1)};
    entropy.outputs = {Buffer(DType::f32, 1), x};
    expect_no_allocation(entropy, "cross_entropy");

    Case lookup, lookup_backward, rotate;
    LookupSpec l;
    l.rows = rows, l.entries = entries, l.width = width, l.entry_stride = width, l.table_type = l.out_type = type;
    lookup.spec = l, lookup.target = reference_target();
    lookup.inputs = {Buffer(type, entries * width), Buffer(DType::i32, rows)};
    lookup.outputs = {x};
    expect_no_allocation(lookup, "lookup");
    LookupBackwardSpec lb;
    lb.rows = rows, lb.entries = entries, lb.width = width, lb.entry_stride = width, lb.dout_type = type;
    lookup_backward.spec = lb, lookup_backward.target = reference_target();
    lookup_backward.inputs = {x, Buffer(DType::i32, rows)};
    lookup_backward.outputs = {Buffer(DType::f32, entries * width)};
    expect_no_allocation(lookup_backward, "lookup_backward");
    RotateSpec r;
    r.sizes = {rows, width}, r.x_strides = {width, 1}, r.along = 0, r.pairs = 1, r.x_type = r.out_type = type;
    rotate.spec = r, rotate.target = reference_target();
    rotate.inputs = {x};
    rotate.outputs = {x};
    expect_no_allocation(rotate, "rotate");
  }
  TrainSpec train;
  train.steps = 10;
  StateBlock state = initial_state(train);
  state.applied = 1;
  Case update, control, begin, squares, loss;
  const Buffer f(DType::f32, 500), block(DType::u8, sizeof(StateBlock)), table(DType::f64, 4);
  update.spec = UpdateSpec{500, true, DType::bf16}, update.train = &train, update.target = reference_target();
  update.inputs = {f, block};
  std::memcpy(update.inputs[1].data(), &state, sizeof state);
  update.outputs = {f, f, f, Buffer(DType::bf16, 500)};
  expect_no_allocation(update, "update");
  control.spec = ControlSpec{2, 2, 1, 1}, control.train = &train, control.target = reference_target();
  control.inputs = {table, table};
  control.outputs = {block};
  expect_no_allocation(control, "control");
  begin.spec = BeginStepSpec{}, begin.train = &train, begin.target = reference_target();
  begin.outputs = {block};
  expect_no_allocation(begin, "begin_step");
  squares.spec = SquareSumSpec{2, 250, 0, 1}, squares.target = reference_target();
  squares.inputs = {f};
  squares.outputs = {table};
  expect_no_allocation(squares, "square_sum");
  loss.spec = AddLossSpec{true}, loss.target = reference_target();
  loss.inputs = {Buffer(DType::f32, 1)};
  loss.outputs = {table};
  expect_no_allocation(loss, "add_loss");
}

}  // namespace
}  // namespace dsc::test
