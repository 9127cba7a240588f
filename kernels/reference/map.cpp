#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "kernels/reference/pieces.h"

namespace dsc::reference {
namespace {

using std::int64_t;
using Index = std::vector<int64_t>;

bool next(Index& index, const std::vector<int64_t>& sizes) {
  for (std::size_t d = sizes.size(); d-- > 0;) {
    if (++index[d] < sizes[d]) return true;
    index[d] = 0;
  }
  return false;
}

int64_t offset_of(const Index& index, const std::vector<int64_t>& strides) {
  int64_t offset = 0;
  for (std::size_t d = 0; d < index.size(); ++d) offset += index[d] * strides[d];
  return offset;
}

bool inside(const Index& index, const std::vector<MapWindow>& windows) {
  for (std::size_t d = 0; d < windows.size(); ++d)
    if (index[d] < windows[d].lo || index[d] >= windows[d].hi) return false;
  return true;
}

float function(const MapInstruction& in, double a, double b, double c) {
  const float x = static_cast<float>(a), y = static_cast<float>(b);
  switch (in.op) {
    case MapOpcode::add: return x + y;
    case MapOpcode::subtract: return x - y;
    case MapOpcode::multiply: return x * y;
    case MapOpcode::divide: return x / y;
    case MapOpcode::power: return static_cast<float>(std::pow(a, b));
    case MapOpcode::negate: return -x;
    case MapOpcode::exp: return static_cast<float>(std::exp(a));
    case MapOpcode::log: return static_cast<float>(std::log(a));
    case MapOpcode::sqrt: return std::sqrt(x);
    case MapOpcode::rsqrt: return 1.0f / std::sqrt(x);
    case MapOpcode::tanh: return static_cast<float>(std::tanh(a));
    case MapOpcode::sigmoid: return static_cast<float>(1 / (1 + std::exp(-a)));
    case MapOpcode::erf: return static_cast<float>(std::erf(a));
    case MapOpcode::sin: return static_cast<float>(std::sin(a));
    case MapOpcode::cos: return static_cast<float>(std::cos(a));
    case MapOpcode::absolute: return std::fabs(x);
    case MapOpcode::maximum: return std::isnan(x) || std::isnan(y) ? x + y : std::max(x, y);
    case MapOpcode::minimum: return std::isnan(x) || std::isnan(y) ? x + y : std::min(x, y);
    case MapOpcode::less: return x < y;
    case MapOpcode::less_equal: return x <= y;
    case MapOpcode::greater: return x > y;
    case MapOpcode::greater_equal: return x >= y;
    case MapOpcode::equal: return x == y;
    case MapOpcode::not_equal: return x != y;
    case MapOpcode::select: return static_cast<float>(a != 0 ? b : c);
    case MapOpcode::round: return static_cast<float>(rounded(in.type, a));
    default: return 0;
  }
}

}  // namespace

void run_loop(const MapLoop& loop, const std::function<double(std::size_t, const Index&)>& load, const std::vector<void*>& outputs) {
  std::vector<int64_t> sizes = loop.outer;
  sizes.insert(sizes.end(), loop.inner.begin(), loop.inner.end());
  int64_t columns = 1;
  for (int64_t size : loop.inner) columns *= size;
  struct Sum { double value = 0; bool any = false; };
  std::vector<std::map<int64_t, Sum>> reduced(loop.outputs.size());
  Index outer(loop.outer.size(), 0);
  do {
    std::vector<std::vector<float>> registers(static_cast<std::size_t>(loop.program.registers), std::vector<float>(static_cast<std::size_t>(columns)));
    for (const MapInstruction& in : loop.program.code) {
      auto values = [&](int r) { return r < 0 ? std::vector<float>(static_cast<std::size_t>(columns)) : registers[static_cast<std::size_t>(r)]; };
      const std::vector<float> a = values(in.a), b = values(in.b), c = values(in.c);
      Index inner(loop.inner.size(), 0);
      std::size_t j = 0;
      double sum = 0, highest = -std::numeric_limits<double>::infinity();
      for (float x : a) sum += static_cast<double>(x), highest = std::max(highest, static_cast<double>(x));
      do {
        Index index = outer;
        index.insert(index.end(), inner.begin(), inner.end());
        float* to = in.result < 0 ? nullptr : &registers[static_cast<std::size_t>(in.result)][j];
        switch (in.op) {
          case MapOpcode::load: *to = static_cast<float>(load(static_cast<std::size_t>(in.slot), index)); break;
          case MapOpcode::constant: *to = static_cast<float>(in.number); break;
          case MapOpcode::position: *to = static_cast<float>(index[static_cast<std::size_t>(in.slot)]); break;
          case MapOpcode::inner_sum: *to = static_cast<float>(sum); break;
          case MapOpcode::inner_max: *to = static_cast<float>(highest); break;
          case MapOpcode::store: case MapOpcode::reduce_sum: case MapOpcode::reduce_max: {
            const MapOutput& out = loop.outputs[static_cast<std::size_t>(in.slot)];
            const int64_t at = out.offset + offset_of(index, out.strides);
            // Where the output does not vary, index 0 stands for all.
            bool first = true;
            for (std::size_t d = 0; d < index.size(); ++d) {
              const bool summed = in.op != MapOpcode::store && d < outer.size() && loop.reduced[d];
              if (out.strides[d] == 0 && index[d] > 0 && !summed) first = false;
            }
            if (!first) break;
            void* base = outputs[static_cast<std::size_t>(in.slot)];
            if (in.op == MapOpcode::store) {
              const float before = out.accumulate ? static_cast<float>(get(base, out.type, at)) : 0;
              set(base, out.type, at, out.accumulate ? before + a[j] : a[j]);
            } else {
              Sum& total = reduced[static_cast<std::size_t>(in.slot)][at];
              if (in.op == MapOpcode::reduce_sum) total.value += static_cast<double>(a[j]);
              else total.value = total.any ? std::max(total.value, static_cast<double>(a[j])) : static_cast<double>(a[j]);
              total.any = true;
            }
            break;
          }
          default: *to = function(in, a[j], b[j], c[j]);
        }
        ++j;
      } while (next(inner, loop.inner));
    }
  } while (next(outer, loop.outer));
  for (std::size_t o = 0; o < reduced.size(); ++o)
    for (const auto& [at, total] : reduced[o]) {
      const MapOutput& out = loop.outputs[o];
      const float sum = static_cast<float>(total.value);
      set(outputs[o], out.type, at, out.accumulate ? static_cast<float>(get(outputs[o], out.type, at)) + sum : sum);
    }
}

void run_map(const MapSpec& spec, const Bindings& bindings) {
  auto load = [&](std::size_t slot, const Index& index) {
    const MapInput& in = spec.inputs[slot];
    if (!inside(index, in.windows)) return 0.0;
    return get(bindings.inputs[slot], in.type, in.offset + offset_of(index, in.strides));
  };
  run_loop({spec.outer, spec.reduced, spec.inner, spec.program, spec.outputs}, load, bindings.outputs);
}

void run_product(const ProductSpec& spec, const Bindings& bindings) {
  MapLoop loop;
  for (const ProductDim& dim : spec.batch) loop.outer.push_back(dim.size);
  loop.outer.push_back(spec.m);
  loop.inner = {spec.n};
  loop.reduced.assign(loop.outer.size(), false);
  loop.program = spec.epilogue;
  loop.outputs = spec.outputs;
  auto load = [&](std::size_t slot, const Index& index) {
    if (slot > 0) {
      const MapInput& in = spec.inputs[slot];
      if (!inside(index, in.windows)) return 0.0;
      return get(bindings.inputs[slot + 1], in.type, in.offset + offset_of(index, in.strides));
    }
    int64_t a = spec.a_offset, b = spec.b_offset;
    for (std::size_t d = 0; d < spec.batch.size(); ++d) a += index[d] * spec.batch[d].a_stride, b += index[d] * spec.batch[d].b_stride;
    a += index[spec.batch.size()] * spec.a_m;
    b += index[spec.batch.size() + 1] * spec.b_n;
    double sum = 0;
    for (int64_t k = 0; k < spec.k; ++k)
      sum += get(bindings.inputs[0], spec.a_type, a + k * spec.a_k) * get(bindings.inputs[1], spec.b_type, b + k * spec.b_k);
    return sum;
  };
  run_loop(loop, load, bindings.outputs);
}

}  // namespace dsc::reference
