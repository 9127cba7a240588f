#include <cmath>

#include "kernels/reference/pieces.h"

namespace dsc::reference {
namespace {

using std::int64_t;

// Softmax cross entropy of one row: the loss, and factor * (softmax - one-hot) into `gradient`.
double row_loss(const std::vector<double>& x, int64_t target, double factor, std::vector<double>& gradient) {
  double highest = -INFINITY, sum = 0;
  for (double value : x) highest = std::max(highest, value);
  for (double value : x) sum += std::exp(value - highest);
  gradient.assign(x.size(), 0.0);
  if (target < 0) return 0;
  for (std::size_t i = 0; i < x.size(); ++i) gradient[i] = factor * std::exp(x[i] - highest) / sum;
  gradient[static_cast<std::size_t>(target)] -= factor;
  return highest + std::log(sum) - x[static_cast<std::size_t>(target)];
}

}  // namespace

void run_lookup(const LookupSpec& spec, const Bindings& bindings) {
  for (int64_t r = 0; r < spec.rows; ++r) {
    const auto id = static_cast<int64_t>(get(bindings.inputs[1], DType::i32, r));
    for (int64_t j = 0; j < spec.width; ++j)
      set(bindings.outputs[0], spec.out_type, r * spec.width + j,
          get(bindings.inputs[0], spec.table_type, spec.table_offset + id * spec.entry_stride + j * spec.element_stride));
  }
}

void run_lookup_backward(const LookupBackwardSpec& spec, const Bindings& bindings) {
  std::vector<float> sum(static_cast<std::size_t>(spec.entries * spec.width), 0.0f);
  for (int64_t r = 0; r < spec.rows; ++r) {
    const auto id = static_cast<int64_t>(get(bindings.inputs[1], DType::i32, r));
    for (int64_t j = 0; j < spec.width; ++j)
      sum[static_cast<std::size_t>(id * spec.width + j)] += static_cast<float>(get(bindings.inputs[0], spec.dout_type, r * spec.width + j));
  }
  for (int64_t e = 0; e < spec.entries; ++e)
    for (int64_t j = 0; j < spec.width; ++j) {
      const int64_t at = e * spec.entry_stride + j * spec.element_stride;
      const float before = spec.accumulate ? static_cast<float>(get(bindings.outputs[0], DType::f32, at)) : 0;
      const float value = sum[static_cast<std::size_t>(e * spec.width + j)];
      set(bindings.outputs[0], DType::f32, at, spec.accumulate ? before + value : value);
    }
}

void run_cross_entropy(const CrossEntropySpec& spec, const Bindings& bindings) {
  double loss = 0;
  const double factor = spec.backward ? get(bindings.inputs[2], DType::f32, 0) * spec.scale * spec.seed_factor : 0;
  for (int64_t r = 0; r < spec.rows; ++r) {
    std::vector<double> x, gradient;
    for (int64_t i = 0; i < spec.entries; ++i) x.push_back(get(bindings.inputs[0], spec.x_type, r * spec.entries + i));
    loss += row_loss(x, static_cast<int64_t>(get(bindings.inputs[1], DType::i32, r)), factor, gradient);
    if (!spec.backward) continue;
    for (int64_t i = 0; i < spec.entries; ++i) set(bindings.outputs[1], spec.dx_type, r * spec.entries + i, gradient[static_cast<std::size_t>(i)]);
  }
  set(bindings.outputs[0], DType::f32, 0, spec.scale * loss);
}

void run_classifier(const ClassifierSpec& spec, const Bindings& bindings) {
  auto h = [&](int64_t r, int64_t c) { return get(bindings.inputs[0], spec.h_type, r * spec.width + c); };
  auto w_at = [&](int64_t e, int64_t c) { return e * spec.entry_stride + c * spec.element_stride; };
  auto w = [&](int64_t e, int64_t c) { return get(bindings.inputs[1], spec.w_type, w_at(e, c)); };
  const double factor = spec.backward ? get(bindings.inputs[3], DType::f32, 0) * spec.scale * spec.seed_factor : 0;
  std::vector<double> dw(static_cast<std::size_t>(spec.entries * spec.width), 0.0);
  double loss = 0;
  for (int64_t r = 0; r < spec.rows; ++r) {
    std::vector<double> logits(static_cast<std::size_t>(spec.entries), 0.0), gradient;
    for (int64_t e = 0; e < spec.entries; ++e)
      for (int64_t c = 0; c < spec.width; ++c) logits[static_cast<std::size_t>(e)] += h(r, c) * w(e, c);
    loss += row_loss(logits, static_cast<int64_t>(get(bindings.inputs[2], DType::i32, r)), factor, gradient);
    if (!spec.backward) continue;
    for (double& value : gradient) value = rounded(spec.h_type, value);
    for (int64_t c = 0; c < spec.width; ++c) {
      double dh = 0;
      for (int64_t e = 0; e < spec.entries; ++e) {
        dh += gradient[static_cast<std::size_t>(e)] * w(e, c);
        dw[static_cast<std::size_t>(e * spec.width + c)] += gradient[static_cast<std::size_t>(e)] * h(r, c);
      }
      set(bindings.outputs[1], spec.dh_type, r * spec.width + c, dh);
    }
  }
  set(bindings.outputs[0], DType::f32, 0, spec.scale * loss);
  if (!spec.backward) return;
  for (int64_t e = 0; e < spec.entries; ++e)
    for (int64_t c = 0; c < spec.width; ++c) set(bindings.outputs[2], DType::f32, w_at(e, c), dw[static_cast<std::size_t>(e * spec.width + c)]);
}

// In double throughout, element by element, as the optimizers are published.
void run_update(const UpdateSpec& spec, const Bindings& bindings) {
  const auto& state = *static_cast<const StateBlock*>(bindings.inputs[1]);
  const Optimizer& o = bindings.train->optimizer;
  if (state.skip != 0) return;
  const double t = static_cast<double>(state.applied), rate = state.learning_rate, decay = spec.decay ? o.weight_decay : 0;
  const bool adamw = o.kind == OptimizerKind::adamw;
  for (int64_t i = 0; i < spec.elements; ++i) {
    double p = get(bindings.outputs[0], DType::f32, i), m = get(bindings.outputs[1], DType::f32, i);
    double g = get(bindings.inputs[0], DType::f32, i) * static_cast<double>(state.factor);
    if (adamw) {
      double v = get(bindings.outputs[2], DType::f32, i);
      p *= 1 - rate * decay;
      m = o.beta1 * m + (1 - o.beta1) * g;
      v = o.beta2 * v + (1 - o.beta2) * g * g;
      p -= rate * (m / (1 - std::pow(o.beta1, t))) / (std::sqrt(v / (1 - std::pow(o.beta2, t))) + o.eps);
      set(bindings.outputs[2], DType::f32, i, v);
    } else {
      g += decay * p;
      m = o.momentum * m + g;
      p -= rate * m;
    }
    set(bindings.outputs[0], DType::f32, i, p);
    set(bindings.outputs[1], DType::f32, i, m);
    if (spec.used_type != DType::f32)
      set(bindings.outputs[adamw ? 3 : 2], spec.used_type, i, get(bindings.outputs[0], DType::f32, i));
  }
}

}  // namespace dsc::reference
