// How a kernel cuts its work: blocks, tiles, chunks, registers and the pieces of its workspace, as a pure function of spec
// and target. The memory stage takes the bytes from here (kernel_workspace.h) and the kernels the places, so both agree.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/support/kernel_spec.h"
#include "compiler/support/target.h"

namespace dsc {

// A result of so many bytes goes past the caches: by the time it is read, it is no longer there.
constexpr std::int64_t streamed_bytes = 256 << 10;

// ---- Map -----------------------------------------------------------------------------------------------------------------
// Where a virtual register of a map program lives while a block of rows x columns is computed.
enum class RegisterKind : std::uint8_t { constant, row, full };
struct MapRegisters {
  std::vector<RegisterKind> kind;  // by virtual register
  std::vector<int> place;          // row: index of a row register; full: index of a full register; constant: instruction
  int full = 0, row = 0;           // registers of each kind
  int temporaries = 1;             // full registers more, for operands that must be spread over a row
};
// `column` marks the dims that vary along a register.
MapRegisters map_registers(const MapProgram& program, const std::vector<MapInput>& inputs, const std::vector<std::int64_t>& sizes,
                           const std::vector<bool>& column);

struct MapReduction {
  int instruction = 0;        // index in the program
  std::int64_t width = 1;     // values per fixed index: columns, or 1
  bool scalar = true;         // one value a row
  std::int64_t partials = 0;  // offset in the shared workspace (chunks > 1)
};

struct MapShape {
  std::vector<std::int64_t> sizes;               // all dims, outer then inner
  std::vector<int> fixed_dims, row_dims, column_dims;
  bool reduces = false;                          // has reduce_*: rows are the reduced dims, fixed the other outer ones
  std::int64_t fixed = 1, rows = 1, columns = 1; // extents
  std::int64_t row_block = 1, column_block = 1;
  std::int64_t column_blocks = 1;
  std::int64_t blocks_per_tile = 1;              // without reductions
  std::int64_t chunks = 1, chunk_rows = 1;       // with: rows are cut into chunks, partial results folded in order
  std::int64_t fixed_per_tile = 1;
  std::int64_t tiles = 1;
  MapRegisters registers;
  std::vector<MapReduction> reductions;
  std::int64_t fold_tiles = 0;                   // tiles of the second phase, over all reductions
  std::int64_t shared_bytes = 0;
  std::int64_t register_floats = 0, row_floats = 0;  // of one register
  std::int64_t accumulator_floats = 0;           // of one level of one reduction
  std::int64_t slot_bytes = 0;
};
constexpr std::int64_t map_reduction_rows = 64;    // rows added before their sum moves up a level
constexpr std::int64_t map_fold_block = 1024;      // values folded at once in the second phase
constexpr std::int64_t map_fold_tile = 8 * map_fold_block;
MapShape map_shape(const MapSpec& spec, const Target& target);

// ---- Product -------------------------------------------------------------------------------------------------------------
constexpr std::int64_t bf16x3_unit = 32;   // m, n and k are at least this; k is padded to a multiple, and what is packed goes by groups of so many
constexpr std::int64_t bf16x3_bytes = 6;   // of an element
constexpr std::int64_t a_pack_piece = 32;  // columns of A that are packed at a time, where it is packed by whole rows
struct ProductShape {
  DType compute = DType::f32;       // f32 or bf16: what the packed or in-place operands hold
  bool bf16x3 = false;              // f32 in three terms of bf16: a strip packs its own rows of A, block by block
  std::int64_t element = 4;         // bytes of a packed one
  bool pack_a = false, pack_b = false;
  bool a_transposed = false;        // f32, in place, m contiguous
  bool direct = false;              // the plain f32 store: no tile in scratch
  std::int64_t batches = 1, a_batches = 1, b_batches = 1;
  std::int64_t k_padded = 1;        // even for bf16, a multiple of the unit for bf16x3
  std::int64_t tile_m = 1, tile_n = 1, block_k = 1;
  std::int64_t m_tiles = 1, n_tiles = 1;
  std::int64_t strip = 1;           // tiles along n that are computed together, with the same rows of A
  std::int64_t kept_tiles = 1;      // of a strip, in scratch at a time
  std::int64_t panel_n = 1, n_panels = 1;  // columns that are multiplied at a time; a tile has one panel or more
  std::int64_t last_width = 1;      // of the last packed panel of B, zeros included
  std::int64_t k_part = 1, parts = 1;                 // what of k is packed and multiplied at a time, whole blocks
  std::int64_t a_batch_bytes = 0, b_batch_bytes = 0;  // packed, of one batch element and part
  std::int64_t b_offset = 0;        // in the shared workspace; A is at 0
  std::int64_t a_pack_rows = 0;     // columns of A (rows as they lie) that one tile packs, of all m; 0: a tile packs one tile of m
  std::int64_t b_pack_rows = 0;     // rows of B that one tile packs, of all panels; 0: a tile packs one panel
  std::int64_t shared_bytes = 0, tiles = 1;
  std::int64_t pack_tiles = 0, a_pack_tiles = 0;  // all of both; of A: each in one part
  std::int64_t a_batch_tiles = 0, b_pack_tiles = 0;  // of one batch element of A, of B
  MapRegisters registers;
  std::int64_t epilogue_rows = 1, register_floats = 0, row_floats = 0;
  bool columns_in_slot = false;     // bf16, few rows: a tile packs its columns of B for itself and computes all rows of them
  std::int64_t a_block_offset = 0, columns_offset = 0;  // in a slot, where bf16x3, where columns_in_slot
  std::int64_t slot_bytes = 0;
};
// alone: no other product shares what is packed. The contraction may then be cut into parts, each packed and multiplied after the one before.
ProductShape product_shape(const ProductSpec& spec, const Target& target, bool alone);

// ---- Attention -----------------------------------------------------------------------------------------------------------
struct AttendShape {
  bool bf16 = false;                     // operands of its products are bf16, probabilities among them; else f32
  bool k_rows = false, v_rows = false;   // bf16: read where they lie; else packed first
  std::int64_t block = 64;               // queries and keys per block
  std::int64_t query_blocks = 1;
  std::int64_t batches = 1;              // all batch indices
  std::int64_t groups = 1, shared = 1;   // batches = groups * shared: those with keys of their own, and queries that share them
  std::int64_t padded = 64;              // length, in whole blocks
  std::int64_t tiles = 1, slot_bytes = 0;
};
AttendShape attend_forward_shape(const AttendSpec& spec, const Target& target);
AttendShape attend_backward_shape(const AttendSpec& spec, const Target& target);

// ---- Rows --------------------------------------------------------------------------------------------------------------
struct RowsShape {  // lookup, rotate, square_sum, update, ...: a flat range cut into tiles
  std::int64_t per_tile = 1, tiles = 1, shared_bytes = 0, slot_bytes = 0;
};
RowsShape lookup_shape(const LookupSpec& spec);
RowsShape lookup_backward_shape(const LookupBackwardSpec& spec, const Target& target);  // tiles of the second phase
RowsShape cross_entropy_shape(const CrossEntropySpec& spec, const Target& target);
RowsShape rotate_shape(const RotateSpec& spec, const Target& target);  // shared: the table of cosines and sines
RowsShape square_sum_shape(const SquareSumSpec& spec);
RowsShape update_shape(const UpdateSpec& spec);

// ---- Classifier ----------------------------------------------------------------------------------------------------------
// Chunks of rows: logits = product, softmax by rows in place, then with backward two more products. `rows` of the specs is
// the chunk's.
struct ClassifierShape {
  std::int64_t chunk_rows = 1, chunks = 1, last_rows = 1;
  std::int64_t logits_stride = 0;        // f32 between rows of logits
  std::int64_t rows_per_tile = 8;        // of the softmax
  std::int64_t logits_offset = 0, loss_offset = 0, logits_work = 0, dh_work = 0, dw_work = 0;  // in the shared workspace
  std::int64_t shared_bytes = 0, slot_bytes = 0;
  std::int64_t largest_phase = 1;        // tiles
};
ProductSpec classifier_logits(const ClassifierSpec& spec, std::int64_t rows, const ClassifierShape& shape);
ProductSpec classifier_dh(const ClassifierSpec& spec, std::int64_t rows, const ClassifierShape& shape, const Target& target);
ProductSpec classifier_dw(const ClassifierSpec& spec, std::int64_t rows, bool first, const ClassifierShape& shape, const Target& target);
// dlogits are stored in bf16 (else in f32, rounded to h_type).
bool classifier_stores_bf16(const ClassifierSpec& spec, const Target& target);
ClassifierShape classifier_shape(const ClassifierSpec& spec, const Target& target);

}  // namespace dsc
