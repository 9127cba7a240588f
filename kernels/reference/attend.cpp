#include <cmath>

#include "kernels/reference/pieces.h"

namespace dsc::reference {
namespace {

using std::int64_t;

struct Place {
  int64_t q = 0, k = 0, v = 0, out = 0;
};

Place place_of(const AttendSpec& spec, int64_t batch) {
  Place at;
  for (std::size_t d = spec.batch.size(); d-- > 0;) {
    const AttendDim& dim = spec.batch[d];
    const int64_t i = batch % dim.size;
    batch /= dim.size;
    at.q += i * dim.q_stride, at.k += i * dim.k_stride, at.v += i * dim.v_stride, at.out += i * dim.out_stride;
  }
  return at;
}

int64_t batches_of(const AttendSpec& spec) {
  int64_t count = 1;
  for (const AttendDim& dim : spec.batch) count *= dim.size;
  return count;
}

bool sees(const AttendSpec& spec, int64_t query, int64_t key) {
  if (spec.mask == Mask::full) return true;
  return key <= query && (spec.mask != Mask::window || key > query - spec.window);
}

double q_of(const AttendSpec& s, const Bindings& b, Place at, int64_t i, int64_t c) {
  return get(b.inputs[0], s.type, s.q_offset + at.q + i * s.q_along + c * s.q_channel);
}
double k_of(const AttendSpec& s, const Bindings& b, Place at, int64_t i, int64_t c) {
  return get(b.inputs[1], s.type, s.k_offset + at.k + i * s.k_along + c * s.k_channel);
}
double v_of(const AttendSpec& s, const Bindings& b, Place at, int64_t i, int64_t c) {
  return get(b.inputs[2], s.type, s.v_offset + at.v + i * s.v_along + c * s.v_channel);
}
int64_t out_at(const AttendSpec& s, Place at, int64_t i, int64_t c) { return at.out + i * s.out_along + c * s.out_channel; }

// The probabilities of query i over all keys (0 where hidden), and their log-sum-exp.
std::vector<double> softmax(const AttendSpec& spec, const Bindings& bindings, Place at, int64_t i, double* log_sum) {
  std::vector<double> p(static_cast<std::size_t>(spec.length), 0.0);
  double highest = -INFINITY, sum = 0;
  for (int64_t j = 0; j < spec.length; ++j) {
    double score = 0;
    for (int64_t c = 0; c < spec.qk_size; ++c) score += q_of(spec, bindings, at, i, c) * k_of(spec, bindings, at, j, c);
    p[static_cast<std::size_t>(j)] = score * spec.scale;
    if (sees(spec, i, j)) highest = std::max(highest, score * spec.scale);
  }
  for (int64_t j = 0; j < spec.length; ++j) {
    double& value = p[static_cast<std::size_t>(j)];
    value = sees(spec, i, j) ? std::exp(value - highest) : 0.0;
    sum += value;
  }
  for (double& value : p) value /= sum;
  *log_sum = highest + std::log(sum);
  return p;
}

}  // namespace

void run_attend_forward(const AttendForwardSpec& forward, const Bindings& bindings) {
  const AttendSpec& spec = forward.attend;
  for (int64_t batch = 0; batch < batches_of(spec); ++batch) {
    const Place at = place_of(spec, batch);
    for (int64_t i = 0; i < spec.length; ++i) {
      double log_sum = 0;
      const std::vector<double> p = softmax(spec, bindings, at, i, &log_sum);
      for (int64_t d = 0; d < spec.v_size; ++d) {
        double sum = 0;
        for (int64_t j = 0; j < spec.length; ++j) sum += p[static_cast<std::size_t>(j)] * v_of(spec, bindings, at, j, d);
        set(bindings.outputs[0], spec.out_type, out_at(spec, at, i, d), sum);
      }
      set(bindings.outputs[1], DType::f32, batch * spec.length + i, log_sum);
    }
  }
}

void run_attend_backward(const AttendBackwardSpec& backward, const Bindings& bindings) {
  const AttendSpec& spec = backward.attend;
  // The largest addresses that dk and dv reach, to hold their sums over the queries that share them.
  int64_t k_end = 1 + (spec.length - 1) * spec.k_along + (spec.qk_size - 1) * spec.k_channel;
  int64_t v_end = 1 + (spec.length - 1) * spec.v_along + (spec.v_size - 1) * spec.v_channel;
  for (const AttendDim& dim : spec.batch) k_end += (dim.size - 1) * dim.k_stride, v_end += (dim.size - 1) * dim.v_stride;
  std::vector<double> dk(static_cast<std::size_t>(k_end)), dv(static_cast<std::size_t>(v_end));
  for (int64_t batch = 0; batch < batches_of(spec); ++batch) {
    const Place at = place_of(spec, batch);
    for (int64_t i = 0; i < spec.length; ++i) {
      double log_sum = 0;
      const std::vector<double> p = softmax(spec, bindings, at, i, &log_sum);
      double delta = 0;
      std::vector<double> dout(static_cast<std::size_t>(spec.v_size)), dq(static_cast<std::size_t>(spec.qk_size), 0.0);
      for (int64_t d = 0; d < spec.v_size; ++d) {
        dout[static_cast<std::size_t>(d)] = get(bindings.inputs[5], spec.out_type, out_at(spec, at, i, d));
        delta += dout[static_cast<std::size_t>(d)] * get(bindings.inputs[3], spec.out_type, out_at(spec, at, i, d));
      }
      for (int64_t j = 0; j < spec.length; ++j) {
        double dp = 0;
        for (int64_t d = 0; d < spec.v_size; ++d) {
          dp += dout[static_cast<std::size_t>(d)] * v_of(spec, bindings, at, j, d);
          dv[static_cast<std::size_t>(at.v + j * spec.v_along + d * spec.v_channel)] += p[static_cast<std::size_t>(j)] * dout[static_cast<std::size_t>(d)];
        }
        const double ds = p[static_cast<std::size_t>(j)] * (dp - delta) * spec.scale;
        for (int64_t c = 0; c < spec.qk_size; ++c) {
          dq[static_cast<std::size_t>(c)] += ds * k_of(spec, bindings, at, j, c);
          dk[static_cast<std::size_t>(at.k + j * spec.k_along + c * spec.k_channel)] += ds * q_of(spec, bindings, at, i, c);
        }
      }
      for (int64_t c = 0; c < spec.qk_size; ++c)
        set(bindings.outputs[0], backward.gradient_type, at.q + i * spec.q_along + c * spec.q_channel, dq[static_cast<std::size_t>(c)]);
    }
  }
  for (int64_t batch = 0; batch < batches_of(spec); ++batch) {
    const Place at = place_of(spec, batch);
    for (int64_t j = 0; j < spec.length; ++j) {
      for (int64_t c = 0; c < spec.qk_size; ++c) {
        const int64_t to = at.k + j * spec.k_along + c * spec.k_channel;
        set(bindings.outputs[1], backward.gradient_type, to, dk[static_cast<std::size_t>(to)]);
      }
      for (int64_t d = 0; d < spec.v_size; ++d) {
        const int64_t to = at.v + j * spec.v_along + d * spec.v_channel;
        set(bindings.outputs[2], backward.gradient_type, to, dv[static_cast<std::size_t>(to)]);
      }
    }
  }
}

void run_rotate(const RotateSpec& spec, const Bindings& bindings) {
  int64_t total = 1;
  for (int64_t size : spec.sizes) total *= size;
  std::vector<int64_t> strides(spec.sizes.size(), 1);
  for (std::size_t d = spec.sizes.size() - 1; d-- > 0;) strides[d] = strides[d + 1] * spec.sizes[d + 1];
  const auto pairs_dim = static_cast<std::size_t>(spec.pairs), along_dim = static_cast<std::size_t>(spec.along);
  const int64_t pairs = spec.sizes[pairs_dim];
  for (int64_t flat = 0; flat < total; ++flat) {
    int64_t x = spec.x_offset;
    for (std::size_t d = 0; d < spec.sizes.size(); ++d) x += flat / strides[d] % spec.sizes[d] * spec.x_strides[d];
    const int64_t i = flat / strides[pairs_dim] % pairs, s = flat / strides[along_dim] % spec.sizes[along_dim];
    const bool low = i < pairs / 2;
    const double angle = static_cast<double>(s) * std::pow(spec.theta, -2.0 * static_cast<double>(i % (pairs / 2)) / static_cast<double>(pairs));
    const double other = get(bindings.inputs[0], spec.x_type, x + (low ? pairs / 2 : -pairs / 2) * spec.x_strides[pairs_dim]);
    const double sine = std::sin(spec.inverse ? -angle : angle);
    set(bindings.outputs[0], spec.out_type, flat, get(bindings.inputs[0], spec.x_type, x) * std::cos(angle) + (low ? -other : other) * sine);
  }
}

}  // namespace dsc::reference
