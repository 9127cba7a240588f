// What one compute instruction does, flattened to sizes and strides of one rank: shared by the plan (which stores it),
// the kernels (which execute it) and the verifier (which checks it). Strides and offsets count elements of the operand's
// own type. Operands are given in the order that each spec documents; the instruction holds their places in the arena.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "compiler/support/dtype.h"
#include "compiler/support/model.h"

namespace dsc {

// What kernels keep on their stack: a plan with more is refused.
constexpr int max_dims = 12;              // of the loop over an operand
constexpr int max_operands = 64;          // inputs of a map, outputs, positions it reads
constexpr int max_epilogue_operands = 32; // the same of a product

// ---- The map: a fused chain of pointwise operations and reductions, as a small register program ----------------------
// Loop: outer dims (rows), each parallel or `reduced`, then inner dims. Every register holds one f32 per inner element
// of the current row (or one per row where it does not vary). All arithmetic is f32; booleans are 0 and 1.
enum class MapOpcode : std::uint8_t {
  load,       // result = inputs[slot], converted to f32; i32 too
  constant,   // result = number
  position,   // result = index along dim `slot` (outer dims first, then inner)
  add, subtract, multiply, divide, power, negate, exp, log, sqrt, rsqrt, tanh, sigmoid, erf, sin, cos, absolute,
  maximum, minimum, less, less_equal, greater, greater_equal, equal, not_equal,
  select,     // result = a != 0 ? b : c
  round,      // result = a rounded to `type`, nearest even
  inner_sum,  // result = sum over all inner elements, in a fixed order
  inner_max,
  store,      // outputs[slot] = a, converted (to nearest even) to the output's type; an output with inner strides 0 takes a
              // register that does not vary along the inner dims, once per row
  reduce_sum, // outputs[slot] = sum of a over the reduced outer dims, in a fixed order that depends on sizes alone
  reduce_max,
};

struct MapInstruction {
  MapOpcode op = MapOpcode::constant;
  int result = -1;            // register written, -1 for store and reduce
  int a = -1, b = -1, c = -1; // registers read
  int slot = -1;              // load, position, store, reduce
  double number = 0;          // constant
  bool per_row = false;       // constant, in the graph alone: the value is number / (rows of `batch` in one micro-batch of one
                              // rank); the lowering divides and clears it
  DType type = DType::f32;    // round
};

struct MapProgram {
  int registers = 0;
  std::vector<MapInstruction> code;  // single assignment: each register is written once
};

// Valid indices [lo, hi) along one dim; reads outside give 0.
struct MapWindow {
  std::int64_t lo = 0, hi = 0;
};

struct MapInput {
  DType type = DType::f32;
  std::vector<std::int64_t> strides;  // one per dim, outer then inner; 0 where it does not vary
  std::int64_t offset = 0;
  std::vector<MapWindow> windows;     // empty, or one per dim
};

struct MapOutput {
  DType type = DType::f32;
  std::vector<std::int64_t> strides;  // as above; a reduced output has 0 at reduced dims
  std::int64_t offset = 0;
  bool accumulate = false;            // f32: out = fl(out + value) instead of out = value
};

// inputs: as listed; outputs: as listed. workspace: partial results of reduce_*.
struct MapSpec {
  std::vector<std::int64_t> outer;  // sizes
  std::vector<bool> reduced;        // one per outer dim
  std::vector<std::int64_t> inner;  // sizes
  std::vector<MapInput> inputs;
  std::vector<MapOutput> outputs;
  MapProgram program;
};

// ---- Products ----------------------------------------------------------------------------------------------------------
// C[m, n] = sum over k of A[m, k] B[k, n] for every index of the batch dims, accumulated in f32; then the epilogue, a map
// over dims (batch..., m | n) whose input slot 0 is the accumulator tile (its MapInput is unused), slots 1.. are
// inputs[2..]; its outputs are the instruction's outputs. The epilogue has no inner_* and no reduce_* instruction.
// inputs: A, B, epilogue inputs...; workspace: packed operands.
struct ProductDim {
  std::int64_t size = 1, a_stride = 0, b_stride = 0;
};
struct ProductSpec {
  std::vector<ProductDim> batch;
  std::int64_t m = 1, n = 1, k = 1;
  DType a_type = DType::f32, b_type = DType::f32;
  std::int64_t a_m = 0, a_k = 0, a_offset = 0;  // strides of A
  std::int64_t b_k = 0, b_n = 0, b_offset = 0;  // strides of B
  MapProgram epilogue;
  std::vector<MapInput> inputs;    // [0] stands for the tile; strides over (batch..., m, n)
  std::vector<MapOutput> outputs;  // strides over (batch..., m, n)
};

// ---- Attention (FlashAttention, Dao et al. 2022; no seq x seq buffer) --------------------------------------------------
// Over every index of the batch dims: softmax(scale * q k^T + mask) v. A dim with k_stride 0 is a group of queries that
// share keys: backward adds dk and dv over it, in order. All arithmetic f32 from the operands' values.
struct AttendDim {
  std::int64_t size = 1, q_stride = 0, k_stride = 0, v_stride = 0, out_stride = 0;
  bool shared = false;  // k and v do not vary along it
};
struct AttendSpec {
  std::vector<AttendDim> batch;
  std::int64_t length = 1, qk_size = 1, v_size = 1;  // sizes of along, contract, v's own axis
  std::int64_t q_along = 0, k_along = 0, v_along = 0, out_along = 0;
  std::int64_t q_channel = 1, k_channel = 1, v_channel = 1, out_channel = 1;
  std::int64_t q_offset = 0, k_offset = 0, v_offset = 0;
  Mask mask = Mask::causal;
  std::int64_t window = 0;  // Mask::window: position i sees (i - window, i]
  double scale = 1;
  DType type = DType::f32;      // of q, k, v
  DType out_type = DType::f32;  // of out (forward) and of dout (backward)
};
// inputs: q, k, v. outputs: out (strides above), statistics f32 [batch dims..., length] contiguous: log-sum-exp per row.
struct AttendForwardSpec { AttendSpec attend; };
// inputs: q, k, v, out, statistics, dout (out's strides). outputs: dq, dk, dv, with the strides of q, k, v, offset 0, contiguous
// whole tensors of type gradient_type.
struct AttendBackwardSpec {
  AttendSpec attend;
  DType gradient_type = DType::f32;
};

// ---- Lookup ------------------------------------------------------------------------------------------------------------
// out[r, j] = table[ids[r], j]. inputs: table, ids (i32, contiguous). outputs: out, contiguous [rows, width].
struct LookupSpec {
  std::int64_t rows = 0, entries = 0, width = 0;
  std::int64_t entry_stride = 0, element_stride = 1, table_offset = 0;
  DType table_type = DType::f32, out_type = DType::f32;
};
// dtable[e, j] = sum over rows with ids[r] = e, in ascending r, of dout[r, j]; accumulate: fl(dtable + that sum).
// inputs: dout (contiguous [rows, width]), ids. outputs: dtable f32, strides as the table's; all of it is written.
struct LookupBackwardSpec {
  std::int64_t rows = 0, entries = 0, width = 0;
  std::int64_t entry_stride = 0, element_stride = 1;
  DType dout_type = DType::f32;
  bool accumulate = false;
};

// ---- Cross entropy -----------------------------------------------------------------------------------------------------
// loss = scale * (sum over rows with target >= 0 of log-sum-exp(x[r]) - x[r, target]); rows with target -1 count 0.
// inputs: x (contiguous [rows, entries]), targets i32 [rows], seed f32 scalar (backward only).
// outputs: loss f32 scalar; dx contiguous (backward only) = seed * scale * seed_factor * (softmax - one-hot), rounded to dx_type.
struct CrossEntropySpec {
  std::int64_t rows = 0, entries = 0;
  DType x_type = DType::f32, dx_type = DType::f32;
  double scale = 1;        // 1 / (targets in one micro-batch)
  double seed_factor = 1;  // constant factor of this term in the loss
  bool backward = false;
};
// The classifier: logits = h W^T (f32), then as above, in one pass chunked over rows; logits are never stored whole.
// inputs: h (contiguous [rows, width]), W (strides below), targets, seed (backward only).
// outputs: loss; with backward also dh (contiguous, dh_type), dW f32 (W's strides, all of it written). dlogits are rounded
// to h_type before the two backward products.
struct ClassifierSpec {
  std::int64_t rows = 0, entries = 0, width = 0, rows_per_chunk = 0;
  std::int64_t entry_stride = 0, element_stride = 1;  // of W
  DType h_type = DType::f32, w_type = DType::f32, dh_type = DType::f32;
  double scale = 1, seed_factor = 1;
  bool backward = false;
};

// ---- Rotary positions (Su et al. 2021; half-split as in Hugging Face's Llama) -----------------------------------------------
// out = x rotated by +angle (or -angle: the gradient), angle(s, i) = s * theta^(-2i/pairs), i < pairs/2.
// inputs: x. outputs: out, contiguous in the order of `dims` (which lists every dim of x once).
struct RotateSpec {
  std::vector<std::int64_t> sizes, x_strides;  // one per dim of x
  int along = 0, pairs = 0;                    // which dims
  std::int64_t x_offset = 0;
  double theta = 10000;
  bool inverse = false;
  DType x_type = DType::f32, out_type = DType::f32;
};

// ---- The step ----------------------------------------------------------------------------------------------------------
// Reads tokens and targets of the current micro-batch (kernels get them from the runtime's data source).
// outputs: tokens i32 [rows, sequence], targets i32 [rows, sequence].
struct ReadBatchSpec {
  std::int64_t rows = 0, sequence = 0;
  bool validation = false;  // then rows past the last window have targets -1 and tokens 0
};
// Sets loss_scale and learning_rate of the attempt, zeroes loss. outputs: state.
struct BeginStepSpec {};
// table[column] = sum of squares in fp64 of `elements` elements, fixed order; one value for each of `pieces` pieces that
// follow one another at stride `elements`: table[piece * table_stride + column]. inputs: gradient f32. outputs: table f64.
struct SquareSumSpec {
  std::int64_t pieces = 1, elements = 0, column = 0, table_stride = 0;
};
// sum[0] += loss, in f64 (or = for the first micro-batch). inputs: loss f32 scalar. outputs: this rank's place in the loss table, f64.
struct AddLossSpec { bool first = false; };
// Folds the tables, decides skip, factor, learning rate and the next loss scale (semantics.md). inputs: norm table f64
// [pieces, parameters], loss table f64 [ranks]. outputs: state.
struct ControlSpec {
  std::int64_t pieces = 0, parameters = 0, ranks = 0;
  std::int64_t micro_batches = 1;  // M; the loss is the table's sum / (ranks * M); averaging is over ranks * M
};
// The optimizer on one piece. inputs: gradient f32, state. outputs, updated in place: master f32, first moment f32 (and
// second f32 for adamw), and where used_type is not f32 the parameter as used, written whole. Does nothing where state.skip is set.
struct UpdateSpec {
  std::int64_t elements = 0;
  bool decay = true;
  DType used_type = DType::f32;
};

using KernelSpec = std::variant<MapSpec, ProductSpec, AttendForwardSpec, AttendBackwardSpec, LookupSpec, LookupBackwardSpec,
                                CrossEntropySpec, ClassifierSpec, RotateSpec, ReadBatchSpec, BeginStepSpec, SquareSumSpec,
                                AddLossSpec, ControlSpec, UpdateSpec>;

// "map", "product", "attend_forward", ...: as in plans.
const char* name_of(const KernelSpec& spec);

}  // namespace dsc
