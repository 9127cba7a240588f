// Kernels to steps: tensors for what is stored, register programs for maps and epilogues, and the list of the ops that each
// step performs.
#include <algorithm>
#include <set>

#include "compiler/graph/build.h"
#include "compiler/support/check.h"

namespace dsc {
namespace {

bool same_view(const std::vector<ViewGroup>& a, const std::vector<ViewGroup>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const ViewGroup& x, const ViewGroup& y) {
    return x.base == y.base && x.view == y.view && x.offset == y.offset;
  });
}

class Emission {
 public:
  Emission(Nodes& nodes, const NodeProgram& program, std::vector<FusedKernel>& kernels)
      : nodes_(nodes), program_(program), kernels_(kernels), model_(nodes.model()) {}

  Graph run() {
    tensor_.resize(nodes_.size());
    register_.assign(nodes_.size(), -1);
    epoch_of_.assign(nodes_.size(), -1);
    listed_.assign(nodes_.size(), 0);
    leaves();
    for (std::size_t k = 0; k < kernels_.size(); ++k) {
      if (first_node(kernels_[k]) < program_.backward_begin) graph_.forward_steps = k + 1;
      emit(static_cast<int>(k));
    }
    outputs();
    return std::move(graph_);
  }

 private:
  static int first_node(const FusedKernel& kernel) { return kernel.node >= 0 ? kernel.node : kernel.roots.front(); }

  // ---- Tensors ----
  std::string value_name(OpId op) const {
    const Op& o = model_.op(op);
    return o.name.empty() ? std::string(name_of(o.kind)) + " " + op.str() : o.name;
  }

  TensorId add_tensor(Tensor tensor) {
    graph_.tensors.push_back(std::move(tensor));
    return TensorId(graph_.tensors.size() - 1);
  }

  DType type_of(const Node& node) const {
    if (node.store_type) return *node.store_type;
    if (node.integer) return DType::i32;
    return node.exact ? nodes_.activation() : DType::f32;
  }

  TensorId store(int id) {
    if (tensor_[id]) return *tensor_[id];
    const Node& node = nodes_[id];
    Tensor t;
    t.role = node.role;
    t.axes = node.axes;
    t.type = type_of(node);
    t.op = node.op;
    t.parameter = node.parameter;
    t.segment = node.segment;
    if (node.op) t.source = model_.op(*node.op).source;
    switch (node.role) {
      case TensorRole::parameter_gradient:
        t.name = "grad " + model_.parameter(*node.parameter).path;
        t.source = model_.parameter(*node.parameter).source;
        break;
      case TensorRole::gradient: t.name = "grad " + value_name(*node.op); break;
      case TensorRole::contribution: t.name = "part of grad " + value_name(*node.op); break;
      case TensorRole::statistics: t.name = "statistics of " + value_name(*node.op); break;
      case TensorRole::loss: t.name = "loss"; break;
      default: t.name = value_name(*node.op);
    }
    if (node.again) t.name += " again";
    tensor_[id] = add_tensor(std::move(t));
    return *tensor_[id];
  }

  void leaves() {
    graph_.parameters.resize(model_.parameters.size());
    for (std::size_t p = 0; p < model_.parameters.size(); ++p) {
      int node = program_.parameter_nodes[p];
      if (node < 0) continue;
      const Parameter& parameter = model_.parameters[p];
      tensor_[node] = graph_.parameters[p] =
          add_tensor({.name = parameter.path, .role = TensorRole::parameter, .axes = parameter.axes,
                      .type = nodes_.activation(), .op = std::nullopt, .parameter = ParameterId(p), .segment = 0,
                      .source = parameter.source});
    }
    auto leaf = [&](int node, const char* name, TensorRole role, DType type, std::optional<TensorId>& place) {
      if (node < 0) return;
      tensor_[node] = place = add_tensor({.name = name, .role = role, .axes = nodes_[node].axes, .type = type,
                                          .op = std::nullopt, .parameter = std::nullopt, .segment = 0, .source = {}});
    };
    leaf(program_.tokens, "tokens", TensorRole::tokens, DType::i32, graph_.tokens);
    leaf(program_.targets, "targets", TensorRole::targets, DType::i32, graph_.targets);
    leaf(program_.seed, "loss scale", TensorRole::seed, DType::f32, graph_.seed);
  }

  void outputs() {
    if (program_.loss) graph_.loss = *tensor_[*program_.loss];
    if (program_.logits) graph_.logits = *tensor_[*program_.logits];
    graph_.parameter_gradients.resize(model_.parameters.size());
    for (std::size_t p = 0; p < model_.parameters.size(); ++p)
      for (int node : program_.parameter_gradients[p]) graph_.parameter_gradients[p].push_back(*tensor_[node]);
  }

  // ---- What a step performs ----
  void list(int id, bool computes) {
    const Node& node = nodes_[id];
    for (const Performed& mark : node.marks) {
      // A parameter has a total for each segment, all of one op: those hang on the node alone.
      const bool per_segment = mark.pass == Pass::total && model_.op(mark.op).kind == OpKind::parameter;
      bool first = per_segment ? listed_[id] == 0
                               : performed_.insert({static_cast<int>(mark.pass), mark.op.index(), mark.operand}).second;
      if (first) step_->performs.push_back(mark);
      else if (computes && mark.pass == Pass::forward) step_->performs.push_back({Pass::recompute, mark.op, 0});
    }
    listed_[id] = 1;
  }

  // Along a view down to what it reads.
  void list_through(int id) {
    for (;;) {
      list(id, false);
      const Node& node = nodes_[id];
      const bool passes = node.kind == NodeKind::view || node.kind == NodeKind::copy || node.kind == NodeKind::expand;
      if (!passes) return;
      id = node.in[0];
      if (is_boundary(nodes_[id]) && nodes_[id].kind != NodeKind::view && nodes_[id].kind > NodeKind::seed) return;
    }
  }

  void sort_performs() {
    auto& list = step_->performs;
    auto rank = [](const Performed& p) { return p.pass == Pass::recompute ? 0 : p.pass == Pass::forward ? 1 : 2; };
    std::sort(list.begin(), list.end(), [&](const Performed& a, const Performed& b) {
      if (rank(a) != rank(b)) return rank(a) < rank(b);
      if (a.op != b.op) return rank(a) == 2 ? a.op > b.op : a.op < b.op;
      if (a.pass != b.pass) return a.pass > b.pass;  // total before gradient
      return a.operand < b.operand;
    });
    list.erase(std::unique(list.begin(), list.end()), list.end());
  }

  // ---- Programs ----
  int emit_instruction(MapInstruction instruction, bool varies) {
    instruction.result = step_->program.registers++;
    step_->program.code.push_back(instruction);
    varies_.push_back(varies);
    return instruction.result;
  }

  bool varies_within(const AxisList& axes) const { return !common(axes, step_->inner).empty(); }

  int load(int base, const std::vector<ViewGroup>& view) {
    DSC_CHECK(tensor_[base], "a step reads what is not stored");
    const std::size_t first = step_->kind == StepKind::product ? 2 : 0;
    for (std::size_t i = first; i < step_->inputs.size(); ++i)
      if (step_->inputs[i].tensor == *tensor_[base] && same_view(step_->inputs[i].groups, view)) return loaded_[i - first];
    step_->inputs.push_back({*tensor_[base], view});
    MapInstruction instruction;
    instruction.op = MapOpcode::load;
    // A product's slot 0 is its tile, and its inputs begin with A and B.
    instruction.slot = static_cast<int>(step_->inputs.size() - 1) - (first == 2 ? 1 : 0);
    loaded_.push_back(emit_instruction(instruction, varies_within(view_axes(view))));
    return loaded_.back();
  }

  int constant(double number, bool per_row) {
    for (const auto& [id, known] : constants_)
      if (known == std::pair{number, per_row}) return id;
    MapInstruction instruction;
    instruction.op = MapOpcode::constant;
    instruction.number = number;
    instruction.per_row = per_row;
    constants_.push_back({emit_instruction(instruction, false), {number, per_row}});
    return constants_.back().first;
  }

  int position(AxisId axis) {
    AxisList dims = step_->outer;
    dims.insert(dims.end(), step_->inner.begin(), step_->inner.end());
    MapInstruction instruction;
    instruction.op = MapOpcode::position;
    instruction.slot = static_cast<int>(std::find(dims.begin(), dims.end(), axis) - dims.begin());
    return emit_instruction(instruction, varies_within({axis}));
  }

  int pointwise(MapOpcode op, const std::vector<int>& in) {
    MapInstruction instruction;
    instruction.op = op;
    bool varies = false;
    int* places[] = {&instruction.a, &instruction.b, &instruction.c};
    for (std::size_t i = 0; i < in.size(); ++i) {
      *places[i] = in[i];
      varies |= varies_[in[i]];
    }
    // Derivatives repeat what the value's own arithmetic has computed.
    for (const MapInstruction& known : step_->program.code)
      if (known.op == op && op != MapOpcode::round && known.a == instruction.a && known.b == instruction.b && known.c == instruction.c) return known.result;
    return emit_instruction(instruction, varies);
  }

  // Over all inner elements of a row. A value that is the same for all of them is not summed but multiplied.
  int reduce_inner(MapOpcode op, int x) {
    if (varies_[x]) {
      int r = pointwise(op, {x});
      varies_[r] = false;
      return r;
    }
    if (op == MapOpcode::inner_max || step_->inner.empty()) return x;
    double count = 1;
    for (AxisId axis : step_->inner) {
      DSC_CHECK(axis != model_.batch, "a sum over rows of what does not vary along them");
      count *= static_cast<double>(model_.axis(axis).size);
    }
    return pointwise(MapOpcode::multiply, {x, constant(count, false)});
  }

  int evaluate(int id) {
    if (epoch_of_[id] == kernel_) return register_[id];
    const Node& node = nodes_[id];
    int r = -1;
    const bool own_root = is_root_here(id);
    if (!own_root && is_boundary(node)) {
      const bool through = node.kind == NodeKind::view && !node.root;
      list_through(id);
      r = through ? load(node.reading.base, node.reading.view) : load(id, identity_view(node.axes));
    } else {
      r = compute(id, node);
      list(id, true);
    }
    epoch_of_[id] = kernel_;
    register_[id] = r;
    return r;
  }

  bool is_root_here(int id) const {
    const auto& roots = kernels_[kernel_].roots;
    return id == kernels_[kernel_].node || (nodes_[id].root && std::find(roots.begin(), roots.end(), id) != roots.end());
  }

  int compute(int id, const Node& node) {
    switch (node.kind) {
      case NodeKind::constant: return constant(node.number, node.per_row);
      case NodeKind::position: return position(node.axes[0]);
      case NodeKind::dot: {
        MapInstruction instruction;
        instruction.op = MapOpcode::load;
        instruction.slot = 0;
        return emit_instruction(instruction, true);
      }
      case NodeKind::view: {
        list_through(node.in[0]);
        return load(node.reading.base, node.reading.view);
      }
      case NodeKind::copy:
      case NodeKind::expand: return evaluate(node.in[0]);
      case NodeKind::reduce: {
        int x = evaluate(node.in[0]);
        if (!node.adds_rows) return reduce_inner(node.opcode, x);
        // Added over rows when it is stored; within the row here.
        const bool within = !step_->inner.empty() && !common(node.over, step_->inner).empty();
        return within ? reduce_inner(node.opcode, x) : x;
      }
      case NodeKind::pointwise: break;
      default: DSC_CHECK(false, "no arithmetic for node " + std::to_string(id));
    }
    std::vector<int> in;
    for (int x : node.in) in.push_back(evaluate(x));
    if (node.opcode != MapOpcode::round) return pointwise(node.opcode, in);
    if (nodes_.activation() == DType::f32) return in[0];
    int r = pointwise(MapOpcode::round, in);
    step_->program.code.back().type = nodes_.activation();
    return r;
  }

  void store_root(int id) {
    const Node& node = nodes_[id];
    int r = evaluate(id);
    if (!node.output) return;
    MapInstruction instruction;
    instruction.op = MapOpcode::store;
    if (node.adds_rows && !kernels_[kernel_].reduced->empty())
      instruction.op = node.opcode == MapOpcode::inner_max ? MapOpcode::reduce_max : MapOpcode::reduce_sum;
    instruction.a = r;
    instruction.slot = static_cast<int>(step_->outputs.size());
    step_->outputs.push_back(store(id));
    step_->program.code.push_back(instruction);
  }

  // ---- Steps ----
  void choose_inner(FusedKernel& kernel) {
    if (kernel.inner) return;
    const AxisList reduced = kernel.reduced.value_or(AxisList{});
    const AxisList& loop = kernel.loop;
    std::size_t first = 0;
    for (std::size_t i = 0; i < loop.size(); ++i)
      if (loop[i] == model_.batch || loop[i] == model_.seq || contains(reduced, loop[i])) first = i + 1;
    AxisList inner(loop.begin() + first, loop.end());
    if (inner.empty())
      for (auto axis = loop.rbegin(); axis != loop.rend() && inner.empty(); ++axis)
        if (!contains(reduced, *axis) && *axis != model_.batch) inner = {*axis};
    kernel.inner = inner;
  }

  void emit(int k) {
    FusedKernel& kernel = kernels_[k];
    graph_.steps.emplace_back();
    step_ = &graph_.steps.back();
    step_->kind = kernel.kind;
    kernel_ = k;
    loaded_.clear();
    constants_.clear();
    varies_.clear();
    if (kernel.kind == StepKind::map) {
      choose_inner(kernel);
      step_->inner = common(kernel.loop, *kernel.inner);
      step_->outer = without(kernel.loop, step_->inner);
      for (AxisId axis : step_->outer) step_->reduced.push_back(kernel.reduced && contains(*kernel.reduced, axis));
    } else if (kernel.kind == StepKind::product) {
      product(nodes_[kernel.node]);
    } else {
      heavy(kernel);
    }
    // By id: what a root reads of the same kernel is then at hand.
    std::sort(kernel.roots.begin(), kernel.roots.end());
    for (int root : kernel.roots) store_root(root);
    drop_dead_code();
    sort_performs();
    describe(kernel);
  }

  void operand(int x) {
    list_through(x);
    Reading reading = nodes_.read(x);
    DSC_CHECK(tensor_[reading.base], "a step reads what is not stored");
    step_->inputs.push_back({*tensor_[reading.base], reading.view});
  }

  void product(const Node& node) {
    step_->batch_axes = node.batch;
    step_->m_axes = node.m;
    step_->n_axes = node.n;
    step_->k_axes = node.k;
    step_->outer = joined(node.batch, node.m);
    step_->inner = node.n;
    step_->weight_gradient = node.weight_gradient;
    for (int x : node.in) operand(x);
  }

  void heavy(const FusedKernel& kernel) {
    const Node& node = nodes_[kernel.node];
    step_->op = node.step_op;
    step_->dot = node.step_dot;
    step_->inverse = node.inverse;
    step_->backward = node.backward;
    step_->seed_factor = node.seed_factor;
    for (int x : node.in) operand(x);
    list(kernel.node, true);
    for (int r : node.results) {
      list(r, true);
      int stored = nodes_[r].absorbed >= 0 ? nodes_[r].absorbed : r;
      if (stored != r) list(stored, true);
      // Attention's gradients have one type, those that nothing reads too.
      if (node.step == StepKind::attend_backward && stored == r) {
        for (int other : node.results)
          if (nodes_[other].absorbed >= 0) nodes_[r].store_type = nodes_.activation();
      }
      step_->outputs.push_back(store(stored));
    }
  }

  // A register that nothing reads: a rounding of what is only stored, say.
  void drop_dead_code() {
    MapProgram& program = step_->program;
    std::vector<bool> used(program.registers);
    std::vector<MapInstruction> kept;
    for (auto i = program.code.rbegin(); i != program.code.rend(); ++i) {
      const bool tile = step_->kind == StepKind::product && i->op == MapOpcode::load && i->slot == 0;
      if (i->result >= 0 && !used[i->result] && !tile && i->op != MapOpcode::load) continue;
      for (int x : {i->a, i->b, i->c})
        if (x >= 0) used[x] = true;
      kept.push_back(*i);
    }
    std::reverse(kept.begin(), kept.end());
    std::vector<int> renamed(program.registers, -1);
    program.registers = 0;
    for (MapInstruction& i : kept) {
      for (int* x : {&i.a, &i.b, &i.c})
        if (*x >= 0) *x = renamed[*x];
      if (i.result >= 0) i.result = renamed[i.result] = program.registers++;
    }
    program.code = std::move(kept);
  }

  void describe(const FusedKernel& kernel) {
    int main = kernel.node;
    if (!step_->outputs.empty()) step_->name = graph_.tensors[step_->outputs.front().index()].name;
    // The last value that is not a parameter's gradient, nor computed again beside it, says best what a map is about.
    const bool backward = first_node(kernel) >= program_.backward_begin;
    for (TensorId t : step_->outputs) {
      const TensorRole role = graph_.tensors[t.index()].role;
      if (role != TensorRole::parameter_gradient && role != TensorRole::statistics && !(backward && role == TensorRole::value))
        step_->name = graph_.tensors[t.index()].name;
    }
    if (main < 0) {
      main = kernel.roots.back();
      for (int root : kernel.roots)
        if (!nodes_[root].again) main = root;
    }
    std::optional<OpId> op = nodes_[main].op;
    if (nodes_[main].kind == NodeKind::heavy) op = nodes_[main].step_op;
    if (op) step_->source = model_.op(*op).source;
  }

  Nodes& nodes_;
  const NodeProgram& program_;
  std::vector<FusedKernel>& kernels_;
  const Model& model_;
  Graph graph_;
  std::vector<std::optional<TensorId>> tensor_;
  // Of the step at work:
  Step* step_ = nullptr;
  int kernel_ = -1;
  std::vector<int> register_, epoch_of_;
  std::vector<int> loaded_;
  std::vector<std::pair<int, std::pair<double, bool>>> constants_;
  std::vector<bool> varies_;
  // Of all steps:
  std::vector<char> listed_;
  std::set<std::tuple<int, std::size_t, int>> performed_;
};

}  // namespace

Graph emit_steps(Nodes& nodes, const NodeProgram& program, std::vector<FusedKernel>& kernels) {
  return Emission(nodes, program, kernels).run();
}

}  // namespace dsc
