// One line a step: what it writes, from what, over which axes, by which instructions, and which ops that performs.
#include <cstdio>

#include "compiler/graph/graph.h"
#include "compiler/graph/views.h"

namespace dsc {
namespace {

struct Printer {
  const Graph& graph;
  const Model& model;
  std::string out;

  std::string names(const AxisList& axes) const {
    std::string s;
    for (AxisId axis : axes) s += (s.empty() ? "" : " ") + model.axis(axis).path;
    return s;
  }

  std::string tensor(TensorId id) const {
    const Tensor& t = graph.tensors[id.index()];
    return id.str() + " " + t.name + ": " + std::string(name_of(t.type)) + "[" + names(t.axes) + "]";
  }

  std::string operand(const Operand& operand) const {
    std::string s = operand.tensor.str(), view;
    bool moved = false;
    for (const ViewGroup& group : operand.groups) {
      view += view.empty() ? "" : " ";
      if (group.base == group.view && group.offset == 0) {
        view += names(group.base);
        continue;
      }
      moved = true;
      view += "(" + names(group.base);
      if (group.offset != 0) view += (group.offset > 0 ? " + " : " - ") + std::to_string(std::abs(group.offset));
      view += " as " + names(group.view) + ")";
    }
    return moved ? s + "[" + view + "]" : s;
  }

  static const char* opcode(MapOpcode op) {
    static constexpr const char* kNames[] = {
        "load", "constant", "position", "add", "subtract", "multiply", "divide", "power", "negate", "exp", "log", "sqrt",
        "rsqrt", "tanh", "sigmoid", "erf", "sin", "cos", "absolute", "maximum", "minimum", "less", "less_equal", "greater",
        "greater_equal", "equal", "not_equal", "select", "round", "inner_sum", "inner_max", "store", "reduce_sum",
        "reduce_max"};
    return kNames[static_cast<int>(op)];
  }

  std::string program(const MapProgram& program) const {
    std::string s;
    for (const MapInstruction& i : program.code) {
      s += s.empty() ? "" : "; ";
      if (i.result >= 0) s += "r" + std::to_string(i.result) + " = ";
      s += opcode(i.op);
      if (i.op == MapOpcode::constant) {
        char text[40];
        std::snprintf(text, sizeof text, " %.9g%s", i.number, i.per_row ? " / rows" : "");
        s += text;
      }
      for (int x : {i.a, i.b, i.c})
        if (x >= 0) s += " r" + std::to_string(x);
      if (i.slot >= 0) s += " #" + std::to_string(i.slot);
    }
    return s;
  }

  std::string loop(const Step& step) const {
    if (step.kind == StepKind::product) {
      std::string batch = step.batch_axes.empty() ? "" : names(step.batch_axes) + " | ";
      return " (" + batch + "m: " + names(step.m_axes) + ", n: " + names(step.n_axes) + ", k: " + names(step.k_axes) + ")";
    }
    if (step.kind != StepKind::map) return "";
    std::string s;
    for (std::size_t i = 0; i < step.outer.size(); ++i)
      s += (i ? " " : "") + std::string(step.reduced[i] ? "+" : "") + model.axis(step.outer[i]).path;
    return " (" + s + (s.empty() ? "| " : " | ") + names(step.inner) + ")";
  }

  std::string performs(const Step& step) const {
    std::string s;
    const char* last = "";
    for (const Performed& p : step.performs) {
      const char* pass = p.pass == Pass::forward ? "forward" : p.pass == Pass::recompute ? "recompute"
                         : p.pass == Pass::gradient ? "gradient" : "total";
      if (std::string_view(pass) != last) s += (s.empty() ? "" : ", ") + std::string(pass);
      last = pass;
      s += " " + p.op.str();
      if (p.pass == Pass::gradient) s += "." + std::to_string(p.operand);
    }
    return s;
  }

  static const char* kind(StepKind kind) {
    static constexpr const char* kNames[] = {"map", "product", "attend_forward", "attend_backward", "lookup", "lookup_backward",
                                             "cross_entropy", "classifier", "rotate"};
    return kNames[static_cast<int>(kind)];
  }

  void step(std::size_t index) {
    const Step& step = graph.steps[index];
    out += "s" + std::to_string(index) + " ";
    for (std::size_t i = 0; i < step.outputs.size(); ++i) out += (i ? ", " : "") + tensor(step.outputs[i]);
    out += " = ";
    out += kind(step.kind);
    if (step.inverse) out += " inverse";
    if (step.backward) out += " with gradient";
    if (step.weight_gradient) out += " of weights";
    out += loop(step);
    for (const Operand& x : step.inputs) out += " " + operand(x);
    if (!step.program.code.empty()) out += " { " + program(step.program) + " }";
    if (step.seed_factor != 1) out += " times " + std::to_string(step.seed_factor);
    out += "  // " + performs(step) + "\n";
  }
};

}  // namespace

std::string print(const Graph& graph, const Model& model) {
  Printer p{graph, model, "graph of " + model.name + "\n"};
  for (std::size_t i = 0; i < graph.tensors.size(); ++i) {
    TensorRole role = graph.tensors[i].role;
    if (role == TensorRole::parameter || role == TensorRole::tokens || role == TensorRole::targets || role == TensorRole::seed)
      p.out += p.tensor(TensorId(i)) + "\n";
  }
  for (std::size_t i = 0; i < graph.steps.size(); ++i) {
    if (i == graph.forward_steps) p.out += "--\n";
    p.step(i);
  }
  return p.out;
}

}  // namespace dsc
