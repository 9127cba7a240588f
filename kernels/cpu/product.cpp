#include "kernels/cpu/product.h"

#include <algorithm>

#include "compiler/support/check.h"
#include "kernels/cpu/bf16x3.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/vector_math.h"

namespace dsc::cpu {

using std::int64_t;

namespace {

std::vector<MapInput> epilogue_inputs(const ProductSpec& spec) {
  std::vector<MapInput> inputs = spec.inputs;
  if (inputs.empty()) inputs.emplace_back();
  inputs[0].type = DType::f32;  // the tile
  return inputs;
}

// Pieces of `rows` rows, `ahead` rows further on, which are wanted soon: too short for the hardware to see coming.
void fetch_rows(const void* from, int64_t stride, int64_t rows, int64_t ahead, int64_t bytes) {
  const char* first = static_cast<const char*>(from) + ahead * stride;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(first + i * stride + b, 0, 2);
}

// What follows the piece of so many bytes at `to`: it is written after the same piece of the other panels.
void fetch_for_writing(const char* to, int64_t bytes) {
  for (int64_t b = bytes; b < 2 * bytes; b += 64) __builtin_prefetch(to + b, 1, 3);
}

}  // namespace

Product::Product(const ProductSpec& spec, const Target& target, bool alone) : spec_(spec), shape_(product_shape(spec, target, alone)) {
  spec_.inputs = epilogue_inputs(spec);
  DSC_CHECK(spec_.inputs.size() <= max_epilogue_operands && spec_.outputs.size() <= max_epilogue_operands, "an epilogue has too many operands");
  if (!shape_.direct)
    engine_ = MapEngine(spec_.epilogue, shape_.registers, spec_.inputs, spec_.outputs, shape_.register_floats, shape_.row_floats);
  streams_ = shape_.batches * spec.m * spec.n * size_of(spec.outputs[0].type) >= streamed_bytes;
  if (streams_) engine_.stream_results();
  engine_.work_on_tile();
  const ProductShape& s = shape_;
  const int64_t m_last = spec.m - (s.m_tiles - 1) * s.tile_m, n_last = spec.n - (s.n_panels - 1) * s.panel_n;
  const int64_t k_last = (s.k_padded - 1) % s.block_k + 1;
  for (int short_m = 0; short_m < 2; ++short_m)
    for (int last_n = 0; last_n < 2; ++last_n)
      for (int short_k = 0; short_k < 2; ++short_k)
        for (int accumulate = 0; accumulate < 2; ++accumulate) {
          // Only the combinations that occur are generated.
          if ((short_m && m_last == s.tile_m) || (!last_n && s.n_panels == 1) || (short_k && k_last == s.block_k)) continue;
          const int64_t width = panel_width(last_n ? s.n_panels - 1 : 0);
          GemmShape g;
          g.type = s.compute;
          g.m = short_m ? m_last : s.tile_m;
          // Whole vectors where the tile in scratch has room for them: the panel holds zeros there.
          g.n = !s.direct && s.pack_b ? width : last_n ? n_last : s.panel_n;
          g.k = short_k ? k_last : s.block_k;
          // A single row or column may have any stride.
          g.lda = s.pack_a ? g.k : std::max(s.a_transposed ? spec.a_k : spec.a_m, s.a_transposed ? g.m : g.k);
          g.ldb = s.pack_b ? width : std::max(spec.b_k, g.n);
          g.ldc = s.direct ? std::max(spec.outputs[0].strides[spec.batch.size()], g.n) : s.tile_n;
          g.a_transposed = s.a_transposed;
          g.accumulate = accumulate != 0;
          g.bf16x3 = s.bf16x3;
          gemm_[short_m][last_n][short_k][accumulate] = Gemm(g);
        }
}

int64_t Product::panel_width(int64_t panel) const { return panel + 1 == shape_.n_panels ? shape_.last_width : shape_.panel_n; }

// The offset, in elements, of one batch element of A or B. `index` counts all batch elements, or only the distinct ones.
int64_t Product::batch_offset(bool a, int64_t index, bool among_distinct) const {
  int64_t offset = a ? spec_.a_offset : spec_.b_offset;
  for (std::size_t d = spec_.batch.size(); d-- > 0;) {
    const ProductDim& dim = spec_.batch[d];
    const int64_t stride = a ? dim.a_stride : dim.b_stride;
    if (among_distinct && stride == 0) continue;
    offset += index % dim.size * stride;
    index /= dim.size;
  }
  return offset;
}

int64_t Product::packed_index(bool a, int64_t batch) const {
  int64_t index = 0, scale = 1;
  for (std::size_t d = spec_.batch.size(); d-- > 0;) {
    const ProductDim& dim = spec_.batch[d];
    const int64_t i = batch % dim.size;
    batch /= dim.size;
    if ((a ? dim.a_stride : dim.b_stride) == 0) continue;
    index += i * scale;
    scale *= dim.size;
  }
  return index;
}

int64_t Product::operand_offset(const std::vector<int64_t>& strides, int64_t batch) const {
  int64_t offset = 0;
  for (std::size_t d = spec_.batch.size(); d-- > 0;) {
    offset += batch % spec_.batch[d].size * strides[d];
    batch /= spec_.batch[d].size;
  }
  return offset;
}

void Product::pack(const ProductOperands& operands, int64_t part, int64_t tile) const {
  const ProductShape& s = shape_;
  if (tile < s.a_pack_tiles) {
    const int64_t batch = tile / s.a_batch_tiles, i = tile % s.a_batch_tiles, size = part_size(part);
    if (s.a_pack_rows == 0) {
      for (int64_t k = 0; k < size; k += s.block_k) pack_a(operands, part, batch, i, k, std::min(s.block_k, size - k));
      return;
    }
    const int64_t end = std::min(size, (i + 1) * s.a_pack_rows);
    for (int64_t k = i * s.a_pack_rows; k < end; k += a_pack_piece)
      for (int64_t m_tile = 0; m_tile < s.m_tiles; ++m_tile) pack_a(operands, part, batch, m_tile, k, std::min(a_pack_piece, end - k));
    return;
  }
  tile -= s.a_pack_tiles;
  const int64_t batch = tile / s.b_pack_tiles, i = tile % s.b_pack_tiles;
  const int64_t size = s.bf16x3 ? part_size(part) : std::min(part_size(part), spec_.k - part * s.k_part);
  const auto panel_at = [&](int64_t panel) { return operands.shared + s.b_offset + batch * s.b_batch_bytes + panel * s.panel_n * part_size(part) * s.element; };
  if (s.b_pack_rows == 0) {
    pack_panel(operands, part, batch, i, 0, size, panel_at(i));
    return;
  }
  const int64_t together = s.bf16x3 ? bf16x3_step : 4;  // rows; an even number
  const int64_t end = std::min(size, (i + 1) * s.b_pack_rows);
  for (int64_t k = i * s.b_pack_rows; k < end; k += together)
    for (int64_t panel = 0; panel < s.n_panels; ++panel) pack_panel(operands, part, batch, panel, k, std::min(together, end - k), panel_at(panel));
}

// Columns [k, k + columns) of the part, in one block of the contraction, of one tile of rows of A: the kernels find each block in one
// piece.
void Product::pack_a(const ProductOperands& operands, int64_t part, int64_t batch, int64_t m_tile, int64_t k, int64_t columns) const {
  const ProductShape& s = shape_;
  const int64_t m0 = m_tile * s.tile_m, rows = std::min(s.tile_m, spec_.m - m0), size = part_size(part), k0 = part * s.k_part + k;
  const int64_t block = k / s.block_k * s.block_k, stride = std::min(s.block_k, size - block);
  Matrix from;
  from.data = element(operands.a, spec_.a_type, batch_offset(true, batch, true) + m0 * spec_.a_m + k0 * spec_.a_k);
  from.type = spec_.a_type;
  from.rows = rows, from.columns = std::min(columns, spec_.k - k0);
  from.row_stride = spec_.a_m, from.column_stride = spec_.a_k;
  if (s.a_pack_rows > 0)
    fetch_rows(from.data, spec_.a_k * size_of(from.type), std::min(columns, spec_.k - k0 - columns), columns, rows * size_of(from.type));
  char* to = operands.shared + batch * s.a_batch_bytes + (m0 * size + rows * block + k - block) * s.element;
  if (s.compute == DType::bf16) pack_bf16(from, reinterpret_cast<std::uint16_t*>(to), stride, columns);
  else pack_f32(from, reinterpret_cast<float*>(to), stride, columns);
}

// The panels of a tile's columns of B. A few rows at a time: they are short, and the next ones are fetched meanwhile.
void Product::pack_columns(const ProductOperands& operands, int64_t batch, int64_t n_tile, char* to) const {
  const ProductShape& s = shape_;
  const int64_t distinct = packed_index(false, batch), together = s.b_pack_rows > 0 ? 16 : spec_.k;
  const int64_t first = n_tile * s.tile_n / s.panel_n, end = std::min(s.n_panels, (n_tile + 1) * s.tile_n / s.panel_n);
  for (int64_t panel = first; panel < end; ++panel, to += s.panel_n * s.k_padded * s.element)
    for (int64_t k = 0; k < spec_.k; k += together) pack_panel(operands, 0, distinct, panel, k, std::min(together, spec_.k - k), to);
}

// Rows [k, k + rows) of the part in one panel of B, which begins at `to`; k is even.
void Product::pack_panel(const ProductOperands& operands, int64_t part, int64_t batch, int64_t panel, int64_t k, int64_t rows, char* to) const {
  const ProductShape& s = shape_;
  const int64_t n0 = panel * s.panel_n, width = panel_width(panel), k0 = part * s.k_part + k;
  Matrix from;
  from.data = element(operands.b, spec_.b_type, batch_offset(false, batch, true) + n0 * spec_.b_n + k0 * spec_.b_k);
  from.type = spec_.b_type;
  from.rows = std::min(rows, spec_.k - k0), from.columns = std::min(s.panel_n, spec_.n - n0);
  from.row_stride = spec_.b_k, from.column_stride = spec_.b_n;
  if (s.b_pack_rows > 0)
    fetch_rows(from.data, spec_.b_k * size_of(from.type), std::min(rows, spec_.k - k0 - rows), rows, from.columns * size_of(from.type));
  if (s.bf16x3) {
    pack_columns_bf16x3(from, k, rows, reinterpret_cast<std::uint16_t*>(to), width);
    return;
  }
  to += k * width * s.element;
  if (s.b_pack_rows > 0) fetch_for_writing(to, rows * width * s.element);
  if (s.compute == DType::bf16) pack_bf16_pairs(from, reinterpret_cast<std::uint16_t*>(to), width);
  else pack_f32(from, reinterpret_cast<float*>(to), width);
}

// Rows [m0, m0 + rows) and columns [k, k + columns) of A.
void Product::pack_block(const ProductOperands& operands, int64_t batch, int64_t m0, int64_t rows, int64_t k, int64_t columns, char* to) const {
  Matrix from;
  from.data = element(operands.a, spec_.a_type, batch_offset(true, batch, false) + m0 * spec_.a_m + k * spec_.a_k);
  from.type = spec_.a_type;
  from.rows = rows, from.columns = std::min(columns, spec_.k - k);
  from.row_stride = spec_.a_m, from.column_stride = spec_.a_k;
  pack_rows_bf16x3(from, reinterpret_cast<std::uint16_t*>(to), columns);
}

void Product::compute(const ProductOperands& operands, int64_t part, int64_t tile, char* slot) const {
  const ProductShape& s = shape_;
  const int64_t strips = (s.n_tiles + s.strip - 1) / s.strip;
  if (s.columns_in_slot) {
    pack_columns(operands, tile / strips, tile % strips, slot + s.columns_offset);
    for (int64_t m_tile = 0; m_tile < s.m_tiles; ++m_tile) compute_strip(operands, 0, tile / strips, m_tile, tile % strips, tile % strips + 1, slot);
    return;
  }
  // Neighbouring tiles, of which a worker has a run, are of the same rows of A.
  const int64_t in_batch = tile % (strips * s.m_tiles), first = in_batch % strips * s.strip;
  compute_strip(operands, part, tile / (strips * s.m_tiles), in_batch / strips, first, std::min(s.n_tiles, first + s.strip), slot);
}

// Tiles [first, end) along n, of the same rows of A.
void Product::compute_strip(const ProductOperands& operands, int64_t part, int64_t batch, int64_t m_tile, int64_t first, int64_t end, char* slot) const {
  const ProductShape& s = shape_;
  const int64_t k0 = part * s.k_part, size = part_size(part), bytes = s.element;
  const int64_t m0 = m_tile * s.tile_m, rows = std::min(s.tile_m, spec_.m - m0);
  const char *a, *b;
  int64_t a_step = 0, b_step = 0;  // bytes from one k to the next; B's where it is not packed
  int64_t b_column, b_first = 0;   // bytes from one column to the next, of panels; the column at b
  if (s.bf16x3) {
    a = slot + s.a_block_offset;
  } else if (s.pack_a) {
    a = operands.shared + packed_index(true, batch) * s.a_batch_bytes + m0 * size * bytes;
    a_step = rows * bytes;
  } else {
    a = static_cast<const char*>(element(operands.a, spec_.a_type, batch_offset(true, batch, false) + m0 * spec_.a_m + k0 * spec_.a_k));
    a_step = (s.a_transposed ? spec_.a_k : 1) * bytes;
  }
  if (s.columns_in_slot) {
    b = slot + s.columns_offset;
    b_first = first * s.tile_n;
    b_column = size * bytes;
  } else if (s.pack_b) {
    b = operands.shared + s.b_offset + packed_index(false, batch) * s.b_batch_bytes;
    b_column = size * bytes;
  } else {
    b = static_cast<const char*>(element(operands.b, spec_.b_type, batch_offset(false, batch, false) + k0 * spec_.b_k));
    b_step = spec_.b_k * bytes;
    b_column = bytes;
  }
  const auto& kernels = gemm_[rows != s.tile_m];
  for (int64_t k = 0; k < size; k += s.block_k) {
    if (s.bf16x3) pack_block(operands, batch, m0, rows, k0 + k, std::min(s.block_k, size - k), slot + s.a_block_offset);
    for (int64_t n_tile = first; n_tile < end; ++n_tile) {
      const int64_t n0 = n_tile * s.tile_n, columns = std::min(s.tile_n, spec_.n - n0);
      char* scratch = slot + (n_tile - first) % s.kept_tiles * padded(s.tile_m * s.tile_n) * 4;
      float* c = reinterpret_cast<float*>(scratch);
      if (s.direct) {
        const MapOutput& out = spec_.outputs[0];
        c = static_cast<float*>(operands.outputs[0]) + out.offset + operand_offset(out.strides, batch) +
            m0 * out.strides[spec_.batch.size()] + n0;
      }
      for (int64_t i = 0; i < columns; i += s.panel_n) {
        const int64_t panel = (n0 + i) / s.panel_n, step = s.pack_b ? panel_width(panel) * bytes : b_step;
        kernels[panel == s.n_panels - 1][size - k < s.block_k][k0 + k > 0](a + k * a_step, b + (n0 + i - b_first) * b_column + k * step, c + i);
      }
      if (!s.direct && k + s.block_k >= size) epilogue(operands, batch, m0, n0, rows, columns, scratch, slot);
    }
  }
}

void Product::epilogue(const ProductOperands& operands, int64_t batch, int64_t m0, int64_t n0, int64_t rows, int64_t columns,
                       char* tile, char* slot) const {
  const std::size_t dims = spec_.batch.size();
  Access tile_access, in_full[max_epilogue_operands], in_row[max_epilogue_operands], out_full[max_epilogue_operands], out_row[max_epilogue_operands];
  Access position_full[max_epilogue_operands], position_row[max_epilogue_operands];
  Block block;
  block.scratch = reinterpret_cast<float*>(slot + shape_.kept_tiles * padded(shape_.tile_m * shape_.tile_n) * 4);
  tile_access.add(rows, shape_.tile_n, 0, rows);
  tile_access.add(columns, 1, 0, columns);
  block.inputs[0].base = tile;
  block.inputs[0].full = &tile_access;
  int64_t batch_index[max_dims];
  for (int64_t d = static_cast<int64_t>(dims) - 1, rest = batch; d >= 0; --d) {
    batch_index[d] = rest % spec_.batch[static_cast<std::size_t>(d)].size;
    rest /= spec_.batch[static_cast<std::size_t>(d)].size;
  }
  for (std::size_t i = 1; i < spec_.inputs.size(); ++i) {
    const MapInput& in = spec_.inputs[i];
    int64_t offset = in.offset + m0 * in.strides[dims] + n0 * in.strides[dims + 1];
    BlockOperand& operand = block.inputs[i];
    for (std::size_t d = 0; d < dims; ++d) {
      offset += batch_index[d] * in.strides[d];
      if (!in.windows.empty()) operand.outside |= batch_index[d] < in.windows[d].lo || batch_index[d] >= in.windows[d].hi;
    }
    MapWindow m_window{0, rows}, n_window{0, columns};
    if (!in.windows.empty()) {
      m_window = {in.windows[dims].lo - m0, in.windows[dims].hi - m0};
      n_window = {in.windows[dims + 1].lo - n0, in.windows[dims + 1].hi - n0};
    }
    in_full[i].add(rows, in.strides[dims], m_window.lo, m_window.hi);
    in_row[i] = in_full[i];
    in_full[i].add(columns, in.strides[dims + 1], n_window.lo, n_window.hi);
    operand.base = const_cast<void*>(element(operands.epilogue_inputs[i - 1], in.type, offset));
    operand.full = &in_full[i];
    operand.row = &in_row[i];
  }
  std::size_t position = 0;
  for (const MapInstruction& in : spec_.epilogue.code) {
    if (in.op == MapOpcode::store) {
      const auto i = static_cast<std::size_t>(in.slot);
      const MapOutput& out = spec_.outputs[i];
      int64_t offset = out.offset + m0 * out.strides[dims] + n0 * out.strides[dims + 1];
      BlockOperand& operand = block.outputs[i];
      for (std::size_t d = 0; d < dims; ++d) {
        offset += batch_index[d] * out.strides[d];
        operand.outside |= out.strides[d] == 0 && batch_index[d] > 0;
      }
      operand.outside |= (out.strides[dims] == 0 && m0 > 0) || (out.strides[dims + 1] == 0 && n0 > 0);
      out_full[i].add(rows, out.strides[dims], 0, out.strides[dims] == 0 ? 1 : rows);
      out_row[i] = out_full[i];
      out_full[i].add(columns, out.strides[dims + 1], 0, out.strides[dims + 1] == 0 ? 1 : columns);
      operand.base = element(operands.outputs[i], out.type, offset);
      const bool full = shape_.registers.kind[static_cast<std::size_t>(in.a)] == RegisterKind::full || out.strides[dims + 1] != 0;
      operand.full = full ? &out_full[i] : nullptr;
      operand.row = &out_row[i];
    } else if (in.op == MapOpcode::position) {
      const auto d = static_cast<std::size_t>(in.slot);
      BlockOperand& operand = block.positions[position];
      position_full[position].add(rows, d == dims ? 1 : 0, 0, rows);
      position_row[position] = position_full[position];
      position_full[position].add(columns, d == dims + 1 ? 1 : 0, 0, columns);
      operand.full = &position_full[position];
      operand.row = &position_row[position];
      operand.start = d < dims ? batch_index[d] : d == dims ? m0 : n0;
      ++position;
    }
  }
  for (int64_t row = 0; row < rows; row += shape_.epilogue_rows) {
    block.first_row = row;
    block.rows = std::min(shape_.epilogue_rows, rows - row);
    block.columns = columns;
    block.first = row * columns;
    block.tile = columns == shape_.tile_n ? reinterpret_cast<float*>(tile) + row * shape_.tile_n : nullptr;
    engine_.run(block);
  }
  if (streams_) end_streaming();
}

namespace {

class ProductKernel final : public Kernel {
 public:
  ProductKernel(const ProductSpec& spec, const Bindings& bindings, const Target& target)
      : product_(spec, target, true), scratch_(spec, bindings, target), inputs_(bindings.inputs), outputs_(bindings.outputs) {
    operands_.a = inputs_[0];
    operands_.b = inputs_[1];
    operands_.epilogue_inputs = inputs_.data() + 2;
    operands_.outputs = outputs_.data();
    operands_.shared = scratch_.shared;
    const ProductShape& shape = product_.shape();
    packs_ = shape.pack_tiles > 0;
    for (int64_t part = 0; part < shape.parts; ++part) {
      if (packs_) tiles_.push_back(static_cast<int>(shape.pack_tiles));
      tiles_.push_back(static_cast<int>(shape.tiles));
    }
  }
  void run(int phase, int tile, int slot) const override {
    const int part = packs_ ? phase / 2 : phase;
    if (packs_ && phase % 2 == 0) product_.pack(operands_, part, tile);
    else product_.compute(operands_, part, tile, scratch_.slot(slot));
  }

 private:
  Product product_;
  Scratch scratch_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
  ProductOperands operands_;
  bool packs_ = false;
};

}  // namespace

KernelPtr make_product(const ProductSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<ProductKernel>(spec, bindings, target);
}

}  // namespace dsc::cpu
