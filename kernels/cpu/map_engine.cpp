#include "kernels/cpu/map_engine.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "compiler/support/check.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/vector_math.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

template <class F>
void each(float* dst, const float* a, int64_t count, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) dst[i] = f(a[i]);
}
template <class F>
void each2(float* dst, const float* a, const float* b, int64_t count, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) dst[i] = f(a[i], b[i]);
}
template <class F>
void each_left(float* dst, float a, const float* b, int64_t count, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) dst[i] = f(a, b[i]);
}
template <class F>
void each_right(float* dst, const float* a, float b, int64_t count, F f) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) dst[i] = f(a[i], b);
}

float identity_of(bool maximum) { return maximum ? -std::numeric_limits<float>::infinity() : 0.0f; }

void fold(float* into, const float* from, int64_t width, bool maximum) {
  if (maximum) each2(into, into, from, width, [](float a, float b) { return max_of(a, b); });
  else each2(into, into, from, width, [](float a, float b) { return a + b; });
}

}  // namespace

void Access::add(int64_t n, int64_t s, int64_t from, int64_t to) {
  from = from < 0 ? 0 : from;
  to = to > n ? n : to;
  const bool limited = from > 0 || to < n;
  if (n == 1 && !limited) return;
  if (!limited && dims > 0 && lo[dims - 1] == 0 && hi[dims - 1] == size[dims - 1] && stride[dims - 1] == s * n) {
    size[dims - 1] *= n, stride[dims - 1] = s, hi[dims - 1] = size[dims - 1];
    return;
  }
  DSC_CHECK(dims < max_dims, "an operand varies along too many dims");
  size[dims] = n, stride[dims] = s, lo[dims] = from, hi[dims] = to;
  windowed |= limited;
  ++dims;
}

MapEngine::MapEngine(const MapProgram& program, const MapRegisters& registers, const std::vector<MapInput>& inputs,
                     const std::vector<MapOutput>& outputs, int64_t register_floats, int64_t row_floats)
    : register_floats_(register_floats), row_floats_(row_floats), full_(registers.full), temporaries_(registers.temporaries) {
  DSC_CHECK(inputs.size() <= max_operands && outputs.size() <= max_operands, "a map has too many operands");
  int positions = 0, reductions = 0;
  auto operand = [&](int r) {
    MapOperand out;
    if (r < 0) return out;
    out.name = r;
    out.kind = registers.kind[static_cast<std::size_t>(r)];
    out.place = registers.place[static_cast<std::size_t>(r)];
    if (out.kind == RegisterKind::constant)
      out.number = static_cast<float>(program.code[static_cast<std::size_t>(out.place)].number);
    return out;
  };
  for (const MapInstruction& in : program.code) {
    if (in.op == MapOpcode::constant) continue;
    MapStep step;
    step.op = in.op, step.slot = in.slot, step.type = in.type;
    step.a = operand(in.a), step.b = operand(in.b), step.c = operand(in.c);
    if (in.result >= 0) {
      step.result = in.result;
      step.kind = registers.kind[static_cast<std::size_t>(in.result)];
      step.place = registers.place[static_cast<std::size_t>(in.result)];
    }
    if (in.op == MapOpcode::load) step.type = inputs[static_cast<std::size_t>(in.slot)].type;
    if (in.op == MapOpcode::store) {
      step.type = outputs[static_cast<std::size_t>(in.slot)].type;
      step.accumulate = outputs[static_cast<std::size_t>(in.slot)].accumulate;
    }
    if (in.op == MapOpcode::position) step.ordinal = positions++;
    if (in.op == MapOpcode::reduce_sum || in.op == MapOpcode::reduce_max) step.ordinal = reductions++;
    steps_.push_back(step);
  }
  DSC_CHECK(positions <= max_operands, "a map reads too many positions");
  cut_parts();
}

void MapEngine::cut_parts() {
  std::size_t operands = 0;
  for (std::size_t i = 0; i < steps_.size();) {
    Part part{i, i, {}};
    while (part.end < steps_.size() && strips_can(steps_[part.end])) ++part.end;
    if (part.end > i) part.strips = strip_code(steps_, i, part.end);
    else part.end = i + 1;
    if (part.strips) operands += part.strips->operands.size();
    i = part.end;
    parts_.push_back(std::move(part));
  }
  if (operands > max_operands) parts_.clear();
}

void MapEngine::work_on_tile() {
  const MapStep* load = nullptr;
  for (const MapStep& step : steps_) {
    const bool is_load = step.op == MapOpcode::load && step.slot == 0;
    if (is_load && (load != nullptr || step.kind != RegisterKind::full)) return;  // read twice, or by row
    if (is_load) load = &step;
  }
  if (load == nullptr) return;
  // Nothing may have been written there before the tile is read.
  for (const MapStep* step = steps_.data(); step != load; ++step)
    if (step->kind == RegisterKind::full && step->place == load->place) return;
  tile_place_ = load->place;
}

float* MapEngine::register_at(const Block& block, RegisterKind kind, int place) const {
  if (kind == RegisterKind::full && place == tile_place_ && block.tile != nullptr) return block.tile;
  if (kind == RegisterKind::full) return block.scratch + place * register_floats_;
  return block.scratch + (full_ + temporaries_) * register_floats_ + place * row_floats_;
}

const float* MapEngine::spread(const Block& block, const MapOperand& operand, RegisterKind kind, int index) const {
  if (operand.kind == kind) return register_at(block, kind, operand.place);
  float* out = block.scratch + (full_ + index) * register_floats_;
  const int64_t rows = block.rows, columns = kind == RegisterKind::full ? block.columns : 1;
  if (operand.kind == RegisterKind::constant) {
    each(out, out, padded(rows * columns), [v = operand.number](float) { return v; });
    return out;
  }
  const float* row = register_at(block, RegisterKind::row, operand.place);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) out[r * columns + c] = row[r];
  return out;
}

void MapEngine::load(const MapStep& step, const Block& block) const {
  const BlockOperand& in = block.inputs[step.slot];
  float* dst = register_at(block, step.kind, step.place);
  const bool full = step.kind == RegisterKind::full;
  const int64_t first = full ? block.first : block.first_row, count = full ? block.rows * block.columns : block.rows;
  if (in.outside) {
    std::memset(dst, 0, static_cast<std::size_t>(count) * 4);
    return;
  }
  walk(full ? *in.full : *in.row, first, count, [&](int64_t done, int64_t run, int64_t offset, int64_t stride, bool inside) {
    if (inside) load_run(step.type, element(in.base, step.type, offset), stride, run, dst + done);
    else std::memset(dst + done, 0, static_cast<std::size_t>(run) * 4);
  });
}

void MapEngine::position(const MapStep& step, const Block& block) const {
  const BlockOperand& in = block.positions[step.ordinal];
  const int64_t start = in.start;
  float* dst = register_at(block, step.kind, step.place);
  const bool full = step.kind == RegisterKind::full;
  walk(full ? *in.full : *in.row, full ? block.first : block.first_row, full ? block.rows * block.columns : block.rows,
       [&](int64_t done, int64_t run, int64_t offset, int64_t stride, bool) {
         for (int64_t i = 0; i < run; ++i) dst[done + i] = static_cast<float>(start + offset + i * stride);
       });
}

void MapEngine::store(const MapStep& step, const Block& block) const {
  const BlockOperand& out = block.outputs[step.slot];
  if (out.outside) return;
  // A value that does not vary along a row is spread where the output does, or else stored once a row.
  const RegisterKind kind = out.full != nullptr ? RegisterKind::full : RegisterKind::row;
  const float* src = spread(block, step.a, kind, 0);
  const bool full = kind == RegisterKind::full;
  walk(full ? *out.full : *out.row, full ? block.first : block.first_row, full ? block.rows * block.columns : block.rows,
       [&](int64_t done, int64_t run, int64_t offset, int64_t stride, bool inside) {
         if (!inside) return;
         if (step.accumulate) add_run(static_cast<float*>(out.base) + offset, stride, run, src + done);
         else if (streams_) stream_run(step.type, element(out.base, step.type, offset), stride, run, src + done);
         else store_run(step.type, element(out.base, step.type, offset), stride, run, src + done);
       });
}

void MapEngine::unary(const MapStep& step, const Block& block) const {
  float* dst = register_at(block, step.kind, step.place);
  const float* a = spread(block, step.a, step.kind, 0);
  const int64_t n = padded(step.kind == RegisterKind::full ? block.rows * block.columns : block.rows);
  switch (step.op) {
    case MapOpcode::negate: each(dst, a, n, [](float x) { return -x; }); return;
    case MapOpcode::absolute: each(dst, a, n, [](float x) { return std::fabs(x); }); return;
    case MapOpcode::sqrt: each(dst, a, n, [](float x) { return std::sqrt(x); }); return;
    case MapOpcode::rsqrt: each(dst, a, n, [](float x) { return 1.0f / std::sqrt(x); }); return;
    case MapOpcode::exp: exp_run(dst, a, n); return;
    case MapOpcode::log: log_run(dst, a, n); return;
    case MapOpcode::tanh: tanh_run(dst, a, n); return;
    case MapOpcode::erf: erf_run(dst, a, n); return;
    case MapOpcode::sin: sin_run(dst, a, n); return;
    case MapOpcode::cos: cos_run(dst, a, n); return;
    case MapOpcode::sigmoid:
      each(dst, a, n, [](float x) { return -x; });
      exp_run(dst, dst, n);
      each(dst, dst, n, [](float x) { return 1.0f / (1.0f + x); });
      return;
    case MapOpcode::round: round_run(step.type, dst, a, n); return;
    default: DSC_CHECK(false, "not an operation of one operand");
  }
}

namespace {

// One operation over a block, each operand a full register, a row register (one value a row) or a constant.
template <class F>
void apply(float* dst, RegisterKind kind, const float* a, RegisterKind a_kind, float a_number, const float* b, RegisterKind b_kind,
           float b_number, int64_t rows, int64_t columns, F f) {
  const RegisterKind constant = RegisterKind::constant;
  if (a_kind == constant && b_kind == constant) {
    each(dst, dst, padded(kind == RegisterKind::full ? rows * columns : rows), [v = f(a_number, b_number)](float) { return v; });
  } else if (kind == RegisterKind::row || (a_kind != RegisterKind::row && b_kind != RegisterKind::row)) {
    const int64_t n = padded(kind == RegisterKind::full ? rows * columns : rows);
    if (a_kind == constant) each_left(dst, a_number, b, n, f);
    else if (b_kind == constant) each_right(dst, a, b_number, n, f);
    else each2(dst, a, b, n, f);
  } else if (a_kind == RegisterKind::row) {
    for (int64_t r = 0; r < rows; ++r) each_left(dst + r * columns, a[r], b + r * columns, columns, f);
  } else {
    for (int64_t r = 0; r < rows; ++r) each_right(dst + r * columns, a + r * columns, b[r], columns, f);
  }
}

}  // namespace

void MapEngine::binary(const MapStep& step, const Block& block) const {
  float* dst = register_at(block, step.kind, step.place);
  const float* a = step.a.kind == RegisterKind::constant ? nullptr : register_at(block, step.a.kind, step.a.place);
  const float* b = step.b.kind == RegisterKind::constant ? nullptr : register_at(block, step.b.kind, step.b.place);
  auto go = [&](auto f) {
    apply(dst, step.kind, a, step.a.kind, step.a.number, b, step.b.kind, step.b.number, block.rows, block.columns, f);
  };
  switch (step.op) {
    case MapOpcode::add: go([](float x, float y) { return x + y; }); return;
    case MapOpcode::subtract: go([](float x, float y) { return x - y; }); return;
    case MapOpcode::multiply: go([](float x, float y) { return x * y; }); return;
    case MapOpcode::divide: go([](float x, float y) { return x / y; }); return;
    case MapOpcode::maximum: go([](float x, float y) { return max_of(x, y); }); return;
    case MapOpcode::minimum: go([](float x, float y) { return min_of(x, y); }); return;
    case MapOpcode::less: go([](float x, float y) { return x < y ? 1.0f : 0.0f; }); return;
    case MapOpcode::less_equal: go([](float x, float y) { return x <= y ? 1.0f : 0.0f; }); return;
    case MapOpcode::greater: go([](float x, float y) { return x > y ? 1.0f : 0.0f; }); return;
    case MapOpcode::greater_equal: go([](float x, float y) { return x >= y ? 1.0f : 0.0f; }); return;
    case MapOpcode::equal: go([](float x, float y) { return x == y ? 1.0f : 0.0f; }); return;
    case MapOpcode::not_equal: go([](float x, float y) { return x != y ? 1.0f : 0.0f; }); return;
    case MapOpcode::power: {
      const int64_t n = padded(step.kind == RegisterKind::full ? block.rows * block.columns : block.rows);
      const float* x = spread(block, step.a, step.kind, 0);
      // Small whole constant exponents are products, wherever they stand.
      if (step.b.kind == RegisterKind::constant && step.b.number == 1.0f) { if (dst != x) each(dst, x, n, [](float v) { return v; }); return; }
      if (step.b.kind == RegisterKind::constant && step.b.number == 2.0f) return each(dst, x, n, [](float v) { return v * v; });
      if (step.b.kind == RegisterKind::constant && step.b.number == 3.0f) return each(dst, x, n, [](float v) { return v * v * v; });
      return pow_run(dst, x, spread(block, step.b, step.kind, 1), n);
    }
    default: DSC_CHECK(false, "not an operation of two operands");
  }
}

void MapEngine::select(const MapStep& step, const Block& block) const {
  float* dst = register_at(block, step.kind, step.place);
  const float* p = spread(block, step.a, step.kind, 0);
  const float* x = spread(block, step.b, step.kind, 1);
  const float* y = spread(block, step.c, step.kind, 2);
  const int64_t n = padded(step.kind == RegisterKind::full ? block.rows * block.columns : block.rows);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float yes = x[i], no = y[i];
    dst[i] = p[i] != 0.0f ? yes : no;
  }
}

void MapEngine::inner(const MapStep& step, const Block& block) const {
  float* dst = register_at(block, RegisterKind::row, step.place);
  const float* a = spread(block, step.a, RegisterKind::full, 0);
  for (int64_t r = 0; r < block.rows; ++r)
    dst[r] = step.op == MapOpcode::inner_sum ? lane_sum(a + r * block.columns, block.columns) : lane_max(a + r * block.columns, block.columns);
}

void begin_accumulator(Accumulator& accumulator, int64_t width, bool maximum) {
  const float identity = identity_of(maximum);
  for (int64_t i = 0; i < padded(width); ++i) accumulator.low[i] = accumulator.high[i] = identity;
}

void end_accumulator(Accumulator& accumulator, int64_t width, bool maximum) {
  fold(accumulator.high, accumulator.low, width, maximum);
}

namespace {

void move_up(Accumulator& accumulator, int64_t width, bool maximum) {
  fold(accumulator.high, accumulator.low, width, maximum);
  for (int64_t i = 0; i < width; ++i) accumulator.low[i] = identity_of(maximum);
}

}  // namespace

// Row by row, in order; after every map_reduction_rows of the chunk the low level moves into the high one. The same for a
// value by column and for one a row, however the rows are cut into blocks.
void MapEngine::reduce(const MapStep& step, Block& block) const {
  Accumulator& accumulator = block.accumulators[step.ordinal];
  const bool maximum = step.op == MapOpcode::reduce_max, scalar = accumulator.scalar;
  const int64_t width = scalar ? 1 : block.columns;
  const float* a = scalar && step.a.kind != RegisterKind::full ? spread(block, step.a, RegisterKind::row, 0)
                                                               : spread(block, step.a, RegisterKind::full, 0);
  for (int64_t r = 0; r < block.rows; ++r) {
    if (scalar) accumulator.low[0] = maximum ? max_of(accumulator.low[0], a[r]) : accumulator.low[0] + a[r];
    else fold(accumulator.low, a + r * width, width, maximum);
    if ((block.chunk_row + r + 1) % map_reduction_rows != 0) continue;
    move_up(accumulator, width, maximum);
  }
}

void MapEngine::whole(const MapStep& step, Block& block) const {
  switch (step.op) {
    case MapOpcode::load:
      if (step.slot != 0 || tile_place_ < 0 || block.tile == nullptr) load(step, block);
      break;
    case MapOpcode::position: position(step, block); break;
    case MapOpcode::store: store(step, block); break;
    case MapOpcode::select: select(step, block); break;
    case MapOpcode::inner_sum: case MapOpcode::inner_max: inner(step, block); break;
    case MapOpcode::reduce_sum: case MapOpcode::reduce_max: reduce(step, block); break;
    case MapOpcode::negate: case MapOpcode::exp: case MapOpcode::log: case MapOpcode::sqrt: case MapOpcode::rsqrt:
    case MapOpcode::tanh: case MapOpcode::sigmoid: case MapOpcode::erf: case MapOpcode::sin: case MapOpcode::cos:
    case MapOpcode::absolute: case MapOpcode::round: unary(step, block); break;
    case MapOpcode::constant: break;
    default: binary(step, block);
  }
}

// Where an operand of the block lies over its rows and columns, if each row lies in one piece.
bool MapEngine::place(const StripOperand& operand, const Block& block, StripPlace& out) const {
  using Kind = StripOperand::Kind;
  const auto register_place = [&](RegisterKind kind) { return reinterpret_cast<char*>(register_at(block, kind, operand.index)); };
  if (operand.kind == Kind::full) out = {register_place(RegisterKind::full), block.columns * 4, strip_piece * 4};
  if (operand.kind == Kind::row) out = {register_place(RegisterKind::row), 4, 0};
  if (operand.kind == Kind::sums) out = {reinterpret_cast<char*>(block.accumulators[operand.index].low), 0, strip_piece * 4};
  if (operand.kind != Kind::input && operand.kind != Kind::output) return true;
  const BlockOperand& at = operand.kind == Kind::input ? block.inputs[operand.index] : block.outputs[operand.index];
  if (at.outside || at.full == nullptr || at.full->windowed || at.full->dims == 0) return false;
  if (operand.type != DType::f32 && operand.type != DType::bf16) return false;
  const Access& access = *at.full;
  const int last = access.dims - 1;
  int64_t offset = 0, rest = block.first, inner = 0, outer = 0;  // indices along the last two dims
  for (int d = last; d >= 0; --d) {
    const int64_t index = d > 0 ? rest % access.size[d] : rest;
    if (d > 0) rest /= access.size[d];
    offset += index * access.stride[d];
    if (d == last) inner = index;
    if (d == last - 1) outer = index;
  }
  if (access.stride[last] != 1) return false;
  const int64_t bytes = size_of(operand.type);
  int64_t row = block.columns;
  if (inner + block.rows * block.columns > access.size[last]) {
    if (last == 0 || inner != 0 || access.size[last] != block.columns || outer + block.rows > access.size[last - 1]) return false;
    row = access.stride[last - 1];
  }
  out = {static_cast<char*>(element(at.base, operand.type, offset)), row * bytes, strip_piece * bytes};
  return true;
}

// False where some operand does not lie by rows: nothing is done then.
bool MapEngine::run_parts(Block& block) const {
  if (block.columns % strip_piece != 0 || parts_.empty()) return false;
  StripPlace places[max_operands];
  StripPlace* at = places;
  for (const Part& part : parts_) {
    if (!part.strips) continue;
    for (const StripOperand& operand : part.strips->operands)
      if (!place(operand, block, *at++)) return false;
  }
  at = places;
  for (const Part& part : parts_) {
    if (part.strips) {
      run_strips(*part.strips, at, block.rows, block.columns, streams_);
      at += part.strips->operands.size();
      // A block ends where rows move up, or before (MapShape::row_block).
      if ((block.chunk_row + block.rows) % map_reduction_rows != 0) continue;
      for (const StripOperand& operand : part.strips->operands)
        if (operand.kind == StripOperand::Kind::sums) move_up(block.accumulators[operand.index], block.columns, false);
    } else {
      for (std::size_t i = part.first; i < part.end; ++i) whole(steps_[i], block);
    }
  }
  return true;
}

void MapEngine::run(Block& block) const {
  if (run_parts(block)) return;
  for (const MapStep& step : steps_) whole(step, block);
}

}  // namespace dsc::cpu
