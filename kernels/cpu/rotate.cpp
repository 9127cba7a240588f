// Rotary positions: a table of cosines and sines in the workspace, then rows of pairs.
#include <algorithm>
#include <cmath>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/cpu/vector_math.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

class Rotate final : public Kernel {
 public:
  Rotate(const RotateSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec), shape_(rotate_shape(spec, target)), scratch_(spec, bindings, target), x_(bindings.inputs[0]), out_(bindings.outputs[0]),
        pairs_(spec.sizes[static_cast<std::size_t>(spec.pairs)]), along_(spec.sizes[static_cast<std::size_t>(spec.along)]) {
    out_strides_.assign(spec.sizes.size(), 1);
    for (std::size_t d = spec.sizes.size() - 1; d-- > 0;) out_strides_[d] = out_strides_[d + 1] * spec.sizes[d + 1];
    rows_ = 1;
    for (int64_t size : spec.sizes) rows_ *= size;
    rows_ /= pairs_;
    tiles_ = {static_cast<int>((along_ + 63) / 64), static_cast<int>(shape_.tiles)};
  }

  void run(int phase, int tile, int slot) const override {
    float* table = reinterpret_cast<float*>(scratch_.shared);  // [along][cos of half, sin of half]
    const int64_t half = pairs_ / 2;
    if (phase == 0) {
      const int64_t end = std::min(along_, (tile + int64_t{1}) * 64);
      for (int64_t i = 0; i < half; ++i) {
        const double frequency = std::pow(spec_.theta, -2.0 * static_cast<double>(i) / static_cast<double>(pairs_));
        for (int64_t s = tile * int64_t{64}; s < end; ++s) {
          const double angle = static_cast<double>(s) * frequency;
          table[s * pairs_ + i] = static_cast<float>(std::cos(angle));
          table[s * pairs_ + half + i] = static_cast<float>(spec_.inverse ? -std::sin(angle) : std::sin(angle));
        }
      }
      return;
    }
    float* in = reinterpret_cast<float*>(scratch_.slot(slot));
    float* result = in + padded(pairs_);
    const auto pairs_dim = static_cast<std::size_t>(spec_.pairs);
    const int64_t end = std::min(rows_, (tile + int64_t{1}) * shape_.per_tile);
    for (int64_t row = tile * shape_.per_tile; row < end; ++row) {
      int64_t rest = row, x_at = spec_.x_offset, out_at = 0, s = 0;
      for (std::size_t d = spec_.sizes.size(); d-- > 0;) {
        if (d == pairs_dim) continue;
        const int64_t i = rest % spec_.sizes[d];
        rest /= spec_.sizes[d];
        x_at += i * spec_.x_strides[d];
        out_at += i * out_strides_[d];
        if (static_cast<int>(d) == spec_.along) s = i;
      }
      load_run(spec_.x_type, element(x_, spec_.x_type, x_at), spec_.x_strides[pairs_dim], pairs_, in);
      const float* cosine = table + s * pairs_;
      const float* sine = cosine + half;
      for (int64_t i = 0; i < half; ++i) {
        const float a = in[i], b = in[half + i];
        result[i] = a * cosine[i] - b * sine[i];
        result[half + i] = b * cosine[i] + a * sine[i];
      }
      store_run(spec_.out_type, element(out_, spec_.out_type, out_at), out_strides_[pairs_dim], pairs_, result);
    }
  }

 private:
  RotateSpec spec_;
  RowsShape shape_;
  Scratch scratch_;
  const void* x_;
  void* out_;
  int64_t pairs_, along_, rows_ = 1;
  std::vector<int64_t> out_strides_;
};

}  // namespace

KernelPtr make_rotate(const RotateSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<Rotate>(spec, bindings, target);
}

}  // namespace dsc::cpu
