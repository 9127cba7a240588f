#include "tests/unit/kernels/map_cases.h"

#include <algorithm>

namespace dsc::test {

std::vector<std::int64_t> random_strides(Random& random, const std::vector<std::int64_t>& sizes, const std::vector<bool>& varies,
                                         bool keep_order, std::int64_t* elements) {
  std::vector<std::size_t> order;
  for (std::size_t d = 0; d < sizes.size(); ++d)
    if (varies[d]) order.push_back(d);
  if (!keep_order)
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
  std::vector<std::int64_t> strides(sizes.size(), 0);
  std::int64_t stride = 1;
  for (std::size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= sizes[order[i]];
    if (random.chance(0.1)) stride += random.below(5);  // rows padded
  }
  *elements = stride;
  return strides;
}

int ProgramMaker::emit(MapOpcode op, int a, int b, int c, int slot, bool exact, DType type) {
  MapInstruction in;
  in.op = op, in.a = a, in.b = b, in.c = c, in.slot = slot, in.type = type;
  const bool writes = op != MapOpcode::store && op != MapOpcode::reduce_sum && op != MapOpcode::reduce_max;
  if (writes) {
    in.result = program_.registers++;
    exact_.push_back(exact);
  }
  program_.code.push_back(in);
  return in.result;
}

int ProgramMaker::constant(double value) {
  const int reg = emit(MapOpcode::constant, -1, -1, -1, -1, true);
  program_.code.back().number = value;
  return reg;
}

int ProgramMaker::bounded(int reg) {
  const int one = constant(1), below = emit(MapOpcode::minimum, reg, one, -1, -1, exact(reg));
  const int minus = constant(-1);
  return emit(MapOpcode::maximum, below, minus, -1, -1, exact(reg));
}

void ProgramMaker::grow(int operations, bool inner) {
  for (int i = 0; i < operations; ++i) {
    const int a = any(), b = any();
    const bool both = exact(a) && exact(b);
    switch (random_.below(inner ? 16 : 14)) {
      case 0: emit(MapOpcode::add, a, b, -1, -1, both); break;
      case 1: emit(MapOpcode::subtract, a, b, -1, -1, both); break;
      case 2: emit(MapOpcode::multiply, bounded(a), b, -1, -1, both); break;
      case 3: {
        const int positive = emit(MapOpcode::absolute, b, -1, -1, -1, exact(b)), one = constant(1);
        emit(MapOpcode::divide, a, emit(MapOpcode::add, positive, one, -1, -1, exact(b)), -1, -1, both);
        break;
      }
      case 4: {
        const int base = emit(MapOpcode::absolute, bounded(a), -1, -1, -1, exact(a)), half = constant(0.5);
        const int shifted = emit(MapOpcode::add, base, half, -1, -1, exact(a));
        emit(MapOpcode::power, shifted, random_.chance(0.5) ? constant(random_.pick<double>({1, 2, 3, 1.7, -0.5})) : bounded(b), -1, -1, false);
        break;
      }
      case 5: emit(MapOpcode::negate, a, -1, -1, -1, exact(a)); break;
      case 6: emit(MapOpcode::exp, bounded(a), -1, -1, -1, false); break;
      case 7: emit(random_.pick<MapOpcode>({MapOpcode::tanh, MapOpcode::sigmoid, MapOpcode::erf, MapOpcode::sin, MapOpcode::cos}), a, -1, -1, -1, false); break;
      case 8: {
        const int positive = emit(MapOpcode::absolute, a, -1, -1, -1, exact(a)), tenth = constant(0.1);
        const int shifted = emit(MapOpcode::add, positive, tenth, -1, -1, exact(a));
        const MapOpcode op = random_.pick<MapOpcode>({MapOpcode::sqrt, MapOpcode::rsqrt, MapOpcode::log});
        emit(op, shifted, -1, -1, -1, exact(a) && op != MapOpcode::log);
        break;
      }
      case 9: emit(MapOpcode::maximum, a, b, -1, -1, both); break;
      case 10: emit(MapOpcode::minimum, a, b, -1, -1, both); break;
      case 11: {  // a comparison of inexact values could fall either way
        if (!both) { emit(MapOpcode::absolute, a, -1, -1, -1, exact(a)); break; }
        emit(random_.pick<MapOpcode>({MapOpcode::less, MapOpcode::less_equal, MapOpcode::greater, MapOpcode::greater_equal, MapOpcode::equal,
                                      MapOpcode::not_equal}), a, b, -1, -1, true);
        break;
      }
      case 12: {
        const int c = any();
        if (!exact(c)) { emit(MapOpcode::negate, a, -1, -1, -1, exact(a)); break; }
        emit(MapOpcode::select, emit(MapOpcode::greater, c, constant(0), -1, -1, true), a, b, -1, both);
        break;
      }
      case 13: {  // so could the rounding
        if (!exact(a)) { emit(MapOpcode::add, a, b, -1, -1, false); break; }
        emit(MapOpcode::round, a, -1, -1, -1, true, random_.pick<DType>({DType::bf16, DType::f16, DType::f32}));
        break;
      }
      case 14: emit(MapOpcode::inner_sum, bounded(a), -1, -1, -1, false); break;
      case 15: emit(MapOpcode::inner_max, a, -1, -1, -1, exact(a)); break;
    }
  }
}

}  // namespace dsc::test
