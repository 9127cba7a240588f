// The model's own forward walked, then what can only be said of the whole graph: which ops and parameters reach the loss,
// what bounds the tokens, what `sample` computes.
#include <algorithm>

#include "compiler/sema/elaborate.h"
#include "compiler/sema/elaborator.h"
#include "compiler/sema/text.h"

namespace dsc::sema {
namespace {

bool is_model_input(const syntax::Input& input) {
  return (input.name.text == "tokens" || input.name.text == "targets") && input.type.kind == syntax::TypeKind::integer && input.type.tensor && !input.type.others &&
         input.type.axes.size() == 2 && input.type.axes[0].text == "batch" && input.type.axes[1].text == "seq";
}

bool check_signature(Program& program, const syntax::Module& module, SourceRange model_call) {
  if (module.forwards.empty()) return false;
  const syntax::Forward& forward = module.forwards[0];
  const std::vector<Note> notes = {{"it is the model here", model_call}};
  for (const syntax::Input& input : forward.inputs) {
    if (is_model_input(input)) continue;
    fail(program.diagnostics, Code::not_a_model, input.range, "a model takes `tokens` and `targets`, both int[batch, seq], and nothing else", "",
         "write `forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss`", notes);
    return false;
  }
  if (forward.results.size() == 1 && forward.results[0].kind == syntax::TypeKind::loss) return true;
  fail(program.diagnostics, Code::not_a_model, forward.signature, "the forward of a model returns one `loss`", "",
       "write `forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss`", notes);
  return false;
}

// Whether operand i of an op gets a gradient from it.
bool passes_gradient(const Op& op, std::size_t i) {
  switch (op.kind) {
    case OpKind::stop_gradient: case OpKind::to_real: case OpKind::less: case OpKind::less_equal: case OpKind::greater:
    case OpKind::greater_equal: case OpKind::equal: case OpKind::not_equal: return false;
    case OpKind::select: return i > 0;
    case OpKind::lookup: case OpKind::cross_entropy: return i == 0;
    default: return true;
  }
}

std::vector<bool> reached(const Model& model, OpId from, bool by_gradient) {
  std::vector<bool> seen(model.ops.size());
  seen[from.index()] = true;
  for (std::size_t i = from.index() + 1; i-- > 0;) {
    if (!seen[i]) continue;
    const Op& op = model.ops[i];
    for (std::size_t k = 0; k < op.operands.size(); ++k)
      if (!by_gradient || passes_gradient(op, k)) seen[op.operands[k].index()] = true;
  }
  return seen;
}

// Drops the ops that the loss does not need, and renumbers.
void prune(Model& model) {
  const std::vector<bool> live = reached(model, model.loss, false);
  std::vector<std::size_t> renumbered(model.ops.size());
  std::vector<Op> kept;
  for (std::size_t i = 0; i < model.ops.size(); ++i) {
    if (!live[i]) continue;
    renumbered[i] = kept.size();
    kept.push_back(std::move(model.ops[i]));
    for (OpId& operand : kept.back().operands) operand = OpId(renumbered[operand.index()]);
  }
  model.loss = OpId(renumbered[model.loss.index()]);
  model.ops = std::move(kept);
}

void check_gradients(Program& program) {
  const Model& model = program.model;
  const std::vector<bool> seen = reached(model, model.loss, true);
  std::vector<bool> learns(model.parameters.size());
  for (std::size_t i = 0; i < model.ops.size(); ++i)
    if (model.ops[i].parameter && seen[i]) learns[model.ops[i].parameter->index()] = true;
  for (std::size_t i = 0; i < learns.size(); ++i) {
    if (learns[i]) continue;
    const bool read = std::any_of(model.ops.begin(), model.ops.end(), [&](const Op& op) { return op.parameter && op.parameter->index() == i; });
    fail(program.diagnostics, Code::parameter_without_gradient, program.origins[i].line->name.range, "parameter " + ticked(model.parameters[i].path) + " does not reach the loss",
         read ? "no gradient flows to it" : "nothing that the loss needs reads it", "use it in forward, or remove it");
  }
}

// A parameter read in several iterations belongs to none of them: its op's scope is the innermost that holds every use.
void place_parameters(Model& model) {
  const auto common = [&](int a, int b) {
    while (a != b) (a > b ? a : b) = model.scopes[a > b ? a : b].parent;  // a parent has a smaller number
    return a;
  };
  for (const Op& op : model.ops)
    for (OpId operand : op.operands)
      if (Op& source = model.ops[operand.index()]; source.parameter) source.scope = common(source.scope, op.scope);
}

bool is_view(OpKind kind) {
  return kind == OpKind::rename || kind == OpKind::merge || kind == OpKind::unmerge || kind == OpKind::slice || kind == OpKind::expand || kind == OpKind::round;
}

void mark_product_operands(Model& model) {
  for (const Op& op : model.ops) {
    if (op.kind != OpKind::dot && op.kind != OpKind::lookup) continue;
    for (OpId operand : op.operands) {
      const Op* source = &model.op(operand);
      while (is_view(source->kind)) source = &model.op(source->operands[0]);
      if (source->parameter) model.parameters[source->parameter->index()].product_operand = true;
    }
  }
}

void find_logits(Model& model) {
  int count = 0;
  for (const Op& op : model.ops) {
    if (op.kind != OpKind::cross_entropy || model.op(op.operands[1]).kind != OpKind::targets) continue;
    ++count;
    model.logits = op.operands[0];
  }
  if (count == 1) {
    const std::vector<bool> needed = reached(model, *model.logits, false);
    for (std::size_t i = 0; i < model.ops.size(); ++i)
      if (needed[i] && model.ops[i].kind == OpKind::targets) model.no_logits_reason = "what cross_entropy compares with `targets` depends on `targets` itself";
  } else {
    model.no_logits_reason = count == 0 ? "the model has no cross_entropy on `targets`" : "the model has " + std::to_string(count) + " cross_entropy operations on `targets`";
  }
  if (!model.no_logits_reason.empty()) model.logits.reset();
}

void bound_tokens(Model& model) {
  for (const Axis& axis : model.axes)
    if (axis.vocabulary && (model.vocabulary == 0 || axis.size < model.vocabulary)) model.vocabulary = axis.size;
}

}  // namespace

void elaborate_model(Program& program, SourceRange model_call) {
  Model& model = program.model;
  const Instance& top = program.instances[0];
  model.name = top.module->name.text;
  if (!check_signature(program, *top.module, model_call)) return;
  const std::size_t reported = program.diagnostics.list().size();
  Elaborator elaborator(program);
  std::vector<Value> inputs;
  std::vector<SourceRange> places;
  for (const syntax::Input& input : top.module->forwards[0].inputs) {
    Op op;
    op.kind = input.name.text == "tokens" ? OpKind::tokens : OpKind::targets;
    op.type = ValueType::integer;
    op.axes = {model.batch, model.seq};
    op.name = input.name.text;
    inputs.push_back(Elaborator::tensor(elaborator.add(std::move(op), input.range, Frame())));
    places.push_back(input.range);
  }
  const std::vector<Value> results = elaborator.run_instance(0, inputs, places);
  if (program.diagnostics.list().size() != reported || !results[0].op) return;
  model.loss = *results[0].op;
  check_gradients(program);
  prune(model);
  place_parameters(model);
  mark_product_operands(model);
  find_logits(model);
  bound_tokens(model);
}

void elaborate_alone(Program& program) {
  const Instance& top = program.instances[0];
  if (top.module->forwards.empty()) return;
  Elaborator elaborator(program);
  std::vector<Value> inputs;
  std::vector<SourceRange> places;
  for (const syntax::Input& input : top.module->forwards[0].inputs) {
    inputs.push_back(elaborator.made_up_input(top, input));
    places.push_back(input.range);
  }
  elaborator.run_instance(0, inputs, places);
}

void elaborate_alone(Program& program, const syntax::Function& function, std::size_t file) {
  Elaborator(program).run_function_alone(function, file);
}

}  // namespace dsc::sema
