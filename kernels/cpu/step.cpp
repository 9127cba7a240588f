// The kernels of the step itself: state, norms, loss, optimizer.
#include <algorithm>
#include <cmath>

#include "compiler/support/check.h"
#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/convert.h"
#include "kernels/cpu/kernels.h"
#include "kernels/step_rules.h"

namespace dsc::cpu {
namespace {

using std::int64_t;

class BeginStep final : public Kernel {
 public:
  explicit BeginStep(const Bindings& bindings) : state_(static_cast<StateBlock*>(bindings.outputs[0])), train_(*bindings.train) { tiles_ = {1}; }
  void run(int, int, int) const override { begin_attempt(*state_, train_); }

 private:
  StateBlock* state_;
  const TrainSpec& train_;
};

class AddLoss final : public Kernel {
 public:
  AddLoss(const AddLossSpec& spec, const Bindings& bindings)
      : spec_(spec), loss_(static_cast<const float*>(bindings.inputs[0])), sum_(static_cast<double*>(bindings.outputs[0])) {
    tiles_ = {1};
  }
  void run(int, int, int) const override { *sum_ = spec_.first ? static_cast<double>(*loss_) : *sum_ + static_cast<double>(*loss_); }

 private:
  AddLossSpec spec_;
  const float* loss_;
  double* sum_;
};

class Control final : public Kernel {
 public:
  Control(const ControlSpec& spec, const Bindings& bindings)
      : spec_(spec), norms_(static_cast<const double*>(bindings.inputs[0])), losses_(static_cast<const double*>(bindings.inputs[1])),
        state_(static_cast<StateBlock*>(bindings.outputs[0])), train_(*bindings.train) {
    tiles_ = {1};
  }
  void run(int, int, int) const override { end_attempt(*state_, train_, spec_, norms_, losses_); }

 private:
  ControlSpec spec_;
  const double *norms_, *losses_;
  StateBlock* state_;
  const TrainSpec& train_;
};

// Parts of fixed length, each in sixteen lanes, folded in order.
class SquareSum final : public Kernel {
 public:
  SquareSum(const SquareSumSpec& spec, const Bindings& bindings, const Target& target)
      : spec_(spec), shape_(square_sum_shape(spec)), scratch_(spec, bindings, target), x_(static_cast<const float*>(bindings.inputs[0])),
        table_(static_cast<double*>(bindings.outputs[0])), parts_(shape_.tiles / spec.pieces) {
    tiles_ = {static_cast<int>(shape_.tiles), 1};
  }
  void run(int phase, int tile, int) const override {
    double* sums = reinterpret_cast<double*>(scratch_.shared);
    if (phase == 1) {
      for (int64_t piece = 0; piece < spec_.pieces; ++piece) {
        double sum = 0;
        for (int64_t part = 0; part < parts_; ++part) sum += sums[piece * parts_ + part];
        table_[piece * spec_.table_stride + spec_.column] = sum;
      }
      return;
    }
    const int64_t piece = tile / parts_, begin = tile % parts_ * shape_.per_tile;
    const int64_t count = std::min(shape_.per_tile, spec_.elements - begin);
    const float* x = x_ + piece * spec_.elements + begin;
    alignas(64) double lane[32] = {};
    int64_t i = 0;
    for (; i + 32 <= count; i += 32)
      for (int j = 0; j < 32; ++j) lane[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    for (int j = 0; i + j < count; ++j) lane[j] += static_cast<double>(x[i + j]) * static_cast<double>(x[i + j]);
    for (int width = 16; width > 0; width /= 2)
      for (int j = 0; j < width; ++j) lane[j] += lane[j + width];
    sums[tile] = lane[0];
  }

 private:
  SquareSumSpec spec_;
  RowsShape shape_;
  Scratch scratch_;
  const float* x_;
  double* table_;
  int64_t parts_;
};

class Update final : public Kernel {
 public:
  Update(const UpdateSpec& spec, const Bindings& bindings)
      : spec_(spec), shape_(update_shape(spec)), train_(*bindings.train), gradient_(static_cast<const float*>(bindings.inputs[0])),
        state_(static_cast<const StateBlock*>(bindings.inputs[1])), master_(static_cast<float*>(bindings.outputs[0])),
        moment1_(static_cast<float*>(bindings.outputs[1])) {
    tiles_ = {static_cast<int>(shape_.tiles)};
    std::size_t next = 2;
    if (train_.optimizer.kind == OptimizerKind::adamw) moment2_ = static_cast<float*>(bindings.outputs[next++]);
    if (spec.used_type != DType::f32) used_ = bindings.outputs[next];
  }
  void run(int, int tile, int) const override {
    if (state_->skip != 0) return;
    const int64_t begin = tile * shape_.per_tile, count = std::min(shape_.per_tile, spec_.elements - begin);
    if (count <= 0) return;
    if (train_.optimizer.kind == OptimizerKind::adamw) adamw(begin, count);
    else sgd(begin, count);
    if (used_ != nullptr) store_run(spec_.used_type, element(used_, spec_.used_type, begin), 1, count, master_ + begin);
  }

 private:
  void adamw(int64_t begin, int64_t count) const {
    const Optimizer& o = train_.optimizer;
    const double t = static_cast<double>(state_->applied), rate = state_->learning_rate;  // control has counted this update
    const float keep = spec_.decay ? static_cast<float>(1 - rate * o.weight_decay) : 1.0f;
    const float beta1 = static_cast<float>(o.beta1), one_beta1 = static_cast<float>(1 - o.beta1);
    const float beta2 = static_cast<float>(o.beta2), one_beta2 = static_cast<float>(1 - o.beta2);
    const float step = static_cast<float>(rate / (1 - std::pow(o.beta1, t)));
    const float root = static_cast<float>(std::sqrt(1 - std::pow(o.beta2, t)));
    const float eps = static_cast<float>(o.eps), factor = state_->factor;
    const float* __restrict gradient = gradient_ + begin;
    float* __restrict p = master_ + begin;
    float* __restrict m = moment1_ + begin;
    float* __restrict v = moment2_ + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float g = gradient[i] * factor;
      m[i] = beta1 * m[i] + one_beta1 * g;
      v[i] = beta2 * v[i] + one_beta2 * (g * g);
      const float denominator = std::sqrt(v[i]) / root + eps;
      p[i] = p[i] * keep - step * (m[i] / denominator);
    }
  }
  void sgd(int64_t begin, int64_t count) const {
    const Optimizer& o = train_.optimizer;
    const float rate = static_cast<float>(state_->learning_rate), momentum = static_cast<float>(o.momentum);
    const float decay = spec_.decay ? static_cast<float>(o.weight_decay) : 0.0f, factor = state_->factor;
    const float* __restrict gradient = gradient_ + begin;
    float* __restrict p = master_ + begin;
    float* __restrict m = moment1_ + begin;
    for (int64_t i = 0; i < count; ++i) {
      const float g = gradient[i] * factor + decay * p[i];
      m[i] = momentum * m[i] + g;
      p[i] -= rate * m[i];
    }
  }

  UpdateSpec spec_;
  RowsShape shape_;
  const TrainSpec& train_;
  const float* gradient_;
  const StateBlock* state_;
  float *master_, *moment1_, *moment2_ = nullptr;
  void* used_ = nullptr;
};

}  // namespace

KernelPtr make_begin_step(const BeginStepSpec&, const Bindings& bindings, const Target&) { return std::make_unique<BeginStep>(bindings); }

KernelPtr make_add_loss(const AddLossSpec& spec, const Bindings& bindings, const Target&) { return std::make_unique<AddLoss>(spec, bindings); }

KernelPtr make_control(const ControlSpec& spec, const Bindings& bindings, const Target&) { return std::make_unique<Control>(spec, bindings); }

KernelPtr make_square_sum(const SquareSumSpec& spec, const Bindings& bindings, const Target& target) {
  return std::make_unique<SquareSum>(spec, bindings, target);
}

KernelPtr make_update(const UpdateSpec& spec, const Bindings& bindings, const Target&) { return std::make_unique<Update>(spec, bindings); }

}  // namespace dsc::cpu
