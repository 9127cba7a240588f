#include "tests/support/model_interpreter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <random>

#include "compiler/support/check.h"

namespace dsc::testing {
namespace {

double apply(OpKind kind, double a, double b, double c) {
  switch (kind) {
    case OpKind::add: return a + b;
    case OpKind::subtract: return a - b;
    case OpKind::multiply: return a * b;
    case OpKind::divide: return a / b;
    case OpKind::power: return std::pow(a, b);
    case OpKind::negate: return -a;
    case OpKind::exp: return std::exp(a);
    case OpKind::log: return std::log(a);
    case OpKind::sqrt: return std::sqrt(a);
    case OpKind::rsqrt: return 1 / std::sqrt(a);
    case OpKind::tanh: return std::tanh(a);
    case OpKind::sigmoid: return 1 / (1 + std::exp(-a));
    case OpKind::erf: return std::erf(a);
    case OpKind::sin: return std::sin(a);
    case OpKind::cos: return std::cos(a);
    case OpKind::absolute: return std::fabs(a);
    case OpKind::maximum: return std::max(a, b);
    case OpKind::minimum: return std::min(a, b);
    case OpKind::less: return a < b;
    case OpKind::less_equal: return a <= b;
    case OpKind::greater: return a > b;
    case OpKind::greater_equal: return a >= b;
    case OpKind::equal: return a == b;
    case OpKind::not_equal: return a != b;
    case OpKind::select: return a != 0 ? b : c;
    case OpKind::to_real: return a;
    default: DSC_CHECK(false, name_of(kind));
  }
}

// d result / d operand `i`, at (a, b, c) with result y.
double slope(OpKind kind, int i, double a, double b, double y) {
  switch (kind) {
    case OpKind::add: return 1;
    case OpKind::subtract: return i == 0 ? 1 : -1;
    case OpKind::multiply: return i == 0 ? b : a;
    case OpKind::divide: return i == 0 ? 1 / b : -y / b;
    case OpKind::power: return i == 0 ? b * std::pow(a, b - 1) : (a == 0 ? 0 : y * std::log(a));
    case OpKind::negate: return -1;
    case OpKind::exp: return y;
    case OpKind::log: return 1 / a;
    case OpKind::sqrt: return 0.5 / y;
    case OpKind::rsqrt: return -0.5 * y * y * y;
    case OpKind::tanh: return 1 - y * y;
    case OpKind::sigmoid: return y * (1 - y);
    case OpKind::erf: return 2 / std::sqrt(std::numbers::pi) * std::exp(-a * a);
    case OpKind::sin: return std::cos(a);
    case OpKind::cos: return -std::sin(a);
    case OpKind::absolute: return a > 0 ? 1 : a < 0 ? -1 : 0;
    case OpKind::maximum: return a == b ? 0.5 : (a > b) == (i == 0);
    case OpKind::minimum: return a == b ? 0.5 : (a < b) == (i == 0);
    case OpKind::select: return i == 0 ? 0 : (a != 0) == (i == 1);
    default: return 0;
  }
}

struct Reference {
  const Model& model;
  const ModelInputs& inputs;
  DType activation;
  ModelValues& out;

  const Array& value(OpId op) const { return out.values[op.index()]; }

  // Index of what a shape op's result element reads of operand `which`; false: it reads nothing there.
  bool source(const Op& op, std::size_t which, Index& at) const {
    auto size = [&](AxisId axis) { return model.axis(axis).size; };
    switch (op.kind) {
      case OpKind::rename: at[op.from->index()] = at[op.to->index()]; return true;
      case OpKind::slice: at[op.from->index()] = at[op.to->index()] + op.offset; return true;
      case OpKind::merge: {
        std::int64_t rest = at[op.to->index()];
        for (auto f = op.factors.rbegin(); f != op.factors.rend(); ++f) at[f->index()] = rest % size(*f), rest /= size(*f);
        return true;
      }
      case OpKind::unmerge: {
        std::int64_t whole = 0;
        for (AxisId f : op.factors) whole = whole * size(f) + at[f.index()];
        at[op.from->index()] = whole;
        return true;
      }
      case OpKind::concat: {
        const std::int64_t i = at[op.to->index()], first = size(*op.from);
        if (which == 0) at[op.from->index()] = i;
        else at[op.second->index()] = i - first;
        return which == 0 ? i < first : i >= first;
      }
      default: return true;  // expand, stop_gradient, round
    }
  }

  void forward(OpId id) {
    const Op& op = model.op(id);
    Array& y = out.values[id.index()];
    y = Array(model, op.axes);
    Index at(model.axes.size(), 0);
    switch (op.kind) {
      case OpKind::parameter:
        y = inputs.parameters[op.parameter->index()];
        for (double& x : y.data) x = rounded(x, activation);
        return;
      case OpKind::tokens: std::copy(inputs.tokens.begin(), inputs.tokens.end(), y.data.begin()); return;
      case OpKind::targets: std::copy(inputs.targets.begin(), inputs.targets.end(), y.data.begin()); return;
      case OpKind::positions:
        for (std::size_t i = 0; i < y.data.size(); ++i) y.data[i] = static_cast<double>(i);
        return;
      case OpKind::constant: y.data[0] = op.number; return;
      case OpKind::sum: case OpKind::mean: case OpKind::max: {
        const Array& x = value(op.operands[0]);
        const double n = static_cast<double>(x.data.size() / y.data.size());
        if (op.kind == OpKind::max) std::fill(y.data.begin(), y.data.end(), -1e300);
        for_each(model, x.axes, at, [&] {
          if (op.kind == OpKind::max) y.at(at) = std::max(y.at(at), x.at(at));
          else y.at(at) += op.kind == OpKind::mean ? x.at(at) / n : x.at(at);
        });
        return;
      }
      case OpKind::rename: case OpKind::expand: case OpKind::merge: case OpKind::unmerge: case OpKind::slice:
      case OpKind::concat: case OpKind::stop_gradient: case OpKind::round:
        for_each(model, op.axes, at, [&] {
          for (std::size_t i = 0; i < op.operands.size(); ++i)
            if (Index from = at; source(op, i, from)) y.at(at) = value(op.operands[i]).at(from);
          if (op.kind == OpKind::round) y.at(at) = rounded(y.at(at), activation);
        });
        return;
      case OpKind::dot: {
        const Array &a = value(op.operands[0]), &b = value(op.operands[1]);
        std::vector<AxisId> all = op.axes;
        all.insert(all.end(), op.over.begin(), op.over.end());
        for_each(model, all, at, [&] { y.at(at) += a.at(at) * b.at(at); });
        return;
      }
      case OpKind::attend: return attend(model, op, value(op.operands[0]), value(op.operands[1]), value(op.operands[2]), y);
      case OpKind::rotate: return rotate(model, op, value(op.operands[0]), false, y);
      case OpKind::lookup:
        for_each(model, op.axes, at, [&] {
          Index from = at;
          from[op.over[0].index()] = static_cast<std::int64_t>(value(op.operands[1]).at(at));
          y.at(at) = value(op.operands[0]).at(from);
        });
        return;
      case OpKind::cross_entropy: {
        const Array &x = value(op.operands[0]), &ids = value(op.operands[1]);
        for_each(model, ids.axes, at, [&] {
          double sum = 0;
          for_each(model, op.over, at, [&] { sum += std::exp(x.at(at)); });
          at[op.over[0].index()] = static_cast<std::int64_t>(ids.at(at));
          y.data[0] += (std::log(sum) - x.at(at)) / static_cast<double>(ids.data.size());
        });
        return;
      }
      default:
        for_each(model, op.axes, at, [&] {
          double x[3] = {0, 0, 0};
          for (std::size_t i = 0; i < op.operands.size(); ++i) x[i] = value(op.operands[i]).at(at);
          y.at(at) = apply(op.kind, x[0], x[1], x[2]);
        });
    }
  }

  // ---- Gradients ----
  struct Part {
    OpId user;
    Array array;
  };
  std::vector<std::vector<Part>> parts;
  std::vector<bool> reached;

  bool of_parameters(OpId id) const {
    const Op& op = model.op(id);
    if (op.kind == OpKind::parameter) return true;
    if (op.kind == OpKind::lookup) return model.op(op.operands[1]).kind == OpKind::positions && of_parameters(op.operands[0]);
    const bool shape = (op.kind >= OpKind::rename && op.kind <= OpKind::concat) || op.kind == OpKind::round ||
                       op.kind == OpKind::stop_gradient;
    return shape && std::all_of(op.operands.begin(), op.operands.end(), [&](OpId x) { return of_parameters(x); });
  }

  bool rounds(OpId id) const { return model.op(id).rounded && !of_parameters(id); }

  // Sums the parts of each scope, children within parents, in reverse program order.
  Array total(OpId id) const {
    std::map<int, int> order;  // scope -> place of its first part
    std::function<Array(int, const std::vector<const Part*>&)> sum = [&](int scope, const std::vector<const Part*>& list) {
      Array result(model, model.op(id).axes);
      auto add = [&](const Array& x) {
        for (std::size_t i = 0; i < result.data.size(); ++i) result.data[i] += x.data[i];
      };
      for (std::size_t i = 0; i < list.size();) {
        auto child = [&](const Part* p) {
          int s = model.op(p->user).scope;
          if (s == scope) return -1;
          while (model.scopes[s].parent != scope) s = model.scopes[s].parent;
          return s;
        };
        const int c = child(list[i]);
        if (c < 0) {
          add(list[i++]->array);
          continue;
        }
        std::vector<const Part*> inner;
        while (i < list.size() && child(list[i]) == c) inner.push_back(list[i++]);
        add(sum(c, inner));
      }
      if (rounds(id))
        for (double& x : result.data) x = rounded(x, activation);
      return result;
    };
    std::vector<const Part*> list;
    for (const Part& p : parts[id.index()]) list.push_back(&p);
    return sum(0, list);
  }

  void give(OpId user, std::size_t operand, Array array) {
    OpId to = model.op(user).operands[operand];
    if (reached[to.index()]) parts[to.index()].push_back({user, std::move(array)});
  }

  Array zeros(OpId of) const { return Array(model, model.op(of).axes); }

  void backward(OpId id, Array g) {
    const Op& op = model.op(id);
    Index at(model.axes.size(), 0);
    switch (op.kind) {
      case OpKind::sum: case OpKind::mean: case OpKind::max: {
        const Array &x = value(op.operands[0]), &y = value(id);
        Array dx = zeros(op.operands[0]);
        const double n = static_cast<double>(x.data.size() / y.data.size());
        Array ties(model, op.axes);
        for_each(model, x.axes, at, [&] { ties.at(at) += x.at(at) == y.at(at); });
        for_each(model, x.axes, at, [&] {
          dx.at(at) = op.kind == OpKind::sum ? g.at(at) : op.kind == OpKind::mean ? g.at(at) / n
                                                                                  : (x.at(at) == y.at(at)) * g.at(at) / ties.at(at);
        });
        return give(id, 0, dx);
      }
      case OpKind::rename: case OpKind::expand: case OpKind::merge: case OpKind::unmerge: case OpKind::slice:
      case OpKind::concat: case OpKind::round:
        for (std::size_t i = 0; i < op.operands.size(); ++i) {
          Array dx = zeros(op.operands[i]);
          for_each(model, op.axes, at, [&] {
            if (Index from = at; source(op, i, from)) dx.at(from) += g.at(at);
          });
          give(id, i, dx);
        }
        return;
      case OpKind::stop_gradient: return;
      case OpKind::dot: {
        for (double& x : g.data) x = rounded(x, activation);
        const Array &a = value(op.operands[0]), &b = value(op.operands[1]);
        Array da = zeros(op.operands[0]), db = zeros(op.operands[1]);
        std::vector<AxisId> all = op.axes;
        all.insert(all.end(), op.over.begin(), op.over.end());
        for_each(model, all, at, [&] {
          da.at(at) += g.at(at) * b.at(at);
          db.at(at) += g.at(at) * a.at(at);
        });
        give(id, 0, da);
        return give(id, 1, db);
      }
      case OpKind::attend: {
        for (double& x : g.data) x = rounded(x, activation);
        Array dq = zeros(op.operands[0]), dk = zeros(op.operands[1]), dv = zeros(op.operands[2]);
        // The output as stored: rounded where that is all that follows it.
        Array stored = value(id);
        bool only_rounded = true;
        for (const Op& user : model.ops)
          for (OpId x : user.operands) only_rounded = only_rounded && (x != id || user.kind == OpKind::round);
        if (only_rounded)
          for (double& x : stored.data) x = rounded(x, activation);
        attend_gradient(model, op, value(op.operands[0]), value(op.operands[1]), value(op.operands[2]), stored, g, dq, dk, dv);
        give(id, 0, dq), give(id, 1, dk);
        return give(id, 2, dv);
      }
      case OpKind::rotate: {
        Array dx = zeros(op.operands[0]);
        rotate(model, op, g, true, dx);
        return give(id, 0, dx);
      }
      case OpKind::lookup: {
        Array dt = zeros(op.operands[0]);
        for_each(model, op.axes, at, [&] {
          Index to = at;
          to[op.over[0].index()] = static_cast<std::int64_t>(value(op.operands[1]).at(at));
          dt.at(to) += g.at(at);
        });
        return give(id, 0, dt);
      }
      case OpKind::cross_entropy: {
        const Array &x = value(op.operands[0]), &ids = value(op.operands[1]);
        Array dx = zeros(op.operands[0]);
        for_each(model, ids.axes, at, [&] {
          double sum = 0;
          for_each(model, op.over, at, [&] { sum += std::exp(x.at(at)); });
          for_each(model, op.over, at, [&] {
            const bool hit = at[op.over[0].index()] == static_cast<std::int64_t>(ids.at(at));
            dx.at(at) = g.data[0] * (std::exp(x.at(at)) / sum - hit) / static_cast<double>(ids.data.size());
          });
        });
        return give(id, 0, dx);
      }
      default:
        for (std::size_t i = 0; i < op.operands.size(); ++i) {
          Array dx = zeros(op.operands[i]);
          for_each(model, op.axes, at, [&] {
            double v[3] = {0, 0, 0};
            for (std::size_t j = 0; j < op.operands.size(); ++j) v[j] = value(op.operands[j]).at(at);
            dx.at(at) += g.at(at) * slope(op.kind, static_cast<int>(i), v[0], v[1], value(id).at(at));
          });
          give(id, i, dx);
        }
    }
  }
};

}  // namespace

ModelInputs random_inputs(const Model& model, unsigned sequence) {
  std::mt19937 random(sequence);
  ModelInputs inputs;
  for (const Parameter& p : model.parameters) {
    Array a(model, p.axes);
    for (double& x : a.data) x = rounded((static_cast<double>(random() % 2001) - 1000) / 1200, DType::bf16);
    inputs.parameters.push_back(a);
  }
  const std::int64_t n = model.axis(model.batch).size * model.axis(model.seq).size;
  std::int64_t entries = 2;
  for (const Axis& axis : model.axes)
    if (axis.vocabulary) entries = axis.size;
  for (std::int64_t i = 0; i < n; ++i) {
    inputs.tokens.push_back(random() % entries);
    inputs.targets.push_back(random() % entries);
  }
  return inputs;
}

ModelValues evaluate(const Model& model, const ModelInputs& inputs, DType activation) {
  ModelValues values;
  values.values.resize(model.ops.size());
  values.gradients.resize(model.ops.size());
  Reference reference{model, inputs, activation, values, {}, {}};
  for (std::size_t i = 0; i < model.ops.size(); ++i) reference.forward(OpId(i));
  return values;
}

void differentiate(const Model& model, const ModelInputs& inputs, DType activation, ModelValues& values) {
  Reference reference{model, inputs, activation, values, {}, {}};
  reference.parts.resize(model.ops.size());
  reference.reached.resize(model.ops.size());
  for (std::size_t i = 0; i < model.ops.size(); ++i) {
    const Op& op = model.ops[i];
    bool reached = op.kind == OpKind::parameter;
    for (OpId x : op.operands) reached = reached || reference.reached[x.index()];
    const bool numeric = op.type == ValueType::real || op.type == ValueType::loss;
    reference.reached[i] = reached && numeric && op.kind != OpKind::stop_gradient && op.kind != OpKind::to_real;
  }
  for (std::size_t i = model.loss.index() + 1; i-- > 0;) {
    if (!reference.reached[i]) continue;
    Array g;
    if (i == model.loss.index()) {
      g = Array(model, {});
      g.data[0] = inputs.seed;
    } else if (reference.parts[i].empty()) {
      continue;
    } else {
      g = reference.total(OpId(i));
    }
    values.gradients[i] = g;
    reference.backward(OpId(i), g);
  }
}

}  // namespace dsc::testing
