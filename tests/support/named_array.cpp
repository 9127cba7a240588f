#include "tests/support/named_array.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dsc::testing {

Array::Array(const Model& model, std::vector<AxisId> names) : axes(std::move(names)) {
  std::int64_t n = 1;
  for (AxisId axis : axes) {
    sizes.push_back(model.axis(axis).size);
    n *= sizes.back();
  }
  data.assign(n, 0.0);
}

std::int64_t Array::offset(const Index& at) const {
  std::int64_t o = 0;
  for (std::size_t i = 0; i < axes.size(); ++i) o = o * sizes[i] + at[axes[i].index()];
  return o;
}

namespace {

void walk(const Model& model, const std::vector<AxisId>& axes, std::size_t i, Index& at, const std::function<void()>& body) {
  if (i == axes.size()) return body();
  std::int64_t& here = at[axes[i].index()];
  const std::int64_t before = here;
  for (std::int64_t n = 0; n < model.axis(axes[i]).size; ++n) {
    here = n;
    walk(model, axes, i + 1, at, body);
  }
  here = before;
}

bool has(const std::vector<AxisId>& axes, AxisId axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

// Sets the axes that keys have and queries have only as a factor.
void key_index(const Model& model, const Array& q, const Array& k, Index& at) {
  for (AxisId axis : k.axes) {
    if (has(q.axes, axis)) continue;
    for (AxisId whole : q.axes)
      for (const auto& product : model.axis(whole).products)
        if (!product.empty() && product[0] == axis)
          at[axis.index()] = at[whole.index()] / (model.axis(whole).size / model.axis(axis).size);
  }
}

bool visible(const Op& op, std::int64_t i, std::int64_t j) {
  if (op.mask == Mask::full) return true;
  if (op.mask == Mask::causal) return j <= i;
  return j <= i && j > i - op.window;
}

struct Rows {
  const Model& model;
  const Op& op;
  const Array &q, &k, &v;
  std::vector<AxisId> outer;
  AxisId along, channel, own;
  std::int64_t length;

  Rows(const Model& model, const Op& op, const Array& q, const Array& k, const Array& v)
      : model(model), op(op), q(q), k(k), v(v), along(*op.along), channel(*op.contract), own(*op.contract) {
    for (AxisId axis : q.axes)
      if (axis != along && axis != channel) outer.push_back(axis);
    for (AxisId axis : op.axes)
      if (!has(q.axes, axis)) own = axis;
    length = model.axis(along).size;
  }

  // The weights of query i over all keys; `at` holds the outer index.
  std::vector<double> weights(Index& at, std::int64_t i) const {
    std::vector<double> w(length, 0.0);
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    for (std::int64_t j = 0; j < length; ++j) {
      double s = 0;
      for (std::int64_t c = 0; c < model.axis(channel).size; ++c) {
        at[channel.index()] = c;
        at[along.index()] = i;
        double x = q.at(at);
        at[along.index()] = j;
        s += x * k.at(at);
      }
      w[j] = s * op.scale;
      if (visible(op, i, j)) top = std::max(top, w[j]);
    }
    for (std::int64_t j = 0; j < length; ++j) {
      w[j] = visible(op, i, j) ? std::exp(w[j] - top) : 0;
      sum += w[j];
    }
    for (double& x : w) x /= sum;
    return w;
  }
};

}  // namespace

void for_each(const Model& model, const std::vector<AxisId>& axes, Index& at, const std::function<void()>& body) {
  walk(model, axes, 0, at, body);
}

double rounded(double x, DType type) {
  if (type != DType::bf16 && type != DType::f16) return x;
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent;
  std::frexp(x, &exponent);
  const int bits = type == DType::bf16 ? 8 : 11, least = type == DType::bf16 ? -125 : -13;
  const double unit = std::ldexp(1.0, std::max(exponent, least) - bits);
  return std::nearbyint(x / unit) * unit;
}

void attend(const Model& model, const Op& op, const Array& q, const Array& k, const Array& v, Array& out) {
  Rows rows(model, op, q, k, v);
  Index at(model.axes.size(), 0);
  for_each(model, rows.outer, at, [&] {
    key_index(model, q, k, at);
    for (std::int64_t i = 0; i < rows.length; ++i) {
      std::vector<double> w = rows.weights(at, i);
      for (std::int64_t c = 0; c < model.axis(rows.own).size; ++c) {
        at[rows.own.index()] = c;
        double sum = 0;
        for (std::int64_t j = 0; j < rows.length; ++j) {
          at[rows.along.index()] = j;
          sum += w[j] * v.at(at);
        }
        at[rows.along.index()] = i;
        out.at(at) = sum;
      }
    }
  });
}

void attend_gradient(const Model& model, const Op& op, const Array& q, const Array& k, const Array& v, const Array& out,
                     const Array& dout, Array& dq, Array& dk, Array& dv) {
  Rows rows(model, op, q, k, v);
  Index at(model.axes.size(), 0);
  auto& along = at[rows.along.index()];
  for_each(model, rows.outer, at, [&] {
    key_index(model, q, k, at);
    for (std::int64_t i = 0; i < rows.length; ++i) {
      std::vector<double> w = rows.weights(at, i), dw(rows.length, 0.0);
      double delta = 0;
      for (std::int64_t c = 0; c < model.axis(rows.own).size; ++c) {
        at[rows.own.index()] = c;
        along = i;
        const double g = dout.at(at);
        delta += g * out.at(at);
        for (std::int64_t j = 0; j < rows.length; ++j) {
          along = j;
          dv.at(at) += w[j] * g;
          dw[j] += g * v.at(at);
        }
      }
      for (std::int64_t c = 0; c < model.axis(rows.channel).size; ++c) {
        at[rows.channel.index()] = c;
        for (std::int64_t j = 0; j < rows.length; ++j) {
          const double ds = w[j] * (dw[j] - delta) * op.scale;
          along = j;
          const double key = k.at(at);
          along = i;
          dq.at(at) += ds * key;
          const double query = q.at(at);
          along = j;
          dk.at(at) += ds * query;
        }
      }
    }
  });
}

void rotate(const Model& model, const Op& op, const Array& x, bool inverse, Array& out) {
  Index at(model.axes.size(), 0);
  const std::size_t pair = op.contract->index(), along = op.along->index();
  const std::int64_t size = model.axis(*op.contract).size, half = size / 2;
  for_each(model, out.axes, at, [&] {
    const std::int64_t c = at[pair], i = c % half;
    const double angle = static_cast<double>(at[along]) * std::pow(op.theta, -2.0 * static_cast<double>(i) / static_cast<double>(size));
    const double s = std::sin(inverse ? -angle : angle);
    const double own = x.at(at);
    at[pair] = c < half ? c + half : i;
    const double other = x.at(at);
    at[pair] = c;
    out.at(at) = own * std::cos(angle) + (c < half ? -other : other) * s;
  });
}

}  // namespace dsc::testing
