// What every later stage takes for granted about a graph.
#include <algorithm>
#include <set>

#include "compiler/graph/graph.h"
#include "compiler/graph/views.h"

namespace dsc {
namespace {

struct Check {
  const Graph& graph;
  const Model& model;
  std::vector<bool> written;

  std::string inputs(const Step& step) {
    for (std::size_t i = 0; i < step.inputs.size(); ++i) {
      const Operand& operand = step.inputs[i];
      if (operand.tensor.index() >= graph.tensors.size()) return "reads no tensor";
      const Tensor& tensor = graph.tensors[operand.tensor.index()];
      if (!written[operand.tensor.index()]) return "reads " + tensor.name + " before it is written";
      AxisList base;
      for (const ViewGroup& group : operand.groups) {
        base.insert(base.end(), group.base.begin(), group.base.end());
        const bool plain = group.base.size() == 1 && group.view.size() == 1;
        if (!in_range(model, group) && !(plain && step.kind == StepKind::map)) return "reads " + tensor.name + " out of range";
      }
      if (base != tensor.axes) return "views " + tensor.name + " by other axes than it has";
      AxisList seen;
      for (AxisId axis : view_axes(operand.groups)) {
        if (contains(seen, axis)) return "views " + tensor.name + " with an axis twice";
        seen.push_back(axis);
      }
    }
    return "";
  }

  std::string program(const Step& step) {
    std::vector<bool> defined(step.program.registers);
    std::vector<bool> stored(step.outputs.size());
    for (const MapInstruction& i : step.program.code) {
      for (int x : {i.a, i.b, i.c})
        if (x >= 0 && (x >= step.program.registers || !defined[x])) return "reads register " + std::to_string(x) + " unset";
      const bool stores = i.op == MapOpcode::store || i.op == MapOpcode::reduce_sum || i.op == MapOpcode::reduce_max;
      if (stores) {
        if (i.a < 0 || i.result >= 0) return "stores no register";
        if (i.slot < 0 || i.slot >= static_cast<int>(step.outputs.size()) || stored[i.slot]) return "stores to no slot of its own";
        stored[i.slot] = true;
        continue;
      }
      if (i.result < 0 || i.result >= step.program.registers || defined[i.result]) return "sets a register twice";
      defined[i.result] = true;
      const int shift = step.kind == StepKind::product ? 1 : 0;
      if (i.op == MapOpcode::load && (i.slot < 0 || i.slot + shift >= static_cast<int>(step.inputs.size())))
        return "loads from no input";
      if (i.op == MapOpcode::position && (i.slot < 0 || i.slot >= static_cast<int>(step.outer.size() + step.inner.size())))
        return "has no such position";
    }
    if (std::find(stored.begin(), stored.end(), false) != stored.end()) return "leaves an output unwritten";
    return "";
  }

  std::string map(const Step& step) {
    if (step.reduced.size() != step.outer.size()) return "has a flag for other axes than its outer ones";
    AxisList loop = joined(step.outer, step.inner), reduced;
    for (std::size_t i = 0; i < step.outer.size(); ++i)
      if (step.reduced[i]) reduced.push_back(step.outer[i]);
    for (const Operand& operand : step.inputs)
      if (!without(view_axes(operand.groups), loop).empty()) return "reads along an axis that it does not walk";
    for (const MapInstruction& i : step.program.code) {
      if (i.op != MapOpcode::store && i.op != MapOpcode::reduce_sum && i.op != MapOpcode::reduce_max) continue;
      const Tensor& out = graph.tensors[step.outputs[i.slot].index()];
      AxisList rows = i.op == MapOpcode::store ? step.outer : without(step.outer, reduced);
      if (!same_axes(out.axes, rows) && !same_axes(out.axes, joined(rows, step.inner)))
        return "writes " + out.name + " with other axes than it walks";
    }
    return program(step);
  }

  std::string product(const Step& step) {
    if (step.inputs.size() < 2) return "has no two operands";
    const auto a = strides_of(model, step.inputs[0].groups), b = strides_of(model, step.inputs[1].groups);
    if (!collapses(model, a, step.m_axes) || !collapses(model, a, step.k_axes)) return "has an A whose axes do not act as m, k";
    if (!collapses(model, b, step.n_axes) || !collapses(model, b, step.k_axes)) return "has a B whose axes do not act as k, n";
    if (a.size() != common(view_axes(step.inputs[0].groups), joined(joined(step.batch_axes, step.m_axes), step.k_axes)).size())
      return "has an A with further axes";
    if (b.size() != common(view_axes(step.inputs[1].groups), joined(joined(step.batch_axes, step.n_axes), step.k_axes)).size())
      return "has a B with further axes";
    const AxisList all = joined(joined(step.batch_axes, step.m_axes), step.n_axes);
    auto fits = [&](const std::vector<ViewGroup>& view) {
      const auto strides = strides_of(model, view);
      for (const AxisList* group : {&step.m_axes, &step.n_axes}) {
        AxisList present = common(*group, view_axes(view));
        if (!present.empty() && (present.size() != group->size() || !collapses(model, strides, *group))) return false;
      }
      return without(view_axes(view), all).empty();
    };
    for (std::size_t i = 2; i < step.inputs.size(); ++i)
      if (!fits(step.inputs[i].groups)) return "has an epilogue input that does not follow m and n";
    for (TensorId out : step.outputs) {
      const Tensor& t = graph.tensors[out.index()];
      if (!same_axes(t.axes, all) || !fits(identity_view(t.axes))) return "writes " + t.name + ", which does not follow m and n";
    }
    for (const MapInstruction& i : step.program.code)
      if (i.op == MapOpcode::inner_sum || i.op == MapOpcode::inner_max || i.op == MapOpcode::reduce_sum ||
          i.op == MapOpcode::reduce_max || i.op == MapOpcode::position)
        return "has an epilogue that reduces";
    return program(step);
  }

  std::string step(const Step& step) {
    if (std::string bad = inputs(step); !bad.empty()) return bad;
    std::string bad;
    if (step.kind == StepKind::map) bad = map(step);
    else if (step.kind == StepKind::product) bad = product(step);
    else if (!step.op) bad = "belongs to no op";
    if (!bad.empty()) return bad;
    if (step.outputs.empty()) return "writes nothing";
    for (TensorId out : step.outputs) {
      if (written[out.index()]) return "writes " + graph.tensors[out.index()].name + " again";
      written[out.index()] = true;
    }
    return "";
  }

  std::string performs() {
    std::set<std::tuple<int, std::size_t, int>> seen;
    for (const Step& step : graph.steps) {
      for (const Performed& p : step.performs) {
        const bool repeats = p.pass == Pass::recompute || (p.pass == Pass::total && model.op(p.op).kind == OpKind::parameter);
        if (!repeats && !seen.insert({static_cast<int>(p.pass), p.op.index(), p.operand}).second)
          return "step " + step.name + " performs again what is done: " + name_of(model.op(p.op).kind) + " " + p.op.str();
      }
    }
    return "";
  }
};

}  // namespace

std::string verify_graph(const Graph& graph, const Model& model) {
  Check check{graph, model, std::vector<bool>(graph.tensors.size())};
  for (std::size_t i = 0; i < graph.tensors.size(); ++i) {
    TensorRole role = graph.tensors[i].role;
    check.written[i] = role == TensorRole::parameter || role == TensorRole::tokens || role == TensorRole::targets ||
                       role == TensorRole::seed;
  }
  for (std::size_t i = 0; i < graph.steps.size(); ++i)
    if (std::string bad = check.step(graph.steps[i]); !bad.empty())
      return "step " + std::to_string(i) + " (" + graph.steps[i].name + ") " + bad;
  for (const auto& gradients : graph.parameter_gradients)
    for (TensorId t : gradients)
      if (!check.written[t.index()]) return graph.tensors[t.index()].name + " is never written";
  if (graph.forward_steps > graph.steps.size()) return "the forward pass is longer than the graph";
  return check.performs();
}

}  // namespace dsc
