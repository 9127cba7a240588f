// Elementwise steps of a map program on strips of a block: a strip's values stay in vector registers from one step to the next, and
// are kept in memory only where a later step wants them.
// In: the steps of a program between two that need a whole block (strip_code); where each operand lies (run_strips). Out: what they
// keep and store. Every element has the arithmetic that MapEngine's whole-block steps give it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "compiler/support/kernel_shape.h"
#include "compiler/support/kernel_spec.h"
#include "kernels/cpu/vector.h"

namespace dsc::cpu {

// A register of a program as the engine sees it.
struct MapOperand {
  RegisterKind kind = RegisterKind::constant;
  int place = 0, name = -1;  // name: of the virtual register
  float number = 0;
};
struct MapStep {
  MapOpcode op = MapOpcode::constant;
  RegisterKind kind = RegisterKind::constant;
  int place = 0, result = -1, slot = -1, ordinal = 0;  // ordinal: of positions and of reductions
  MapOperand a, b, c;
  DType type = DType::f32;
  bool accumulate = false;
};

// What a step does with x, the values at hand, and y, its operand.
enum class StripOp : std::uint8_t {
  take,  // x = y
  add, subtract, multiply, divide, maximum, minimum,
  subtract_from, divide_into,  // y - x, y / x
  negate, absolute, sqrt, rsqrt, exp, log, tanh, erf, sigmoid, round_bf16,
  keep,                        // operand = x, where a later step finds it
  store, add_into              // an output; add_into also the sums of columns
};
enum class StripSource : std::uint8_t { none, self, spread, f32, bf16 };  // spread: one value a row

struct StripOperand {
  enum class Kind : std::uint8_t { input, output, full, row, constant, local, sums };  // sums: of columns, by reduction
  Kind kind = Kind::constant;
  int index = 0;  // slot; place of a register; which local; which reduction
  DType type = DType::f32;
  float number = 0;
};
struct StripStep {
  StripOp op = StripOp::take;
  StripSource source = StripSource::none;
  int operand = -1;  // of StripCode::operands
};
struct StripCode {
  std::vector<StripStep> steps;
  std::vector<StripOperand> operands;
};

constexpr std::int64_t strip_piece = 4 * lanes;             // elements, of one row
constexpr std::int64_t strip_pieces = lanes == 16 ? 4 : 2;  // of a strip: half of the vector registers
constexpr int max_strip_operands = 24, max_strip_locals = 16;

// Whether a step can be part of a strip.
bool strips_can(const MapStep& step);
// Steps [first, end) of a program, all of which can; none where they have too many operands.
std::optional<StripCode> strip_code(const std::vector<MapStep>& steps, std::size_t first, std::size_t end);

// An operand over rows and columns: its first element, and the bytes from row to row and from one piece of a strip to the next.
struct StripPlace {
  char* base = nullptr;
  std::int64_t row = 0, piece = 0;
};
// columns: a multiple of strip_piece. places: by operand; locals and constants are placed by run_strips. streams: outputs go past
// the caches, where they lie on lines.
void run_strips(const StripCode& code, StripPlace* places, std::int64_t rows, std::int64_t columns, bool streams);

}  // namespace dsc::cpu
