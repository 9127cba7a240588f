// The map kernel: tiles of blocks through the interpreter; reductions over rows in fixed chunks, folded in order.
#include <algorithm>

#include "compiler/support/check.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/map_engine.h"
#include "kernels/cpu/vector_math.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

class MapKernel final : public Kernel {
 public:
  MapKernel(const MapSpec& spec, const Bindings& bindings, const Target& target);
  void run(int phase, int tile, int slot) const override;

 private:
  struct Fixed {  // a dim that is fixed within a block
    int64_t size = 1, stride = 0, lo = 0, hi = 0;
  };
  struct Operand {
    char* base = nullptr;  // at the spec's offset
    DType type = DType::f32;
    Access full, row;
    bool has_full = true;  // outputs: stored over rows and columns, or once a row
    std::vector<Fixed> fixed;
  };
  Operand operand(const std::vector<int64_t>& strides, const std::vector<MapWindow>& windows, DType type, int64_t offset,
                  void* base, bool output) const;
  void place(const std::vector<Operand>& operands, int64_t fixed_index, BlockOperand* out) const;
  void begin(Block& block, int slot) const;
  void run_plain(int tile, int slot) const;
  void run_reducing(int tile, int slot) const;
  void fold(int tile, int slot) const;
  // Writes `count` reduced values, [first, first + count) of the columns, at one fixed index.
  void write(std::size_t reduction, int64_t fixed_index, int64_t first, int64_t count, const float* values) const;

  MapShape shape_;
  MapEngine engine_;
  Scratch scratch_;
  std::vector<Operand> inputs_, outputs_, positions_;
  struct Reduced {
    bool maximum = false, scalar = false, accumulate = false;
    int64_t width = 1, partials = 0;
    Operand out;
  };
  std::vector<Reduced> reduced_;
  bool streams_ = false;
};

MapKernel::Operand MapKernel::operand(const std::vector<int64_t>& strides, const std::vector<MapWindow>& windows, DType type,
                                      int64_t offset, void* base, bool output) const {
  Operand out;
  if (base != nullptr) out.base = static_cast<char*>(base) + offset * size_of(type);
  out.type = type;
  auto window = [&](int d) {
    const int64_t size = shape_.sizes[static_cast<std::size_t>(d)];
    // Where an output does not vary, index 0 alone writes.
    if (output) return MapWindow{0, strides[static_cast<std::size_t>(d)] == 0 ? 1 : size};
    return windows.empty() ? MapWindow{0, size} : windows[static_cast<std::size_t>(d)];
  };
  auto add = [&](Access& access, int d) {
    const auto i = static_cast<std::size_t>(d);
    access.add(shape_.sizes[i], strides[i], window(d).lo, window(d).hi);
  };
  for (int d : shape_.fixed_dims) {
    const auto i = static_cast<std::size_t>(d);
    out.fixed.push_back({shape_.sizes[i], strides[i], window(d).lo, window(d).hi});
  }
  for (int d : shape_.row_dims) add(out.full, d), add(out.row, d);
  for (int d : shape_.column_dims) add(out.full, d);
  return out;
}

MapKernel::MapKernel(const MapSpec& spec, const Bindings& bindings, const Target& target)
    : shape_(map_shape(spec, target)), scratch_(spec, bindings, target) {
  engine_ = MapEngine(spec.program, shape_.registers, spec.inputs, spec.outputs, shape_.register_floats, shape_.row_floats);
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const MapInput& in = spec.inputs[i];
    inputs_.push_back(operand(in.strides, in.windows, in.type, in.offset, const_cast<void*>(bindings.inputs[i]), false));
  }
  for (std::size_t i = 0; i < spec.outputs.size(); ++i) {
    const MapOutput& out = spec.outputs[i];
    outputs_.push_back(operand(out.strides, {}, out.type, out.offset, bindings.outputs[i], true));
  }
  const auto dims = shape_.sizes.size();
  std::size_t reduction = 0;
  for (const MapInstruction& in : spec.program.code) {
    if (in.op == MapOpcode::position) {
      std::vector<int64_t> strides(dims, 0);
      strides[static_cast<std::size_t>(in.slot)] = 1;
      positions_.push_back(operand(strides, {}, DType::u8, 0, nullptr, false));
    }
    if (in.op == MapOpcode::store) {
      const MapOutput& out = spec.outputs[static_cast<std::size_t>(in.slot)];
      bool varies = shape_.registers.kind[static_cast<std::size_t>(in.a)] == RegisterKind::full;
      for (int d : shape_.column_dims) varies |= out.strides[static_cast<std::size_t>(d)] != 0;
      outputs_[static_cast<std::size_t>(in.slot)].has_full = varies;
    }
    if (in.op == MapOpcode::reduce_sum || in.op == MapOpcode::reduce_max) {
      const MapOutput& out = spec.outputs[static_cast<std::size_t>(in.slot)];
      const MapReduction& plan = shape_.reductions[reduction++];
      Reduced reduced;
      reduced.maximum = in.op == MapOpcode::reduce_max;
      reduced.width = plan.width, reduced.partials = plan.partials;
      reduced.scalar = plan.scalar;
      reduced.accumulate = out.accumulate;
      Operand place;
      place.base = static_cast<char*>(bindings.outputs[static_cast<std::size_t>(in.slot)]) + out.offset * size_of(out.type);
      place.type = out.type;
      for (int d : shape_.fixed_dims) {
        const auto i = static_cast<std::size_t>(d);
        place.fixed.push_back({shape_.sizes[i], out.strides[i], 0, shape_.sizes[i]});
      }
      if (!reduced.scalar || shape_.columns == 1) {
        for (int d : shape_.column_dims) {
          const auto i = static_cast<std::size_t>(d);
          place.full.add(shape_.sizes[i], out.strides[i], 0, out.strides[i] == 0 ? 1 : shape_.sizes[i]);
        }
      }
      reduced.out = place;
      reduced_.push_back(reduced);
    }
  }
  for (const MapOutput& out : spec.outputs)
    streams_ |= shape_.fixed * shape_.rows * shape_.columns * size_of(out.type) >= streamed_bytes;
  if (streams_) engine_.stream_results();
  tiles_.push_back(static_cast<int>(shape_.tiles));
  if (shape_.fold_tiles > 0) tiles_.push_back(static_cast<int>(shape_.fold_tiles));
}

void MapKernel::place(const std::vector<Operand>& operands, int64_t fixed_index, BlockOperand* out) const {
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Operand& operand = operands[i];
    int64_t offset = 0, rest = fixed_index;
    bool outside = false;
    for (std::size_t d = operand.fixed.size(); d-- > 0;) {
      const Fixed& fixed = operand.fixed[d];
      const int64_t index = rest % fixed.size;
      rest /= fixed.size;
      offset += index * fixed.stride;
      outside |= index < fixed.lo || index >= fixed.hi;
    }
    out[i].start = offset;  // a position's stride is 1 at its own dim
    if (operand.base != nullptr) out[i].base = operand.base + offset * size_of(operand.type);
    out[i].full = operand.has_full ? &operand.full : nullptr;
    out[i].row = &operand.row;
    out[i].outside = outside;
  }
}

void MapKernel::begin(Block& block, int slot) const {
  block.scratch = reinterpret_cast<float*>(scratch_.slot(slot));
}

void MapKernel::run_plain(int tile, int slot) const {
  Block block;
  begin(block, slot);
  place(inputs_, 0, block.inputs);
  place(outputs_, 0, block.outputs);
  place(positions_, 0, block.positions);
  const bool by_columns = shape_.column_blocks > 1;
  const int64_t blocks = by_columns ? shape_.rows * shape_.column_blocks : (shape_.rows + shape_.row_block - 1) / shape_.row_block;
  const int64_t end = std::min(blocks, (tile + int64_t{1}) * shape_.blocks_per_tile);
  for (int64_t b = tile * shape_.blocks_per_tile; b < end; ++b) {
    if (by_columns) {
      const int64_t column = b % shape_.column_blocks * shape_.column_block;
      block.first_row = b / shape_.column_blocks;
      block.rows = 1;
      block.columns = std::min(shape_.column_block, shape_.columns - column);
      block.first = block.first_row * shape_.columns + column;
    } else {
      block.first_row = b * shape_.row_block;
      block.rows = std::min(shape_.row_block, shape_.rows - block.first_row);
      block.columns = shape_.columns;
      block.first = block.first_row * shape_.columns;
    }
    engine_.run(block);
  }
}

void MapKernel::run_reducing(int tile, int slot) const {
  const int64_t chunk = tile % shape_.chunks;
  const int64_t column_block = tile / shape_.chunks % shape_.column_blocks;
  const int64_t group = tile / shape_.chunks / shape_.column_blocks;
  const int64_t column = column_block * shape_.column_block;
  const int64_t columns = std::min(shape_.column_block, shape_.columns - column);
  const int64_t first_row = chunk * shape_.chunk_rows, end_row = std::min(shape_.rows, first_row + shape_.chunk_rows);
  Block block;
  begin(block, slot);
  Accumulator accumulators[max_operands];
  float* at = block.scratch + (shape_.registers.full + shape_.registers.temporaries) * shape_.register_floats +
              shape_.registers.row * shape_.row_floats;
  for (std::size_t r = 0; r < reduced_.size(); ++r) {
    accumulators[r].scalar = reduced_[r].scalar;
    accumulators[r].low = at;
    accumulators[r].high = at + shape_.accumulator_floats;
    at += 2 * shape_.accumulator_floats;
  }
  block.accumulators = accumulators;
  const int64_t end = std::min(shape_.fixed, (group + 1) * shape_.fixed_per_tile);
  for (int64_t fixed = group * shape_.fixed_per_tile; fixed < end; ++fixed) {
    place(inputs_, fixed, block.inputs);
    place(outputs_, fixed, block.outputs);
    place(positions_, fixed, block.positions);
    for (std::size_t r = 0; r < reduced_.size(); ++r) begin_accumulator(accumulators[r], reduced_[r].scalar ? 1 : columns, reduced_[r].maximum);
    for (int64_t row = first_row; row < end_row; row += shape_.row_block) {
      block.first_row = row;
      block.rows = std::min(shape_.row_block, end_row - row);
      block.columns = columns;
      block.first = row * shape_.columns + column;
      block.chunk_row = row - first_row;
      engine_.run(block);
    }
    for (std::size_t r = 0; r < reduced_.size(); ++r) {
      const Reduced& reduced = reduced_[r];
      // Of a value that does not vary along columns, the first block of them alone keeps the sum.
      if (reduced.scalar && column_block > 0) continue;
      const int64_t width = reduced.scalar ? 1 : columns;
      end_accumulator(accumulators[r], width, reduced.maximum);
      if (shape_.chunks == 1) {
        write(r, fixed, reduced.scalar ? 0 : column, width, accumulators[r].high);
      } else {
        float* partial = reinterpret_cast<float*>(scratch_.shared + reduced.partials) +
                         (chunk * shape_.fixed + fixed) * reduced.width + (reduced.scalar ? 0 : column);
        std::copy_n(accumulators[r].high, width, partial);
      }
    }
  }
}

void MapKernel::write(std::size_t r, int64_t fixed_index, int64_t first, int64_t count, const float* values) const {
  const Reduced& reduced = reduced_[r];
  int64_t offset = 0, rest = fixed_index;
  for (std::size_t d = reduced.out.fixed.size(); d-- > 0;) {
    offset += rest % reduced.out.fixed[d].size * reduced.out.fixed[d].stride;
    rest /= reduced.out.fixed[d].size;
  }
  char* base = reduced.out.base + offset * size_of(reduced.out.type);
  walk(reduced.out.full, first, count, [&](int64_t done, int64_t run, int64_t at, int64_t stride, bool inside) {
    if (!inside) return;
    if (reduced.accumulate) add_run(reinterpret_cast<float*>(base) + at, stride, run, values + done);
    else store_run(reduced.out.type, element(static_cast<void*>(base), reduced.out.type, at), stride, run, values + done);
  });
}

void MapKernel::fold(int tile, int slot) const {
  std::size_t r = 0;
  int64_t at = tile;
  for (; r < reduced_.size(); ++r) {
    const int64_t tiles = (shape_.fixed * reduced_[r].width + map_fold_tile - 1) / map_fold_tile;
    if (at < tiles) break;
    at -= tiles;
  }
  const Reduced& reduced = reduced_[r];
  const int64_t total = shape_.fixed * reduced.width, end = std::min(total, (at + 1) * map_fold_tile);
  float* sum = reinterpret_cast<float*>(scratch_.slot(slot));
  const float* partials = reinterpret_cast<const float*>(scratch_.shared + reduced.partials);
  for (int64_t i = at * map_fold_tile; i < end;) {
    // Within one fixed index, so that the columns of a run follow one another.
    const int64_t fixed = i / reduced.width, column = i % reduced.width;
    const int64_t count = std::min({map_fold_block, reduced.width - column, end - i});
    std::copy_n(partials + i, count, sum);
    for (int64_t chunk = 1; chunk < shape_.chunks; ++chunk) {
      const float* from = partials + chunk * total + i;
      if (reduced.maximum) for (int64_t c = 0; c < count; ++c) sum[c] = max_of(sum[c], from[c]);
      else for (int64_t c = 0; c < count; ++c) sum[c] += from[c];
    }
    write(r, fixed, column, count, sum);
    i += count;
  }
}

void MapKernel::run(int phase, int tile, int slot) const {
  if (phase == 1) fold(tile, slot);
  else if (shape_.reduces) run_reducing(tile, slot);
  else run_plain(tile, slot);
  if (streams_ && phase == 0) end_streaming();
}

}  // namespace

KernelPtr make_map(const MapSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<MapKernel>(spec, bindings, target);
}

}  // namespace dsc::cpu
