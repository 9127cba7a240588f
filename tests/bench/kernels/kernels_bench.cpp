// The rate of each kernel at the shapes of a GPT-2 of width 384 on 4096 tokens, by processor time of one thread: GFLOP/s of products and
// attention, GB/s or time of the rest. Usage: kernels_bench [FILTER]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <sys/mman.h>
#include <time.h>

#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace dsc {
namespace {

double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;

// In huge pages where there are any, as the arena.
Memory allocate(std::int64_t bytes) {
  constexpr std::size_t huge = std::size_t{2} << 20;
  const std::size_t size = (static_cast<std::size_t>(bytes) + huge) / huge * huge;
  void* p = std::aligned_alloc(huge, size);
  madvise(p, size, MADV_HUGEPAGE);
  std::memset(p, 0, static_cast<std::size_t>(bytes));
  return Memory(p);
}

struct Operand {
  DType type;
  std::int64_t elements;
};

class Bench {
 public:
  explicit Bench(std::string filter) : filter_(std::move(filter)), target_(cpu_target()) {
    std::printf("%s; bf16 products: %s\n", target_.fingerprint.c_str(), target_.bf16_products ? "yes" : "no");
  }

  void run(const std::string& name, const KernelSpec& spec, const std::vector<Operand>& inputs, const std::vector<Operand>& outputs,
           const TrainSpec* train = nullptr, std::int64_t moved_bytes = 0, const void* last_input = nullptr) {
    if (name.find(filter_) == std::string::npos) return;
    std::vector<Memory> memory;
    Bindings bindings;
    for (const Operand& in : inputs) {
      memory.push_back(allocate(in.elements * size_of(in.type)));
      bindings.inputs.push_back(memory.back().get());
      for (std::int64_t i = 0; i < in.elements; ++i)
        reference::set(memory.back().get(), in.type, i, in.type == DType::i32 ? static_cast<double>(i * 7 % 251) : static_cast<double>(i * 2654435761u % 1000) / 500.0 - 1);
    }
    if (last_input != nullptr) bindings.inputs.push_back(last_input);
    for (const Operand& out : outputs) {
      memory.push_back(allocate(out.elements * size_of(out.type)));
      bindings.outputs.push_back(memory.back().get());
    }
    const Workspace plan = workspace_of(spec, target_);
    memory.push_back(allocate(plan.total().value));
    bindings.workspace = memory.back().get();
    bindings.train = train;
    auto kernel = prepare(spec, bindings, target_);
    double best = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const double start = thread_seconds();
      for (int phase = 0; phase < (*kernel)->phases(); ++phase)
        for (int tile = 0; tile < (*kernel)->tiles(phase); ++tile) (*kernel)->run(phase, tile, 0);
      best = std::min(best, thread_seconds() - start);
    }
    const double flops = flops_of(spec);
    std::printf("%-44s %9.3f ms  ", name.c_str(), best * 1e3);
    if (flops > 0) std::printf("%7.1f GFLOP/s  ", flops / best * 1e-9);
    else if (moved_bytes > 0) std::printf("%7.1f GB/s     ", static_cast<double>(moved_bytes) / best * 1e-9);
    std::printf("workspace %.2f MB\n", static_cast<double>(plan.total().value) / 1e6);
  }

 private:
  std::string filter_;
  Target target_;
};

MapInstruction op(MapOpcode code, int result, int a = -1, int b = -1, int slot = -1, double number = 0) {
  MapInstruction in;
  in.op = code, in.result = result, in.a = a, in.b = b, in.slot = slot, in.number = number;
  return in;
}

ProductSpec product(std::int64_t m, std::int64_t n, std::int64_t k, DType type, DType out) {
  ProductSpec spec;
  spec.m = m, spec.n = n, spec.k = k, spec.a_type = spec.b_type = type;
  spec.a_m = k, spec.a_k = 1, spec.b_k = n, spec.b_n = 1;
  spec.epilogue.registers = 1;
  spec.epilogue.code = {op(MapOpcode::load, 0, -1, -1, 0), op(MapOpcode::store, -1, 0, -1, 0)};
  spec.inputs.resize(1);
  spec.inputs[0].strides = {0, 0};
  spec.outputs = {{out, {n, 1}, 0, false}};
  return spec;
}

void products(Bench& bench) {
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    const std::string t(name_of(type));
    for (const auto& [m, n, k] : {std::tuple<int, int, int>{4096, 384, 384}, {4096, 1536, 384}, {4096, 384, 1536}, {4096, 1152, 384}, {512, 384, 384}, {512, 384, 1536}}) {
      const std::string shape = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
      const std::int64_t M = m, N = n, K = k;
      bench.run("product " + t + " " + shape, product(M, N, K, type, type), {{type, M * K}, {type, N * K}}, {{type, M * N}});
      ProductSpec transposed = product(M, N, K, type, type);  // weights [n, k], as the input gradient reads them
      transposed.b_k = 1, transposed.b_n = K;
      bench.run("product " + t + " " + shape + " W^T", transposed, {{type, M * K}, {type, N * K}}, {{type, M * N}});
    }
    for (const auto& [m, n, k] : {std::tuple<int, int, int>{384, 384, 4096}, {384, 1536, 4096}, {1536, 384, 4096}, {384, 1536, 512}}) {
      const std::int64_t M = m, N = n, K = k;
      ProductSpec weight = product(M, N, K, type, DType::f32);
      weight.a_m = 1, weight.a_k = M;
      const std::string shape = std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k);
      bench.run("product " + t + " " + shape + " weight gradient", weight, {{type, M * K}, {type, N * K}}, {{DType::f32, M * N}});
      weight.outputs[0].accumulate = true;
      bench.run("product " + t + " " + shape + " accumulated", weight, {{type, M * K}, {type, N * K}}, {{DType::f32, M * N}});
    }
    // Bias, GELU (tanh), the argument stored too.
    ProductSpec gelu = product(4096, 1536, 384, type, type);
    gelu.inputs.push_back({type, {0, 1}, 0, {}});
    gelu.outputs.push_back(gelu.outputs[0]);
    MapInstruction round = op(MapOpcode::round, 3, 2);
    round.type = type;
    gelu.epilogue.registers = 15;
    gelu.epilogue.code = {op(MapOpcode::load, 0, -1, -1, 0), op(MapOpcode::load, 1, -1, -1, 1), op(MapOpcode::add, 2, 0, 1), round,
                          op(MapOpcode::store, -1, 3, -1, 1), op(MapOpcode::multiply, 4, 3, 3), op(MapOpcode::multiply, 5, 4, 3),
                          op(MapOpcode::constant, 6, -1, -1, -1, 0.044715), op(MapOpcode::multiply, 7, 5, 6), op(MapOpcode::add, 8, 3, 7),
                          op(MapOpcode::constant, 9, -1, -1, -1, 0.7978845608), op(MapOpcode::multiply, 10, 8, 9), op(MapOpcode::tanh, 11, 10),
                          op(MapOpcode::constant, 12, -1, -1, -1, 0.5), op(MapOpcode::multiply, 13, 11, 3), op(MapOpcode::multiply, 14, 13, 12),
                          op(MapOpcode::store, -1, 14, -1, 0)};
    bench.run("product " + t + " 4096x1536x384 bias gelu", gelu, {{type, 4096 * 384}, {type, 1536 * 384}, {type, 1536}}, {{type, 4096 * 1536}, {type, 4096 * 1536}});
  }
}

void attention(Bench& bench) {
  for (DType type : {DType::f32, DType::bf16}) {
    for (const auto& [length, heads, size] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{128, 4, 32}, {256, 6, 64}, {1024, 6, 64}}) {
      const std::int64_t batch = 4096 / length, width = heads * size;
      AttendSpec spec;
      spec.batch = {{batch, length * width, length * width, length * width, length * width, false}, {heads, size, size, size, size, false}};
      spec.length = length, spec.qk_size = spec.v_size = size;
      spec.q_along = spec.k_along = spec.v_along = spec.out_along = width;
      spec.scale = 0.125, spec.type = spec.out_type = type;
      const Operand x{type, 4096 * width}, statistics{DType::f32, batch * heads * length};
      const std::string name = std::string(name_of(type)) + " " + std::to_string(batch) + "x" + std::to_string(heads) + "x" + std::to_string(length) + "x" + std::to_string(size) + " causal";
      bench.run("attend_forward " + name, AttendForwardSpec{spec}, {x, x, x}, {x, statistics});
      bench.run("attend_backward " + name, AttendBackwardSpec{spec, type}, {x, x, x, x, statistics, x}, {x, x, x});
    }
  }
}

void rows(Bench& bench) {
  for (DType type : {DType::f32, DType::bf16}) {
    const std::string t(name_of(type));
    const std::int64_t rows = 4096, width = 384;
    for (std::int64_t entries : {256, 50257}) {
      ClassifierSpec c;
      c.rows = entries > 1000 ? 1024 : rows, c.entries = entries, c.width = width;
      c.rows_per_chunk = classifier_rows_per_chunk(c.rows, entries, cpu_target());
      c.entry_stride = width, c.h_type = c.w_type = c.dh_type = type, c.backward = true;
      c.scale = 1.0 / static_cast<double>(c.rows);
      bench.run("classifier " + t + " " + std::to_string(c.rows) + "x" + std::to_string(entries), c,
                {{type, c.rows * width}, {type, entries * width}, {DType::i32, c.rows}, {DType::f32, 1}},
                {{DType::f32, 1}, {type, c.rows * width}, {DType::f32, entries * width}});
    }
    MapSpec norm;  // layer norm: mean and variance by row, scale and shift
    norm.outer = {rows}, norm.reduced = {false}, norm.inner = {width};
    norm.inputs = {{type, {width, 1}, 0, {}}, {type, {0, 1}, 0, {}}, {type, {0, 1}, 0, {}}};
    norm.outputs = {{type, {width, 1}, 0, false}, {DType::f32, {1, 0}, 0, false}};
    norm.program.registers = 14;
    norm.program.code = {op(MapOpcode::load, 0, -1, -1, 0), op(MapOpcode::inner_sum, 1, 0), op(MapOpcode::constant, 2, -1, -1, -1, 1.0 / 384),
                         op(MapOpcode::multiply, 3, 1, 2), op(MapOpcode::subtract, 4, 0, 3), op(MapOpcode::multiply, 5, 4, 4),
                         op(MapOpcode::inner_sum, 6, 5), op(MapOpcode::multiply, 7, 6, 2), op(MapOpcode::rsqrt, 8, 7), op(MapOpcode::store, -1, 8, -1, 1),
                         op(MapOpcode::multiply, 9, 4, 8), op(MapOpcode::load, 10, -1, -1, 1), op(MapOpcode::multiply, 11, 9, 10),
                         op(MapOpcode::load, 12, -1, -1, 2), op(MapOpcode::add, 13, 11, 12), op(MapOpcode::store, -1, 13, -1, 0)};
    const std::int64_t norm_bytes = 2 * rows * width * size_of(type);
    bench.run("map " + t + " layer norm 4096x384", norm, {{type, rows * width}, {type, width}, {type, width}}, {{type, rows * width}, {DType::f32, rows}}, nullptr, norm_bytes);
    MapSpec back;  // its gradients: of the input, the scale and the shift
    back.outer = {rows}, back.reduced = {true}, back.inner = {width};
    back.inputs = {{type, {width, 1}, 0, {}}, {type, {width, 1}, 0, {}}, {type, {0, 1}, 0, {}}};
    back.outputs = {{DType::f32, {0, 1}, 0, false}, {DType::f32, {0, 1}, 0, false}, {type, {width, 1}, 0, false}};
    back.program.registers = 22;
    back.program.code = {op(MapOpcode::load, 0, -1, -1, 0), op(MapOpcode::reduce_sum, -1, 0, -1, 0), op(MapOpcode::load, 1, -1, -1, 1),
                         op(MapOpcode::inner_sum, 2, 1), op(MapOpcode::constant, 3, -1, -1, -1, 1.0 / 384), op(MapOpcode::multiply, 4, 2, 3),
                         op(MapOpcode::subtract, 5, 1, 4), op(MapOpcode::multiply, 6, 5, 5), op(MapOpcode::inner_sum, 7, 6), op(MapOpcode::multiply, 8, 7, 3),
                         op(MapOpcode::rsqrt, 9, 8), op(MapOpcode::multiply, 10, 5, 9), op(MapOpcode::multiply, 11, 0, 10), op(MapOpcode::reduce_sum, -1, 11, -1, 1),
                         op(MapOpcode::load, 12, -1, -1, 2), op(MapOpcode::multiply, 13, 0, 12), op(MapOpcode::inner_sum, 14, 13), op(MapOpcode::multiply, 15, 13, 10),
                         op(MapOpcode::inner_sum, 16, 15), op(MapOpcode::multiply, 17, 10, 16), op(MapOpcode::add, 18, 14, 17), op(MapOpcode::multiply, 19, 18, 3),
                         op(MapOpcode::subtract, 20, 13, 19), op(MapOpcode::multiply, 21, 20, 9), op(MapOpcode::store, -1, 21, -1, 2)};
    bench.run("map " + t + " layer norm backward 4096x384", back, {{type, rows * width}, {type, rows * width}, {type, width}},
              {{DType::f32, width}, {DType::f32, width}, {type, rows * width}}, nullptr, 3 * rows * width * size_of(type));
    MapSpec bias;  // the sum over rows that a bias's gradient is
    bias.outer = {rows}, bias.reduced = {true}, bias.inner = {width};
    bias.inputs = {{type, {width, 1}, 0, {}}};
    bias.outputs = {{DType::f32, {0, 1}, 0, false}};
    bias.program.registers = 1;
    bias.program.code = {op(MapOpcode::load, 0, -1, -1, 0), op(MapOpcode::reduce_sum, -1, 0, -1, 0)};
    bench.run("map " + t + " bias gradient 4096x384", bias, {{type, rows * width}}, {{DType::f32, width}}, nullptr, rows * width * size_of(type));
    MapSpec add;
    add.outer = {rows}, add.reduced = {false}, add.inner = {width};
    add.inputs = {{type, {width, 1}, 0, {}}, {type, {width, 1}, 0, {}}};
    add.outputs = {{type, {width, 1}, 0, false}};
    add.program.registers = 3;
    add.program.code = {op(MapOpcode::load, 0, -1, -1, 0), op(MapOpcode::load, 1, -1, -1, 1), op(MapOpcode::add, 2, 0, 1), op(MapOpcode::store, -1, 2, -1, 0)};
    bench.run("map " + t + " add 4096x384", add, {{type, rows * width}, {type, rows * width}}, {{type, rows * width}}, nullptr, 3 * rows * width * size_of(type));
    for (MapOpcode code : {MapOpcode::exp, MapOpcode::tanh, MapOpcode::erf, MapOpcode::sigmoid}) {
      MapSpec function = add;
      function.inputs.resize(1);
      function.program.code = {op(MapOpcode::load, 0, -1, -1, 0), op(code, 1, 0), op(MapOpcode::store, -1, 1, -1, 0)};
      bench.run("map " + t + " function " + std::to_string(static_cast<int>(code)), function, {{type, rows * width}}, {{type, rows * width}}, nullptr, 2 * rows * width * size_of(type));
    }
    LookupSpec lookup;
    lookup.rows = rows, lookup.entries = 256, lookup.width = width, lookup.entry_stride = width, lookup.table_type = lookup.out_type = type;
    bench.run("lookup " + t, lookup, {{type, 256 * width}, {DType::i32, rows}}, {{type, rows * width}}, nullptr, 2 * rows * width * size_of(type));
    LookupBackwardSpec lb;
    lb.rows = rows, lb.entries = 256, lb.width = width, lb.entry_stride = width, lb.dout_type = type;
    bench.run("lookup_backward " + t, lb, {{type, rows * width}, {DType::i32, rows}}, {{DType::f32, 256 * width}}, nullptr, rows * width * size_of(type));
  }
  TrainSpec train;
  train.steps = 10;
  StateBlock state = initial_state(train);
  state.applied = 1, state.factor = 1, state.learning_rate = 1e-3;
  const std::int64_t n = 1 << 20;
  bench.run("update adamw 1M", UpdateSpec{n, true, DType::bf16}, {{DType::f32, n}}, {{DType::f32, n}, {DType::f32, n}, {DType::f32, n}, {DType::bf16, n}}, &train, 30 * n, &state);
  bench.run("square_sum 1M", SquareSumSpec{1, n, 0, 1}, {{DType::f32, n}}, {{DType::f64, 1}}, nullptr, 4 * n);
}

}  // namespace
}  // namespace dsc

int main(int argc, char** argv) {
  dsc::Bench bench(argc > 1 ? argv[1] : "");
  dsc::products(bench);
  dsc::attention(bench);
  dsc::rows(bench);
}
