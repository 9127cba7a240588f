#include "kernels/cpu/strips.h"

#include <type_traits>
#include <utility>

#include "kernels/cpu/vector_math.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

// The operands of one strip: where each piece begins.
struct Pointers {
  char* at[max_strip_operands][strip_pieces];
};

// One strip of `vectors` vectors, four of each piece. All loops are over vectors and unrolled, so that x stays in
// registers.
template <int vectors>
struct Strip {
  Floats x[vectors];

  template <class F>
  [[gnu::always_inline]] void each(F f) {
    [&]<int... i>(std::integer_sequence<int, i...>) __attribute__((always_inline)) { (f(std::integral_constant<int, i>{}), ...); }
    (std::make_integer_sequence<int, vectors>{});
  }

  // x = f(x, y), y as the source says.
  template <class F>
  [[gnu::always_inline]] void with(StripSource source, const Pointers& p, int operand, F f) {
    switch (source) {
      case StripSource::self: each([&](auto i) __attribute__((always_inline)) { x[i] = f(x[i], x[i]); }); return;
      case StripSource::spread:
        each([&](auto i) __attribute__((always_inline)) { x[i] = f(x[i], broadcast(*reinterpret_cast<const float*>(p.at[operand][i / 4]))); });
        return;
      case StripSource::f32:
        each([&](auto i) __attribute__((always_inline)) {
          x[i] = f(x[i], load(reinterpret_cast<const float*>(p.at[operand][i / 4]) + i % 4 * lanes));
        });
        return;
      case StripSource::bf16:
        each([&](auto i) __attribute__((always_inline)) {
          x[i] = f(x[i], load_bf16(reinterpret_cast<const std::uint16_t*>(p.at[operand][i / 4]) + i % 4 * lanes));
        });
        return;
      case StripSource::none: return;
    }
  }

  template <class F>
  [[gnu::always_inline]] void apply(F f) {
    each([&](auto i) __attribute__((always_inline)) { x[i] = f(x[i]); });
  }

  // A function of glibc's, which leaves no register as it was.
  template <class F>
  [[gnu::always_inline]] void call(F f) {
    alignas(64) float values[vectors * lanes];
    each([&](auto i) __attribute__((always_inline)) { cpu::store(values + i * lanes, x[i]); });
    f(values);
    each([&](auto i) __attribute__((always_inline)) { x[i] = load(values + i * lanes); });
  }

  [[gnu::always_inline]] void store(DType type, bool streams, const Pointers& p, int to) {
    if (type == DType::bf16) {
      each([&](auto i) __attribute__((always_inline)) {
        if constexpr (i % 2 == 0) {
          char* at = p.at[to][i / 4] + i % 4 * lanes * 2;
          const Words two = upper_halves(round_bf16(x[i]), round_bf16(x[i + 1]));
          if (streams) stream_words(at, two);
          else store_words(at, two);
        }
      });
      return;
    }
    each([&](auto i) __attribute__((always_inline)) {
      float* at = reinterpret_cast<float*>(p.at[to][i / 4]) + i % 4 * lanes;
      if (streams) stream(at, x[i]);
      else cpu::store(at, x[i]);
    });
  }

  [[gnu::always_inline]] void step(const StripStep& step, const StripCode& code, const Pointers& p, bool streams) {
    const StripSource from = step.source;
    const int y = step.operand;
    switch (step.op) {
      case StripOp::take: with(from, p, y, [](Floats, Floats b) { return b; }); return;
      case StripOp::add: with(from, p, y, [](Floats a, Floats b) { return a + b; }); return;
      case StripOp::subtract: with(from, p, y, [](Floats a, Floats b) { return a - b; }); return;
      case StripOp::multiply: with(from, p, y, [](Floats a, Floats b) { return a * b; }); return;
      case StripOp::divide: with(from, p, y, [](Floats a, Floats b) { return a / b; }); return;
      case StripOp::maximum: with(from, p, y, [](Floats a, Floats b) { return larger(a, b); }); return;
      case StripOp::minimum: with(from, p, y, [](Floats a, Floats b) { return smaller(a, b); }); return;
      case StripOp::subtract_from: with(from, p, y, [](Floats a, Floats b) { return b - a; }); return;
      case StripOp::divide_into: with(from, p, y, [](Floats a, Floats b) { return b / a; }); return;
      case StripOp::negate: apply([](Floats a) { return -a; }); return;
      case StripOp::absolute: apply([](Floats a) { return magnitude(a); }); return;
      case StripOp::sqrt: apply([](Floats a) { return root(a); }); return;
      case StripOp::rsqrt: apply([](Floats a) { return broadcast(1.0f) / root(a); }); return;
      case StripOp::round_bf16: apply([](Floats a) { return as_floats(upper_half(round_bf16(a))); }); return;
      case StripOp::exp: call([](float* v) { exp_run(v, v, vectors * lanes); }); return;
      case StripOp::log: call([](float* v) { log_run(v, v, vectors * lanes); }); return;
      case StripOp::tanh: call([](float* v) { tanh_run(v, v, vectors * lanes); }); return;
      case StripOp::erf: call([](float* v) { erf_run(v, v, vectors * lanes); }); return;
      case StripOp::sigmoid:
        apply([](Floats a) { return -a; });
        call([](float* v) { exp_run(v, v, vectors * lanes); });
        apply([](Floats a) { return broadcast(1.0f) / (broadcast(1.0f) + a); });
        return;
      case StripOp::keep: store(DType::f32, false, p, y); return;
      case StripOp::store: store(code.operands[static_cast<std::size_t>(y)].type, streams, p, y); return;
      case StripOp::add_into:
        each([&](auto i) __attribute__((always_inline)) {
          float* at = reinterpret_cast<float*>(p.at[y][i / 4]) + i % 4 * lanes;
          cpu::store(at, load(at) + x[i]);
        });
        return;
    }
  }
};

template <int vectors>
void run_strip(const StripCode& code, const Pointers& p, bool streams) {
  Strip<vectors> strip;
  strip.apply([](Floats) { return broadcast(0.0f); });
  for (const StripStep& step : code.steps) strip.step(step, code, p, streams);
}

void run_pieces(int64_t pieces, const StripCode& code, const Pointers& p, bool streams) {
  switch (pieces) {
    case 1: run_strip<4>(code, p, streams); return;
    case 2: run_strip<8>(code, p, streams); return;
    case 3: if constexpr (strip_pieces > 2) run_strip<12>(code, p, streams); return;
    default: if constexpr (strip_pieces > 2) run_strip<16>(code, p, streams);
  }
}

// An input in memory, and from where on its pieces are wanted next.
void fetch_pieces(const char* next, int64_t apart, int64_t bytes) {
  // The strip after the next one: the next was fetched with the last.
  for (int64_t q = strip_pieces; q < 2 * strip_pieces; ++q)
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(next + q * apart + b, 0, 3);
}

}  // namespace

void run_strips(const StripCode& code, StripPlace* places, int64_t rows, int64_t columns, bool streams) {
  alignas(64) float locals[max_strip_locals][strip_pieces * strip_piece];
  float numbers[max_strip_operands];
  const std::size_t count = code.operands.size();
  for (std::size_t i = 0; i < count; ++i) {
    const StripOperand& operand = code.operands[i];
    if (operand.kind == StripOperand::Kind::constant) {
      numbers[i] = operand.number;
      places[i] = {reinterpret_cast<char*>(&numbers[i])};
    }
    if (operand.kind == StripOperand::Kind::local) places[i] = {reinterpret_cast<char*>(locals[operand.index])};
    if (operand.kind == StripOperand::Kind::output)
      streams &= (reinterpret_cast<std::uintptr_t>(places[i].base) | static_cast<std::uintptr_t>(places[i].row)) % 64 == 0;
  }
  const int64_t in_row = columns / strip_piece, pieces = rows * in_row;
  // Of each operand: where the next piece lies, and what lies between pieces of a row and between its last and the next row.
  char* next[max_strip_operands];
  int64_t step[max_strip_operands], turn[max_strip_operands];
  std::size_t inputs[max_strip_operands], input_count = 0;  // those that each row has of its own
  for (std::size_t i = 0; i < count; ++i) {
    next[i] = places[i].base;
    step[i] = places[i].piece;
    turn[i] = places[i].row - (in_row - 1) * places[i].piece;
    if (code.operands[i].kind == StripOperand::Kind::input && places[i].row != 0) inputs[input_count++] = i;
  }
  Pointers p;
  int64_t at_hand = 0;  // pieces of this strip
  for (int64_t done = 0, left = in_row; done < pieces; ++done) {
    const bool ends = --left == 0;
    for (std::size_t i = 0; i < count; ++i) {
      p.at[i][at_hand] = next[i];
      next[i] += ends ? turn[i] : step[i];
    }
    if (ends) left = in_row;
    if (++at_hand < strip_pieces && done + 1 < pieces) continue;
    for (std::size_t i = 0; i < count; ++i)
      if (code.operands[i].kind == StripOperand::Kind::local)
        for (int64_t q = 1; q < at_hand; ++q) p.at[i][q] = p.at[i][0] + q * strip_piece * 4;
    for (std::size_t j = 0; j < input_count; ++j)
      fetch_pieces(next[inputs[j]], in_row == 1 ? turn[inputs[j]] : step[inputs[j]], places[inputs[j]].piece);
    run_pieces(at_hand, code, p, streams);
    at_hand = 0;
  }
}

}  // namespace dsc::cpu
