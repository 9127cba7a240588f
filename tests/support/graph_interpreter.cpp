#include "tests/support/graph_interpreter.h"

#include <algorithm>
#include <cmath>

#include "compiler/support/check.h"

namespace dsc::testing {
namespace {

double apply(const MapInstruction& i, double a, double b, double c) {
  switch (i.op) {
    case MapOpcode::add: return a + b;
    case MapOpcode::subtract: return a - b;
    case MapOpcode::multiply: return a * b;
    case MapOpcode::divide: return a / b;
    case MapOpcode::power: return std::pow(a, b);
    case MapOpcode::negate: return -a;
    case MapOpcode::exp: return std::exp(a);
    case MapOpcode::log: return std::log(a);
    case MapOpcode::sqrt: return std::sqrt(a);
    case MapOpcode::rsqrt: return 1 / std::sqrt(a);
    case MapOpcode::tanh: return std::tanh(a);
    case MapOpcode::sigmoid: return 1 / (1 + std::exp(-a));
    case MapOpcode::erf: return std::erf(a);
    case MapOpcode::sin: return std::sin(a);
    case MapOpcode::cos: return std::cos(a);
    case MapOpcode::absolute: return std::fabs(a);
    case MapOpcode::maximum: return std::max(a, b);
    case MapOpcode::minimum: return std::min(a, b);
    case MapOpcode::less: return a < b;
    case MapOpcode::less_equal: return a <= b;
    case MapOpcode::greater: return a > b;
    case MapOpcode::greater_equal: return a >= b;
    case MapOpcode::equal: return a == b;
    case MapOpcode::not_equal: return a != b;
    case MapOpcode::select: return a != 0 ? b : c;
    case MapOpcode::round: return rounded(a, i.type);
    default: DSC_CHECK(false, "no such arithmetic");
  }
}

struct Machine {
  const Graph& graph;
  const Model& model;
  DType activation;
  std::vector<Array> tensors;

  double read(const Operand& operand, const Index& at) const {
    const Array& array = tensors[operand.tensor.index()];
    Index base(model.axes.size(), 0);
    for (const ViewGroup& group : operand.groups) {
      std::int64_t flat = 0, count = 1;
      for (AxisId axis : group.view) flat = flat * model.axis(axis).size + at[axis.index()];
      flat += group.offset;
      for (AxisId axis : group.base) count *= model.axis(axis).size;
      if (flat < 0 || flat >= count) return 0;
      for (auto axis = group.base.rbegin(); axis != group.base.rend(); ++axis) {
        base[axis->index()] = flat % model.axis(*axis).size;
        flat /= model.axis(*axis).size;
      }
    }
    return array.at(base);
  }

  // As an array with the axes of its view.
  Array whole(const Operand& operand) const {
    std::vector<AxisId> axes;
    for (const ViewGroup& group : operand.groups) axes.insert(axes.end(), group.view.begin(), group.view.end());
    Array array(model, axes);
    Index at(model.axes.size(), 0);
    for_each(model, axes, at, [&] { array.at(at) = read(operand, at); });
    return array;
  }

  Array& output(const Step& step, std::size_t i) { return tensors[step.outputs[i].index()]; }
  void write(const Step& step, std::size_t i, const Index& at, double x) {
    output(step, i).at(at) = rounded(x, graph.tensors[step.outputs[i].index()].type);
  }
  void round_output(const Step& step, std::size_t i) {
    for (double& x : output(step, i).data) x = rounded(x, graph.tensors[step.outputs[i].index()].type);
  }

  // ---- Maps: a row at a time, every register a row ----
  void map(const Step& step) {
    std::vector<AxisId> dims = step.outer;
    dims.insert(dims.end(), step.inner.begin(), step.inner.end());
    std::vector<bool> touched(step.outputs.size());
    Index at(model.axes.size(), 0);
    std::int64_t width = 1;
    for (AxisId axis : step.inner) width *= model.axis(axis).size;
    std::vector<std::vector<double>> r(step.program.registers, std::vector<double>(width));
    for_each(model, step.outer, at, [&] {
      for (const MapInstruction& i : step.program.code) {
        if (i.op == MapOpcode::inner_sum || i.op == MapOpcode::inner_max) {
          double total = i.op == MapOpcode::inner_sum ? 0 : -1e300;
          for (double x : r[i.a]) total = i.op == MapOpcode::inner_sum ? total + x : std::max(total, x);
          std::fill(r[i.result].begin(), r[i.result].end(), total);
          continue;
        }
        std::int64_t n = 0;
        for_each(model, step.inner, at, [&] { element(step, i, dims, at, r, n++); });
      }
      for (const MapInstruction& i : step.program.code) {
        if (i.op != MapOpcode::reduce_sum && i.op != MapOpcode::reduce_max) continue;
        Array& out = output(step, i.slot);
        const bool per_row = std::none_of(step.inner.begin(), step.inner.end(), [&](AxisId a) {
          return std::find(out.axes.begin(), out.axes.end(), a) != out.axes.end();
        });
        if (i.op == MapOpcode::reduce_max && !touched[i.slot]) std::fill(out.data.begin(), out.data.end(), -1e300);
        touched[i.slot] = true;
        std::int64_t n = 0;
        for_each(model, step.inner, at, [&] {
          const double x = r[i.a][n++];
          if (per_row && n > 1) return;
          out.at(at) = i.op == MapOpcode::reduce_sum ? out.at(at) + x : std::max(out.at(at), x);
        });
      }
    });
    for (const MapInstruction& i : step.program.code)
      if (i.op == MapOpcode::reduce_sum) round_output(step, i.slot);
  }

  void element(const Step& step, const MapInstruction& i, const std::vector<AxisId>& dims, const Index& at,
               std::vector<std::vector<double>>& r, std::int64_t n) {
    switch (i.op) {
      case MapOpcode::load: r[i.result][n] = read(step.inputs[i.slot], at); return;
      case MapOpcode::constant: r[i.result][n] = constant(i); return;
      case MapOpcode::position: r[i.result][n] = static_cast<double>(at[dims[i.slot].index()]); return;
      case MapOpcode::store: write(step, i.slot, at, r[i.a][n]); return;
      case MapOpcode::reduce_sum: case MapOpcode::reduce_max: return;
      default:
        r[i.result][n] = apply(i, r[i.a][n], i.b < 0 ? 0 : r[i.b][n], i.c < 0 ? 0 : r[i.c][n]);
    }
  }

  double constant(const MapInstruction& i) const {
    return i.per_row ? i.number / static_cast<double>(model.axis(model.batch).size) : i.number;
  }

  void product(const Step& step) {
    std::vector<AxisId> result = step.outer;
    result.insert(result.end(), step.inner.begin(), step.inner.end());
    Index at(model.axes.size(), 0);
    std::vector<double> r(step.program.registers);
    for_each(model, result, at, [&] {
      double sum = 0;
      for_each(model, step.k_axes, at, [&] { sum += read(step.inputs[0], at) * read(step.inputs[1], at); });
      for (const MapInstruction& i : step.program.code) {
        if (i.op == MapOpcode::load) r[i.result] = i.slot == 0 ? sum : read(step.inputs[i.slot + 1], at);
        else if (i.op == MapOpcode::constant) r[i.result] = constant(i);
        else if (i.op == MapOpcode::store) write(step, i.slot, at, r[i.a]);
        else r[i.result] = apply(i, r[i.a], i.b < 0 ? 0 : r[i.b], i.c < 0 ? 0 : r[i.c]);
      }
    });
  }

  void lookup(const Step& step) {
    const Op& op = model.op(*step.op);
    Index at(model.axes.size(), 0);
    const Operand& ids = step.inputs[1];
    if (step.kind == StepKind::lookup) {
      for_each(model, output(step, 0).axes, at, [&] {
        Index from = at;
        from[op.over[0].index()] = static_cast<std::int64_t>(read(ids, at));
        write(step, 0, at, read(step.inputs[0], from));
      });
      return;
    }
    for_each(model, op.axes, at, [&] {
      Index to = at;
      to[op.over[0].index()] = static_cast<std::int64_t>(read(ids, at));
      output(step, 0).at(to) += read(step.inputs[0], at);
    });
  }

  // Loss and gradient of logits `x`, [rows..., vocab].
  void loss(const Step& step, const Op& op, const Array& x, const Operand& ids, double seed, double& value, Array* dx) {
    Index at(model.axes.size(), 0);
    const std::vector<AxisId>& rows = model.op(op.operands[1]).axes;
    double n = 1;
    for (AxisId axis : rows) n *= static_cast<double>(model.axis(axis).size);
    for_each(model, rows, at, [&] {
      const auto target = static_cast<std::int64_t>(read(ids, at));
      double sum = 0;
      for_each(model, op.over, at, [&] { sum += std::exp(x.at(at)); });
      for_each(model, op.over, at, [&] {
        const bool hit = at[op.over[0].index()] == target;
        if (hit) value += (std::log(sum) - x.at(at)) / n;
        if (dx) dx->at(at) = seed * step.seed_factor * (std::exp(x.at(at)) / sum - hit) / n;
      });
    });
  }

  void cross_entropy(const Step& step) {
    const Op& op = model.op(*step.op);
    Array x = whole(step.inputs[0]);
    Array dx(model, x.axes);
    const double seed = step.backward ? read(step.inputs[2], Index(model.axes.size(), 0)) : 0;
    loss(step, op, x, step.inputs[1], seed, output(step, 0).data[0], step.backward ? &dx : nullptr);
    if (!step.backward) return;
    output(step, 1).data = dx.data;
    round_output(step, 1);
  }

  void classifier(const Step& step) {
    const Op &op = model.op(*step.op), &dot = model.op(*step.dot);
    Array h = whole(step.inputs[0]), w = whole(step.inputs[1]);
    std::vector<AxisId> axes = model.op(op.operands[1]).axes;
    axes.insert(axes.end(), op.over.begin(), op.over.end());
    Array x(model, axes), dx(model, axes);
    Index at(model.axes.size(), 0);
    for_each(model, axes, at, [&] { for_each(model, dot.over, at, [&] { x.at(at) += h.at(at) * w.at(at); }); });
    const double seed = step.backward ? read(step.inputs[3], Index(model.axes.size(), 0)) : 0;
    loss(step, op, x, step.inputs[2], seed, output(step, 0).data[0], step.backward ? &dx : nullptr);
    if (!step.backward) return;
    for (double& g : dx.data) g = rounded(g, activation);
    Array dh(model, h.axes), dw(model, w.axes);
    for_each(model, axes, at, [&] {
      for_each(model, dot.over, at, [&] {
        dh.at(at) += dx.at(at) * w.at(at);
        dw.at(at) += dx.at(at) * h.at(at);
      });
    });
    output(step, 1).data = dh.data;
    output(step, 2).data = dw.data;
    round_output(step, 1), round_output(step, 2);
  }

  void attention(const Step& step) {
    const Op& op = model.op(*step.op);
    Array q = whole(step.inputs[0]), k = whole(step.inputs[1]), v = whole(step.inputs[2]);
    if (step.kind == StepKind::attend_forward) {
      attend(model, op, q, k, v, output(step, 0));
      round_output(step, 0);
      return;
    }
    DSC_CHECK(graph.tensors[step.inputs[3].tensor.index()].type == graph.tensors[step.inputs[5].tensor.index()].type,
              "out and dout differ in type");
    for (int i = 0; i < 3; ++i) {
      std::vector<AxisId> stored;
      for (const ViewGroup& g : step.inputs[i].groups) stored.insert(stored.end(), g.view.begin(), g.view.end());
      DSC_CHECK(output(step, i).axes == stored, "a gradient of attention is not laid out as its operand");
    }
    attend_gradient(model, op, q, k, v, whole(step.inputs[3]), whole(step.inputs[5]), output(step, 0), output(step, 1),
                    output(step, 2));
    for (int i = 0; i < 3; ++i) round_output(step, i);
  }

  void run(const Step& step) {
    switch (step.kind) {
      case StepKind::map: return map(step);
      case StepKind::product: return product(step);
      case StepKind::attend_forward: case StepKind::attend_backward: return attention(step);
      case StepKind::lookup: case StepKind::lookup_backward: return lookup(step);
      case StepKind::cross_entropy: return cross_entropy(step);
      case StepKind::classifier: return classifier(step);
      case StepKind::rotate:
        rotate(model, model.op(*step.op), whole(step.inputs[0]), step.inverse, output(step, 0));
        return round_output(step, 0);
    }
  }
};

}  // namespace

std::vector<Array> run_graph(const Graph& graph, const Model& model, const ModelInputs& inputs, DType activation) {
  Machine machine{graph, model, activation, {}};
  for (const Tensor& t : graph.tensors) machine.tensors.emplace_back(model, t.axes);
  for (std::size_t p = 0; p < graph.parameters.size(); ++p) {
    if (!graph.parameters[p]) continue;
    Array& array = machine.tensors[graph.parameters[p]->index()];
    array.data = inputs.parameters[p].data;
    for (double& x : array.data) x = rounded(x, activation);
  }
  auto fill = [&](std::optional<TensorId> t, const std::vector<std::int64_t>& from) {
    if (t) std::copy(from.begin(), from.end(), machine.tensors[t->index()].data.begin());
  };
  fill(graph.tokens, inputs.tokens);
  fill(graph.targets, inputs.targets);
  if (graph.seed) machine.tensors[graph.seed->index()].data[0] = inputs.seed;
  for (const Step& step : graph.steps) machine.run(step);
  return std::move(machine.tensors);
}

Array parameter_gradient(const Graph& graph, const std::vector<Array>& tensors, const Model& model, ParameterId parameter) {
  Array sum(model, model.parameter(parameter).axes);
  for (TensorId t : graph.parameter_gradients[parameter.index()])
    for (std::size_t i = 0; i < sum.data.size(); ++i) sum.data[i] += tensors[t.index()].data[i];
  return sum;
}

}  // namespace dsc::testing
