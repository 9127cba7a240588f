// Rows of a table by id, and their gradient: a counting sort of the rows by id, then each entry sums its rows in order.
#include <algorithm>
#include <cstring>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

class Lookup final : public Kernel {
 public:
  Lookup(const LookupSpec& spec, const Bindings& bindings)
      : spec_(spec), shape_(lookup_shape(spec)), table_(bindings.inputs[0]),
        ids_(static_cast<const std::int32_t*>(bindings.inputs[1])), out_(bindings.outputs[0]) {
    tiles_.push_back(static_cast<int>(shape_.tiles));
  }
  void run(int, int tile, int) const override {
    const int64_t end = std::min(spec_.rows, (tile + int64_t{1}) * shape_.per_tile);
    alignas(64) float row[512];
    for (int64_t r = tile * shape_.per_tile; r < end; ++r) {
      const std::int32_t id = ids_[r];
      for (int64_t j = 0; j < spec_.width; j += 512) {
        const int64_t count = std::min<int64_t>(512, spec_.width - j);
        void* to = element(out_, spec_.out_type, r * spec_.width + j);
        // An id outside the table (the data source refuses them) reads zeros.
        if (id < 0 || id >= spec_.entries) std::memset(row, 0, sizeof row);
        else
          load_run(spec_.table_type, element(table_, spec_.table_type, spec_.table_offset + id * spec_.entry_stride + j * spec_.element_stride),
                   spec_.element_stride, count, row);
        store_run(spec_.out_type, to, 1, count, row);
      }
    }
  }

 private:
  LookupSpec spec_;
  RowsShape shape_;
  const void* table_;
  const std::int32_t* ids_;
  void* out_;
};

class LookupBackward final : public Kernel {
 public:
  LookupBackward(const LookupBackwardSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec), shape_(lookup_backward_shape(spec, target)), scratch_(spec, bindings, target), dout_(bindings.inputs[0]),
        ids_(static_cast<const std::int32_t*>(bindings.inputs[1])), dtable_(static_cast<float*>(bindings.outputs[0])) {
    tiles_ = {1, static_cast<int>(shape_.tiles)};
    first_ = reinterpret_cast<std::int32_t*>(scratch_.shared);
    order_ = reinterpret_cast<std::int32_t*>(scratch_.shared + ((spec.entries + 1) * 4 + 63) / 64 * 64);
  }
  void run(int phase, int tile, int slot) const override {
    if (phase == 0) sort();
    else add(tile, slot);
  }

 private:
  // first_[e] .. first_[e + 1] in order_ are the rows with id e, ascending.
  void sort() const {
    std::fill_n(first_, spec_.entries + 1, 0);
    for (int64_t r = 0; r < spec_.rows; ++r)
      if (inside(ids_[r])) ++first_[ids_[r]];
    std::int32_t sum = 0;
    for (int64_t e = 0; e < spec_.entries; ++e) first_[e] = sum += first_[e];
    first_[spec_.entries] = sum;
    for (int64_t r = spec_.rows; r-- > 0;)
      if (inside(ids_[r])) order_[--first_[ids_[r]]] = static_cast<std::int32_t>(r);
  }
  bool inside(std::int32_t id) const { return id >= 0 && id < spec_.entries; }

  void add(int tile, int slot) const {
    float* sum = reinterpret_cast<float*>(scratch_.slot(slot));
    float* row = sum + (spec_.width + 15) / 16 * 16;
    const int64_t end = std::min(spec_.entries, (tile + int64_t{1}) * shape_.per_tile);
    for (int64_t e = tile * shape_.per_tile; e < end; ++e) {
      float* to = dtable_ + e * spec_.entry_stride;
      const std::int32_t begin = first_[e], stop = first_[e + 1];
      if (begin == stop && spec_.accumulate) continue;
      std::memset(sum, 0, static_cast<std::size_t>(spec_.width) * 4);
      for (std::int32_t i = begin; i < stop; ++i) {
        load_run(spec_.dout_type, element(dout_, spec_.dout_type, order_[i] * spec_.width), 1, spec_.width, row);
        if (i == begin) std::memcpy(sum, row, static_cast<std::size_t>(spec_.width) * 4);
        else add_run(sum, 1, spec_.width, row);
      }
      if (spec_.accumulate) add_run(to, spec_.element_stride, spec_.width, sum);
      else store_run(DType::f32, to, spec_.element_stride, spec_.width, sum);
    }
  }

  LookupBackwardSpec spec_;
  RowsShape shape_;
  Scratch scratch_;
  const void* dout_;
  const std::int32_t* ids_;
  float* dtable_;
  std::int32_t *first_, *order_;
};

}  // namespace

KernelPtr make_lookup(const LookupSpec& spec, const Bindings& bindings, const Target&) {
  return std::make_unique<Lookup>(spec, bindings);
}

KernelPtr make_lookup_backward(const LookupBackwardSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<LookupBackward>(spec, bindings, target);
}

}  // namespace dsc::cpu
