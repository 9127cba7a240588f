// The interpreter of map programs, shared by the map kernel and the epilogue of products. A block is a range of rows x
// columns of a box of dims; each operation runs over the whole block in registers that lie in scratch, or over strips of it
// (strips.h) where operands lie by rows.
#pragma once

#include <cstdint>
#include <vector>

#include "compiler/support/kernel_shape.h"
#include "compiler/support/kernel_spec.h"
#include "kernels/cpu/strips.h"

namespace dsc::cpu {


// How one operand is reached over the dims of a box, the flattened index of which counts row-major. Neighbouring dims that
// the operand walks as one are merged.
struct Access {
  int dims = 0;
  bool windowed = false;
  std::int64_t size[max_dims], stride[max_dims], lo[max_dims], hi[max_dims];

  // Dims are added from the outermost in. Indices outside [lo, hi) read 0, or are not written.
  void add(std::int64_t size, std::int64_t stride, std::int64_t lo, std::int64_t hi);
};

// Calls f(done, count, offset, stride, inside) for each run of [first, first + count) of the box.
template <class F>
inline void walk(const Access& access, std::int64_t first, std::int64_t count, F f) {
  std::int64_t index[max_dims];
  std::int64_t offset = 0, rest = first;
  const int last = access.dims - 1;
  if (last < 0) {
    f(std::int64_t{0}, count, std::int64_t{0}, std::int64_t{0}, true);
    return;
  }
  for (int d = last; d > 0; --d) {
    index[d] = rest % access.size[d];
    rest /= access.size[d];
    offset += index[d] * access.stride[d];
  }
  index[0] = rest;
  offset += rest * access.stride[0];
  const std::int64_t inner = access.size[last], step = access.stride[last];
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t run = inner - index[last] < count - done ? inner - index[last] : count - done;
    if (!access.windowed) {
      f(done, run, offset, step, true);
    } else {
      bool inside = true;
      for (int d = 0; d < last; ++d) inside = inside && index[d] >= access.lo[d] && index[d] < access.hi[d];
      std::int64_t begin = access.lo[last] - index[last], end = access.hi[last] - index[last];
      begin = begin < 0 ? 0 : begin > run ? run : begin;
      end = end < begin || !inside ? begin : end > run ? run : end;
      if (!inside) begin = end = run;
      if (begin > 0) f(done, begin, offset, step, false);
      if (end > begin) f(done + begin, end - begin, offset + begin * step, step, true);
      if (run > end) f(done + end, run - end, offset + end * step, step, false);
    }
    done += run;
    // On to the next run: the inner index wraps.
    offset += (0 - index[last]) * step;
    index[last] = 0;
    for (int d = last - 1; d >= 0; --d) {
      ++index[d];
      offset += access.stride[d];
      if (index[d] < access.size[d]) break;
      if (d == 0) break;
      offset -= index[d] * access.stride[d];
      index[d] = 0;
    }
  }
}

// An operand in one block: where it begins, how it is reached over (rows, columns) and over rows alone.
struct BlockOperand {
  void* base = nullptr;            // at the box's origin
  const Access* full = nullptr;
  const Access* row = nullptr;
  bool outside = false;            // a fixed index lies outside its window
  std::int64_t start = 0;          // of a position: the index at the box's origin
};

struct Accumulator {
  float* low = nullptr;   // what the last rows added
  float* high = nullptr;  // what is older
  bool scalar = false;    // one value a row
};

struct Block {
  std::int64_t first = 0;                        // flattened index of its first element
  std::int64_t first_row = 0, rows = 1, columns = 1;
  BlockOperand inputs[max_operands], outputs[max_operands];
  BlockOperand positions[max_operands];          // by position instruction, in order: base is unused
  Accumulator* accumulators = nullptr;           // by reduction, in order
  std::int64_t chunk_row = 0;                    // rows of the chunk before this block
  float* scratch = nullptr;
  float* tile = nullptr;                         // where input 0 lies already as a register would, after work_on_tile
};

class MapEngine {
 public:
  MapEngine() = default;
  MapEngine(const MapProgram& program, const MapRegisters& registers, const std::vector<MapInput>& inputs,
            const std::vector<MapOutput>& outputs, std::int64_t register_floats, std::int64_t row_floats);
  void run(Block& block) const;
  // Where a block has a tile, input 0 is not loaded but worked on in place, if the program reads it once.
  void work_on_tile();
  // Results go past the caches; the caller ends with end_streaming.
  void stream_results() { streams_ = true; }

 private:
  float* register_at(const Block& block, RegisterKind kind, int place) const;
  // A run of `count` values of the operand; constants and rows are spread into temporary `index`.
  const float* spread(const Block& block, const MapOperand& operand, RegisterKind kind, int index) const;
  void load(const MapStep& step, const Block& block) const;
  void position(const MapStep& step, const Block& block) const;
  void store(const MapStep& step, const Block& block) const;
  void unary(const MapStep& step, const Block& block) const;
  void binary(const MapStep& step, const Block& block) const;
  void select(const MapStep& step, const Block& block) const;
  void inner(const MapStep& step, const Block& block) const;
  void reduce(const MapStep& step, Block& block) const;

  void cut_parts();
  void whole(const MapStep& step, Block& block) const;
  bool place(const StripOperand& operand, const Block& block, StripPlace& out) const;
  bool run_parts(Block& block) const;

  // The steps in order: those of a part by strips, or each on the whole block.
  struct Part {
    std::size_t first = 0, end = 0;
    std::optional<StripCode> strips;
  };

  std::vector<MapStep> steps_;
  std::vector<Part> parts_;
  std::int64_t register_floats_ = 0, row_floats_ = 0;
  int full_ = 0, temporaries_ = 0;
  int tile_place_ = -1;  // the full register that the tile stands for
  bool streams_ = false;
};

// Empties an accumulator; folds its levels into `high`. width: values in use.
void begin_accumulator(Accumulator& accumulator, std::int64_t width, bool maximum);
void end_accumulator(Accumulator& accumulator, std::int64_t width, bool maximum);

}  // namespace dsc::cpu
