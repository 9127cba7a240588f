// Cross entropy of stored logits: rows in tiles, each row's loss kept in f64, summed in row order.
#include <algorithm>
#include <cstring>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/softmax_loss.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

class CrossEntropy final : public Kernel {
 public:
  CrossEntropy(const CrossEntropySpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec), shape_(cross_entropy_shape(spec, target)), scratch_(spec, bindings, target), x_(bindings.inputs[0]),
        targets_(static_cast<const std::int32_t*>(bindings.inputs[1])),
        seed_(spec.backward ? static_cast<const float*>(bindings.inputs[2]) : nullptr),
        loss_(static_cast<float*>(bindings.outputs[0])), dx_(spec.backward ? bindings.outputs[1] : nullptr) {
    tiles_ = {static_cast<int>(shape_.tiles), 1};
  }
  void run(int phase, int tile, int slot) const override {
    double* losses = reinterpret_cast<double*>(scratch_.shared);
    if (phase == 1) {
      double sum = 0;
      for (int64_t r = 0; r < spec_.rows; ++r) sum += losses[r];
      *loss_ = static_cast<float>(spec_.scale * sum);
      return;
    }
    float* row = reinterpret_cast<float*>(scratch_.slot(slot));
    const float factor = spec_.backward ? static_cast<float>(*seed_ * spec_.scale * spec_.seed_factor) : 0;
    const int64_t end = std::min(spec_.rows, (tile + int64_t{1}) * shape_.per_tile);
    for (int64_t r = tile * shape_.per_tile; r < end; ++r) {
      const int64_t at = r * spec_.entries;
      losses[r] = 0;
      if (targets_[r] < 0 || targets_[r] >= spec_.entries) {
        std::memset(row, 0, static_cast<std::size_t>(spec_.entries) * 4);
      } else {
        float sum = 0;
        load_run(spec_.x_type, element(x_, spec_.x_type, at), 1, spec_.entries, row);
        losses[r] = soften_row(row, spec_.entries, targets_[r], &sum);
        if (spec_.backward) gradient_row(row, spec_.entries, targets_[r], sum, factor);
      }
      if (spec_.backward) store_run(spec_.dx_type, element(dx_, spec_.dx_type, at), 1, spec_.entries, row);
    }
  }

 private:
  CrossEntropySpec spec_;
  RowsShape shape_;
  Scratch scratch_;
  const void* x_;
  const std::int32_t* targets_;
  const float* seed_;
  float* loss_;
  void* dx_;
};

}  // namespace

KernelPtr make_cross_entropy(const CrossEntropySpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<CrossEntropy>(spec, bindings, target);
}

}  // namespace dsc::cpu
