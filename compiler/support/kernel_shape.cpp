#include "compiler/support/kernel_shape.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

#include "compiler/support/kernel_workspace.h"

namespace dsc {
namespace {

using std::int64_t;

constexpr int64_t in_place_bytes = 4 << 20;         // of an operand that is read again and again where it lies
constexpr int64_t bf16x3_kept_bytes = 384 << 10;    // of results in scratch, where the contraction has more than one block
constexpr int64_t bf16x3_least = 8, bf16x3_most = 32;  // tiles that share packed rows: enough to pay for packing, few enough to hand out
constexpr int64_t few_rows = 512;                   // of a product whose packed columns are used once
constexpr int64_t columns_bytes = 512 << 10;        // of such columns, for a whole tile
constexpr int64_t product_part_bytes = 2 << 20;     // of packed operands, so that they are still in a cache when they are multiplied
constexpr int64_t work_per_tile = 16384;            // elements of a pointwise tile: enough to hide what a tile costs to hand out

int64_t up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
int64_t cut(int64_t value, int64_t by) { return (value + by - 1) / by; }
int64_t floats(int64_t count) { return up(count * 4, 64); }

bool is_full_window(const MapInput& input, std::size_t dim, int64_t size) {
  return input.windows.empty() || (input.windows[dim].lo <= 0 && input.windows[dim].hi >= size);
}

// The last instruction that reads each register.
std::vector<int> last_uses(const MapProgram& program) {
  std::vector<int> last(static_cast<std::size_t>(program.registers), -1);
  for (std::size_t i = 0; i < program.code.size(); ++i)
    for (int read : {program.code[i].a, program.code[i].b, program.code[i].c})
      if (read >= 0) last[static_cast<std::size_t>(read)] = static_cast<int>(i);
  return last;
}

}  // namespace

MapRegisters map_registers(const MapProgram& program, const std::vector<MapInput>& inputs, const std::vector<int64_t>& sizes,
                           const std::vector<bool>& column) {
  MapRegisters out;
  const auto count = static_cast<std::size_t>(program.registers);
  out.kind.assign(count, RegisterKind::constant);
  out.place.assign(count, -1);
  const std::vector<int> last = last_uses(program);
  std::vector<int> free_full;
  for (std::size_t i = 0; i < program.code.size(); ++i) {
    const MapInstruction& in = program.code[i];
    auto kind_of = [&](int r) { return out.kind[static_cast<std::size_t>(r)]; };
    // A full register whose last reader is this instruction may hold its result: every operation works in place.
    for (int read : {in.a, in.b, in.c}) {
      if (read < 0) continue;
      const auto r = static_cast<std::size_t>(read);
      if (out.kind[r] == RegisterKind::full && last[r] == static_cast<int>(i) &&
          std::find(free_full.begin(), free_full.end(), out.place[r]) == free_full.end())
        free_full.push_back(out.place[r]);
    }
    if (in.op == MapOpcode::select || in.op == MapOpcode::power) out.temporaries = 3;
    if (in.result < 0) continue;
    const auto result = static_cast<std::size_t>(in.result);
    RegisterKind kind = RegisterKind::row;
    switch (in.op) {
      case MapOpcode::constant: kind = RegisterKind::constant; break;
      case MapOpcode::inner_sum: case MapOpcode::inner_max: kind = RegisterKind::row; break;
      case MapOpcode::position:
        if (column[static_cast<std::size_t>(in.slot)]) kind = RegisterKind::full;
        break;
      case MapOpcode::load: {
        const MapInput& input = inputs[static_cast<std::size_t>(in.slot)];
        for (std::size_t d = 0; d < sizes.size(); ++d)
          if (column[d] && (input.strides[d] != 0 || !is_full_window(input, d, sizes[d]))) kind = RegisterKind::full;
        break;
      }
      default:
        for (int read : {in.a, in.b, in.c})
          if (read >= 0 && kind_of(read) == RegisterKind::full) kind = RegisterKind::full;
    }
    out.kind[result] = kind;
    if (kind == RegisterKind::constant) {
      out.place[result] = static_cast<int>(i);
    } else if (kind == RegisterKind::row) {
      out.place[result] = out.row++;
    } else if (free_full.empty()) {
      out.place[result] = out.full++;
    } else {
      out.place[result] = free_full.back();
      free_full.pop_back();
    }
    // A result that nobody reads is free at once.
    if (kind == RegisterKind::full && last[result] < 0) free_full.push_back(out.place[result]);
  }
  return out;
}

MapShape map_shape(const MapSpec& spec, const Target&) {
  MapShape shape;
  shape.sizes = spec.outer;
  shape.sizes.insert(shape.sizes.end(), spec.inner.begin(), spec.inner.end());
  const int outer = static_cast<int>(spec.outer.size()), dims = static_cast<int>(shape.sizes.size());
  bool inner_reduction = false;
  for (const MapInstruction& in : spec.program.code) {
    inner_reduction |= in.op == MapOpcode::inner_sum || in.op == MapOpcode::inner_max;
    shape.reduces |= in.op == MapOpcode::reduce_sum || in.op == MapOpcode::reduce_max;
  }
  // Columns are the dims that a register runs along: the inner ones, and where nothing is reduced along them also the
  // parallel outer dims beside them, so that registers are long.
  int first_column = outer;
  if (!inner_reduction) {
    while (first_column > 0 && !(shape.reduces && spec.reduced[static_cast<std::size_t>(first_column - 1)])) --first_column;
  }
  for (int d = 0; d < dims; ++d) {
    const int64_t size = shape.sizes[static_cast<std::size_t>(d)];
    if (d >= first_column) {
      shape.column_dims.push_back(d), shape.columns *= size;
    } else if (shape.reduces && !spec.reduced[static_cast<std::size_t>(d)]) {
      shape.fixed_dims.push_back(d), shape.fixed *= size;
    } else {
      shape.row_dims.push_back(d), shape.rows *= size;
    }
  }
  std::vector<bool> column(static_cast<std::size_t>(dims), false);
  for (int d : shape.column_dims) column[static_cast<std::size_t>(d)] = true;
  shape.registers = map_registers(spec.program, spec.inputs, shape.sizes, column);

  const int64_t block = shape.registers.full <= 8 ? 2048 : 1024;
  shape.column_block = inner_reduction ? shape.columns : std::min(shape.columns, block);
  shape.column_blocks = cut(shape.columns, shape.column_block);
  // A power of two: then no block goes past the rows after which their sum moves up a level.
  const int64_t fitting = std::clamp<int64_t>(block / std::max<int64_t>(1, shape.columns), 1, std::min(shape.rows, map_reduction_rows));
  shape.row_block = shape.column_blocks > 1 ? 1 : static_cast<int64_t>(std::bit_floor(static_cast<std::uint64_t>(fitting)));
  shape.chunk_rows = shape.rows;
  if (!shape.reduces) {
    const int64_t blocks = cut(shape.rows, shape.row_block) * shape.column_blocks;
    shape.blocks_per_tile = std::max<int64_t>(1, work_per_tile / (shape.row_block * shape.column_block));
    shape.tiles = cut(blocks, shape.blocks_per_tile);
  } else {
    // The chunks, and with them the order of the sums, follow from the number of rows alone, not from what else the
    // program does.
    const int64_t chunks = std::clamp<int64_t>(cut(shape.rows, map_reduction_rows), 1, 32);
    shape.chunk_rows = cut(shape.rows, chunks);
    shape.chunks = cut(shape.rows, shape.chunk_rows);
    shape.fixed_per_tile = std::clamp<int64_t>(work_per_tile / (shape.chunk_rows * shape.column_block), 1, shape.fixed);
    shape.tiles = cut(shape.fixed, shape.fixed_per_tile) * shape.column_blocks * shape.chunks;
  }

  for (std::size_t i = 0; i < spec.program.code.size(); ++i) {
    const MapInstruction& in = spec.program.code[i];
    if (in.op != MapOpcode::reduce_sum && in.op != MapOpcode::reduce_max) continue;
    MapReduction reduction;
    reduction.instruction = static_cast<int>(i);
    bool varies = shape.registers.kind[static_cast<std::size_t>(in.a)] == RegisterKind::full;
    for (int d : shape.column_dims) varies |= spec.outputs[static_cast<std::size_t>(in.slot)].strides[static_cast<std::size_t>(d)] != 0;
    if (varies) reduction.width = shape.columns;
    reduction.scalar = !varies || shape.columns == 1;
    if (shape.chunks > 1) {
      reduction.partials = shape.shared_bytes;
      shape.shared_bytes += floats(shape.chunks * shape.fixed * reduction.width);
      shape.fold_tiles += cut(shape.fixed * reduction.width, map_fold_tile);
    }
    shape.reductions.push_back(reduction);
  }
  shape.register_floats = up(shape.row_block * shape.column_block, 16);
  shape.row_floats = up(shape.row_block, 16);
  shape.accumulator_floats = up(std::max<int64_t>(16, shape.column_block), 16);
  const int64_t full = shape.registers.full + shape.registers.temporaries;
  shape.slot_bytes = floats(full * shape.register_floats + shape.registers.row * shape.row_floats +
                            static_cast<int64_t>(shape.reductions.size()) * 2 * shape.accumulator_floats + map_fold_block);
  return shape;
}

ProductShape product_shape(const ProductSpec& spec, const Target& target, bool alone) {
  ProductShape shape;
  const bool is_bf16 = spec.a_type == DType::bf16 && spec.b_type == DType::bf16 && target.bf16_products;
  shape.compute = is_bf16 ? DType::bf16 : DType::f32;
  shape.bf16x3 = !is_bf16 && target.bf16x3 && std::min({spec.m, spec.n, spec.k}) >= bf16x3_unit;
  shape.element = shape.bf16x3 ? bf16x3_bytes : size_of(shape.compute);
  const int64_t k_unit = is_bf16 ? 2 : shape.bf16x3 ? bf16x3_unit : 1;
  shape.k_padded = up(spec.k, k_unit);
  shape.tile_m = std::min(target.tile_m, spec.m);
  shape.tile_n = shape.bf16x3 ? up(target.tile_n, bf16x3_unit) : target.tile_n;
  shape.block_k = std::min(up(target.block_k, k_unit), shape.k_padded);
  shape.m_tiles = cut(spec.m, shape.tile_m);
  shape.n_tiles = cut(spec.n, shape.tile_n);
  const int64_t panel = shape.bf16x3 ? bf16x3_unit : 4 * target.vector;
  shape.panel_n = shape.tile_n % panel == 0 ? panel : shape.tile_n;
  shape.n_panels = cut(spec.n, shape.panel_n);
  const bool a_rows = (spec.a_k == 1 || spec.k == 1) && (spec.a_m >= spec.k || spec.m == 1);     // k contiguous
  const bool a_columns = (spec.a_m == 1 || spec.m == 1) && (spec.a_k >= spec.m || spec.k == 1);  // m contiguous
  // LIBXSMM sums in another order where a block is at most one vector wide: none is, so that every element of the result
  // has the same arithmetic.
  constexpr int64_t narrow = 16;
  const int64_t n_last = spec.n - (shape.n_panels - 1) * shape.panel_n;
  shape.last_width = std::min(shape.panel_n, up(n_last, 16) + (n_last <= narrow ? 16 : 0));
  // A is read in place where its type is the one multiplied; f32 may have either dim contiguous, bf16 rows are read by pairs.
  const bool odd_pairs = is_bf16 && (spec.k % 2 != 0 || (spec.m > 1 && spec.a_m % 2 != 0));
  // The copy is soon paid for.
  const bool copies_columns = !a_rows && target.slow_columns && spec.n >= 128 && spec.m >= 16;
  shape.pack_a = !shape.bf16x3 && (spec.a_type != shape.compute || !(a_rows || (a_columns && !is_bf16)) || odd_pairs || copies_columns);
  shape.a_transposed = !shape.bf16x3 && !shape.pack_a && !a_rows;
  // Packing B costs little beside many rows of work and spares strided reads; below that it does not pay. Where a panel stays in the
  // nearest cache, or its rows fall into few sets of one, few rows are enough.
  const bool strides_well = target.vector == 16 && spec.b_k * 4 % 4096 != 0 && spec.k * spec.n * 4 <= in_place_bytes;
  shape.pack_b = is_bf16 || shape.bf16x3 || spec.b_type != DType::f32 || spec.b_n != 1 || (spec.b_k < spec.n && spec.k > 1) ||
                 spec.m >= (strides_well ? 1024 : 64) || n_last <= narrow;
  for (const ProductDim& dim : spec.batch) {
    shape.batches *= dim.size;
    if (dim.a_stride != 0) shape.a_batches *= dim.size;
    if (dim.b_stride != 0) shape.b_batches *= dim.size;
  }
  const auto& code = spec.epilogue.code;
  const auto dims = spec.batch.size();
  if (code.size() == 2 && code[0].op == MapOpcode::load && code[0].slot == 0 && code[1].op == MapOpcode::store &&
      code[1].a == code[0].result && code[1].slot == 0) {
    const MapOutput& out = spec.outputs[0];
    shape.direct = out.type == DType::f32 && !out.accumulate && n_last > narrow && (out.strides[dims + 1] == 1 || spec.n == 1) &&
                   (out.strides[dims] >= spec.n || spec.m == 1);
  }
  const int64_t element = shape.element;
  const int64_t b_width = (shape.n_panels - 1) * shape.panel_n + shape.last_width;
  // A long contraction over rows, as in the gradient of a weight, goes part by part where the result can hold the sums.
  shape.k_part = shape.k_padded;
  if (alone && shape.direct && !a_rows) {
    const int64_t bytes_per_k = ((shape.pack_a ? spec.m : 0) + (shape.pack_b ? b_width : 0)) * element;
    if (shape.k_padded * bytes_per_k > product_part_bytes) {
      const int64_t blocks = std::max<int64_t>(2, product_part_bytes / (bytes_per_k * shape.block_k));
      shape.k_part = std::min(shape.k_padded, blocks * shape.block_k);
    }
  }
  shape.parts = cut(shape.k_padded, shape.k_part);
  // Few rows would soon be through with packed columns: these stay in a cache of their own.
  const int64_t column_bytes = shape.tile_n * shape.k_padded * element;
  shape.columns_in_slot = alone && is_bf16 && shape.parts == 1 && spec.m <= few_rows && column_bytes <= columns_bytes;
  // Past the caches a whole tile goes at once. (Plain products of f32 take so long that it does not pay.)
  if ((is_bf16 || shape.bf16x3) && shape.parts == 1 && shape.batches * spec.m * spec.n * 4 >= streamed_bytes) shape.direct = false;
  if (shape.pack_a) {
    shape.a_batch_bytes = up(spec.m * shape.k_part * element, 64);
    // Where m is contiguous, A is packed by what lies in whole rows; a piece is never of two blocks.
    if (!a_rows && a_columns && (shape.block_k % a_pack_piece == 0 || shape.k_part <= shape.block_k)) shape.a_pack_rows = 4 * a_pack_piece;
    shape.a_batch_tiles = shape.a_pack_rows > 0 ? cut(shape.k_part, shape.a_pack_rows) : shape.m_tiles;
    shape.a_pack_tiles = shape.a_batches * shape.a_batch_tiles;
  }
  const bool shares_b = shape.pack_b && !shape.columns_in_slot;
  if (shares_b) shape.b_batch_bytes = up(b_width * shape.k_part * element, 64);
  shape.b_offset = shape.a_batches * shape.a_batch_bytes;
  shape.shared_bytes = shape.b_offset + shape.b_batches * shape.b_batch_bytes;
  // Where n is contiguous, B is packed by whole rows, which are read as they lie; else by panels.
  if (spec.b_n == 1 && shape.n_panels > 1) shape.b_pack_rows = 64;
  shape.b_pack_tiles = shape.b_pack_rows > 0 ? cut(shape.k_part, shape.b_pack_rows) : shape.n_panels;
  shape.pack_tiles = shape.a_pack_tiles + (shares_b ? shape.b_batches * shape.b_pack_tiles : 0);
  if (shape.bf16x3) {
    // Rows of A are packed once for many columns, but there are two strips at least.
    const bool one_block = shape.k_padded <= shape.block_k;
    shape.strip = std::min(shape.n_tiles, std::clamp(cut(shape.batches * shape.m_tiles * shape.n_tiles, 2), bf16x3_least, bf16x3_most));
    if (!shape.direct && !one_block) shape.strip = std::clamp<int64_t>(bf16x3_kept_bytes / (shape.tile_m * shape.tile_n * 4), 1, shape.strip);
    shape.strip = cut(shape.n_tiles, cut(shape.n_tiles, shape.strip));
    shape.kept_tiles = one_block ? 1 : shape.strip;
  }
  shape.tiles = shape.batches * (shape.columns_in_slot ? 1 : shape.m_tiles) * cut(shape.n_tiles, shape.strip);

  std::vector<int64_t> sizes;
  for (const ProductDim& dim : spec.batch) sizes.push_back(dim.size);
  sizes.push_back(spec.m), sizes.push_back(spec.n);
  std::vector<bool> column(sizes.size(), false);
  column.back() = true;
  std::vector<MapInput> inputs = spec.inputs;
  if (inputs.empty()) inputs.emplace_back();
  inputs[0].strides.assign(sizes.size(), 1);  // the tile varies along n
  inputs[0].windows.clear();
  shape.registers = map_registers(spec.epilogue, inputs, sizes, column);
  shape.epilogue_rows = std::clamp<int64_t>(1024 / shape.tile_n, 1, shape.tile_m);
  shape.register_floats = up(shape.epilogue_rows * shape.tile_n, 16);
  shape.row_floats = up(shape.epilogue_rows, 16);
  if (!shape.direct) {
    const int64_t full = shape.registers.full + shape.registers.temporaries;
    shape.slot_bytes = shape.kept_tiles * floats(shape.tile_m * shape.tile_n) +
                       floats(full * shape.register_floats + shape.registers.row * shape.row_floats);
  }
  if (shape.bf16x3) {
    shape.a_block_offset = shape.slot_bytes;
    shape.slot_bytes += up(shape.tile_m * shape.block_k * shape.element, 64);
  }
  if (shape.columns_in_slot) {
    shape.columns_offset = shape.slot_bytes;
    shape.slot_bytes += up(column_bytes, 64);
  }
  return shape;
}

namespace {

int64_t halves(int64_t count) { return up(count * 2, 64); }

AttendShape attend_shape(const AttendSpec& spec, const Target& target) {
  AttendShape shape;
  // Pairs along the channels are multiplied at once: their number must be even.
  shape.bf16 = target.bf16_products && spec.type == DType::bf16 && spec.out_type == DType::bf16 && spec.qk_size % 2 == 0 && spec.v_size % 2 == 0;
  shape.k_rows = spec.k_channel == 1 && spec.k_along >= spec.qk_size && spec.k_along % 2 == 0;
  shape.v_rows = spec.v_channel == 1 && spec.v_along >= spec.v_size && spec.v_along % 2 == 0;
  for (const AttendDim& dim : spec.batch) {
    shape.batches *= dim.size;
    (dim.shared ? shape.shared : shape.groups) *= dim.size;
  }
  shape.query_blocks = cut(spec.length, shape.block);
  shape.padded = shape.query_blocks * shape.block;
  return shape;
}

}  // namespace

AttendShape attend_forward_shape(const AttendSpec& spec, const Target& target) {
  AttendShape shape = attend_shape(spec, target);
  const int64_t b = shape.block, qk = spec.qk_size, v = spec.v_size;
  shape.tiles = shape.batches * shape.query_blocks;
  if (shape.bf16) {
    // q by pairs, keys, values transposed, probabilities by pairs; scores, result, and its rows; maximum, sum and rescale by query.
    shape.slot_bytes = halves(qk * b) + (shape.k_rows ? 0 : halves(b * qk)) + halves(v * b) + halves(b * b) + floats(b * b) + 2 * floats(v * b) +
                       3 * floats(b);
    return shape;
  }
  // q transposed, keys and values widened, scores, result; running maximum, sum and rescale by query.
  shape.slot_bytes = floats(qk * b) + floats(b * qk) + floats(b * v) + floats(b * b) + floats(v * b) + 3 * floats(b);
  return shape;
}

AttendShape attend_backward_shape(const AttendSpec& spec, const Target& target) {
  AttendShape shape = attend_shape(spec, target);
  const int64_t b = shape.block, qk = spec.qk_size, v = spec.v_size;
  shape.tiles = shape.groups;
  if (shape.bf16) {
    // Of the whole length: k and v where they must be packed, k transposed, dk, dv. Of one query block: q and dout by pairs along
    // channels and along queries, dq transposed and as rows, the statistics and row sums. Of a block pair: probabilities and their
    // gradient in f32, as rows, and the gradient by pairs. Two rows of channels.
    shape.slot_bytes = (shape.k_rows ? 0 : halves(shape.padded * qk)) + (shape.v_rows ? 0 : halves(shape.padded * v)) + halves(qk * shape.padded) +
                       floats(shape.padded * qk) + floats(shape.padded * v) + 2 * halves(b * qk) + 2 * halves(b * v) + 2 * floats(b * qk) +
                       2 * floats(b) + 2 * floats(b * b) + 3 * halves(b * b) + 2 * floats(std::max(v, b));
    return shape;
  }
  // Of the whole length: k, v, dk, dv. Of one query block: q and dout, each as rows and transposed, dq, and the
  // statistics and row sums. Of a block pair: probabilities and their gradient. A row of out.
  shape.slot_bytes = 2 * floats(shape.padded * qk) + 2 * floats(shape.padded * v) + 2 * floats(b * qk) + 2 * floats(b * v) +
                     floats(b * qk) + 2 * floats(b) + 2 * floats(b * b) + floats(std::max(v, b));
  return shape;
}

RowsShape lookup_shape(const LookupSpec& spec) {
  RowsShape shape;
  shape.per_tile = std::clamp<int64_t>(work_per_tile / spec.width, 1, std::max<int64_t>(1, spec.rows));
  shape.tiles = std::max<int64_t>(1, cut(spec.rows, shape.per_tile));
  return shape;
}

RowsShape lookup_backward_shape(const LookupBackwardSpec& spec, const Target&) {
  RowsShape shape;
  shape.per_tile = std::clamp<int64_t>(cut(spec.entries, 64), 1, std::max<int64_t>(1, spec.entries));
  shape.tiles = cut(spec.entries, shape.per_tile);
  shape.shared_bytes = up((spec.entries + 1) * 4, 64) + up(spec.rows * 4, 64);  // first row of each entry, rows by entry
  shape.slot_bytes = floats(spec.width) + floats(spec.width);                   // the sum, a widened row
  return shape;
}

RowsShape cross_entropy_shape(const CrossEntropySpec& spec, const Target&) {
  RowsShape shape;
  shape.per_tile = std::clamp<int64_t>(work_per_tile / spec.entries, 1, spec.rows);
  shape.tiles = cut(spec.rows, shape.per_tile);
  shape.shared_bytes = up(spec.rows * 8, 64);
  shape.slot_bytes = floats(up(spec.entries, 16));
  return shape;
}

RowsShape rotate_shape(const RotateSpec& spec, const Target&) {
  RowsShape shape;
  const int64_t pairs = spec.sizes[static_cast<std::size_t>(spec.pairs)], along = spec.sizes[static_cast<std::size_t>(spec.along)];
  int64_t total = 1;
  for (int64_t size : spec.sizes) total *= size;
  const int64_t rows = total / pairs;
  shape.per_tile = std::clamp<int64_t>(work_per_tile / pairs, 1, rows);
  shape.tiles = cut(rows, shape.per_tile);
  shape.shared_bytes = floats(along * pairs);  // cos and sin of each (s, i)
  shape.slot_bytes = 2 * floats(pairs);
  return shape;
}

RowsShape square_sum_shape(const SquareSumSpec& spec) {
  RowsShape shape;
  // Partial sums of fixed length, folded in order.
  shape.per_tile = 32768;
  const int64_t per_piece = std::max<int64_t>(1, cut(spec.elements, shape.per_tile));
  shape.tiles = spec.pieces * per_piece;
  shape.shared_bytes = up(shape.tiles * 8, 64);
  return shape;
}

RowsShape update_shape(const UpdateSpec& spec) {
  RowsShape shape;
  shape.per_tile = 32768;
  shape.tiles = std::max<int64_t>(1, cut(spec.elements, shape.per_tile));
  return shape;
}

bool classifier_stores_bf16(const ClassifierSpec& spec, const Target& target) {
  return spec.h_type == DType::bf16 && spec.w_type == DType::bf16 && target.bf16_products;
}

namespace {

// The epilogue "output 0 = the tile".
void plain_store(ProductSpec& product, DType type, int64_t m_stride, int64_t n_stride, bool accumulate) {
  product.epilogue.registers = 1;
  product.epilogue.code.resize(2);
  product.epilogue.code[0].op = MapOpcode::load;
  product.epilogue.code[0].result = 0;
  product.epilogue.code[0].slot = 0;
  product.epilogue.code[1].op = MapOpcode::store;
  product.epilogue.code[1].a = 0;
  product.epilogue.code[1].slot = 0;
  product.inputs.resize(1);
  product.inputs[0].strides = {0, 0};
  product.outputs.resize(1);
  product.outputs[0].type = type;
  product.outputs[0].strides = {m_stride, n_stride};
  product.outputs[0].accumulate = accumulate;
}

}  // namespace

ProductSpec classifier_logits(const ClassifierSpec& spec, int64_t rows, const ClassifierShape& shape) {
  ProductSpec product;
  product.m = rows, product.n = spec.entries, product.k = spec.width;
  product.a_type = spec.h_type, product.b_type = spec.w_type;
  product.a_m = spec.width, product.a_k = 1;
  product.b_k = spec.element_stride, product.b_n = spec.entry_stride;
  plain_store(product, DType::f32, shape.logits_stride, 1, false);
  return product;
}

ProductSpec classifier_dh(const ClassifierSpec& spec, int64_t rows, const ClassifierShape& shape, const Target& target) {
  const bool bf16 = classifier_stores_bf16(spec, target);
  ProductSpec product;
  product.m = rows, product.n = spec.width, product.k = spec.entries;
  product.a_type = bf16 ? DType::bf16 : DType::f32, product.b_type = spec.w_type;
  product.a_m = bf16 ? 2 * shape.logits_stride : shape.logits_stride, product.a_k = 1;
  product.b_k = spec.entry_stride, product.b_n = spec.element_stride;
  plain_store(product, spec.dh_type, spec.width, 1, false);
  return product;
}

ProductSpec classifier_dw(const ClassifierSpec& spec, int64_t rows, bool first, const ClassifierShape& shape, const Target& target) {
  const bool bf16 = classifier_stores_bf16(spec, target);
  ProductSpec product;
  product.m = spec.entries, product.n = spec.width, product.k = rows;
  product.a_type = bf16 ? DType::bf16 : DType::f32, product.b_type = spec.h_type;
  product.a_m = 1, product.a_k = bf16 ? 2 * shape.logits_stride : shape.logits_stride;
  product.b_k = spec.width, product.b_n = 1;
  plain_store(product, DType::f32, spec.entry_stride, spec.element_stride, !first);
  return product;
}

ClassifierShape classifier_shape(const ClassifierSpec& spec, const Target& target) {
  ClassifierShape shape;
  shape.chunk_rows = std::clamp<int64_t>(spec.rows_per_chunk, 1, spec.rows);
  shape.chunks = cut(spec.rows, shape.chunk_rows);
  shape.last_rows = spec.rows - (shape.chunks - 1) * shape.chunk_rows;
  // Rows a multiple of 1 KiB apart would fall into few sets of the cache.
  shape.logits_stride = up(spec.entries, 16) + (up(spec.entries, 16) % 256 == 0 ? 16 : 0);
  shape.rows_per_tile = std::clamp<int64_t>(work_per_tile / spec.entries, 1, shape.chunk_rows);
  int64_t at = 0;
  auto take = [&at](int64_t bytes) { const int64_t offset = at; at += up(bytes, 64); return offset; };
  shape.loss_offset = take(spec.rows * 8);
  shape.logits_offset = take(shape.chunk_rows * shape.logits_stride * 4);
  shape.largest_phase = cut(shape.chunk_rows, shape.rows_per_tile);
  // The last, shorter chunk may decide differently what to pack, and an accumulating epilogue needs a tile: the place
  // fits all of them.
  auto add = [&](std::initializer_list<ProductSpec> variants, int64_t& offset) {
    int64_t bytes = 0;
    for (const ProductSpec& product : variants) {
      const ProductShape part = product_shape(product, target, false);
      shape.slot_bytes = std::max(shape.slot_bytes, part.slot_bytes);
      shape.largest_phase = std::max({shape.largest_phase, part.tiles, part.pack_tiles});
      bytes = std::max(bytes, part.shared_bytes);
    }
    offset = take(bytes);
  };
  const int64_t rows = shape.chunk_rows, last = shape.last_rows;
  add({classifier_logits(spec, rows, shape), classifier_logits(spec, last, shape)}, shape.logits_work);
  if (spec.backward) {
    add({classifier_dh(spec, rows, shape, target), classifier_dh(spec, last, shape, target)}, shape.dh_work);
    add({classifier_dw(spec, rows, true, shape, target), classifier_dw(spec, rows, false, shape, target),
         classifier_dw(spec, last, true, shape, target), classifier_dw(spec, last, false, shape, target)}, shape.dw_work);
  }
  shape.shared_bytes = at;
  return shape;
}

}  // namespace dsc
