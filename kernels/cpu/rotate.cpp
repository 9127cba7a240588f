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
    streams_ = rows_ * size_of(spec.out_type) >= streamed_bytes;
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
    rotate_rows(tile * shape_.per_tile, std::min(rows_, (tile + int64_t{1}) * shape_.per_tile), slot);
    if (streams_) end_streaming();
  }

 private:
  void rotate_rows(int64_t first, int64_t end, int slot) const {
    float* wide = reinterpret_cast<float*>(scratch_.slot(slot));
    float* result = wide + padded(pairs_);
    const auto dims = spec_.sizes.size(), pairs_dim = static_cast<std::size_t>(spec_.pairs), along_dim = static_cast<std::size_t>(spec_.along);
    const int64_t half = pairs_ / 2, x_stride = spec_.x_strides[pairs_dim], out_stride = out_strides_[pairs_dim];
    int64_t index[max_dims] = {};
    int64_t x_at = spec_.x_offset, out_at = 0, rest = first;
    for (std::size_t d = dims; d-- > 0;) {
      if (d == pairs_dim) continue;
      index[d] = rest % spec_.sizes[d];
      rest /= spec_.sizes[d];
      x_at += index[d] * spec_.x_strides[d];
      out_at += index[d] * out_strides_[d];
    }
    for (int64_t row = first; row < end; ++row) {
      const void* x = element(x_, spec_.x_type, x_at);
      const float* in = wide;
      if (spec_.x_type == DType::f32 && x_stride == 1) in = static_cast<const float*>(x);
      else load_run(spec_.x_type, x, x_stride, pairs_, wide);
      const float* cosine = reinterpret_cast<const float*>(scratch_.shared) + index[along_dim] * pairs_;
      const float* sine = cosine + half;
#pragma GCC ivdep
      for (int64_t i = 0; i < half; ++i) {
        const float a = in[i], b = in[half + i];
        result[i] = a * cosine[i] - b * sine[i];
        result[half + i] = b * cosine[i] + a * sine[i];
      }
      (streams_ ? stream_run : store_run)(spec_.out_type, element(out_, spec_.out_type, out_at), out_stride, pairs_, result);
      // On to the next row: the innermost index moves, and wraps.
      for (std::size_t d = dims; d-- > 0;) {
        if (d == pairs_dim) continue;
        x_at += spec_.x_strides[d], out_at += out_strides_[d];
        if (++index[d] < spec_.sizes[d]) break;
        x_at -= index[d] * spec_.x_strides[d], out_at -= index[d] * out_strides_[d];
        index[d] = 0;
      }
    }
  }

  RotateSpec spec_;
  RowsShape shape_;
  Scratch scratch_;
  const void* x_;
  void* out_;
  int64_t pairs_, along_, rows_ = 1;
  std::vector<int64_t> out_strides_;
  bool streams_ = false;
};

}  // namespace

KernelPtr make_rotate(const RotateSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<Rotate>(spec, bindings, target);
}

}  // namespace dsc::cpu
