#include "compiler/plan/verify_meaning.h"

#include <algorithm>

namespace dsc::verifying {

using Kind = VerifyErrorKind;

std::string op_text(const Model& model, int op) {
  std::string s = "o";
  s += std::to_string(op);
  s += " (";
  s += name_of(model.ops[op].kind);
  if (!model.ops[op].name.empty()) {
    s += ' ';
    s += model.ops[op].name;
  }
  s += ')';
  return s;
}

std::int64_t local_elements(const Context& context, const std::vector<AxisId>& axes) {
  return element_count(context.model, axes, context.contract.layout.micro_batch);
}

namespace {

Walk begin_walk(const Context& context, const GraphFacts& graph, Walk::Kind kind) {
  Walk walk{.context = context, .graph = graph, .kind = kind};
  walk.micro_batches = kind == Walk::Kind::sample ? 1 : context.micro_batches;
  std::size_t ops = context.model.ops.size(), parameters = context.model.parameters.size(), operands = 0;
  for (const Op& op : context.model.ops) {
    walk.operand_base.push_back(static_cast<std::int64_t>(operands));
    operands += op.operands.size();
  }
  for (auto* by_op : {&walk.forward_at, &walk.total_at, &walk.read_at, &walk.total_count, &walk.value_in, &walk.gradient_in, &walk.statistics_in,
                      &walk.lists_value, &walk.lists_forward, &walk.lists_total, &walk.value_known, &walk.gradient_known})
    by_op->assign(ops, 0);
  for (auto* by_operand : {&walk.gradient_at, &walk.part_in, &walk.lists_gradient}) by_operand->assign(operands, 0);
  walk.parameter_in.assign(parameters, 0);
  walk.updates.assign(parameters, 0);
  walk.contents.resize(context.plan.buffers.size());
  for (std::size_t b = 0; b < walk.contents.size(); ++b) {
    const Buffer& buffer = context.plan.buffers[b];
    if ((buffer.role == BufferRole::parameter || buffer.role == BufferRole::parameter_piece) && buffer.parameter)
      walk.contents[b] = {.holds = Holds::parameter, .parameter = static_cast<int>(buffer.parameter->index()), .piece = buffer.role == BufferRole::parameter_piece};
    if (kind == Walk::Kind::sample && buffer.role == BufferRole::tokens) walk.contents[b].holds = Holds::tokens;
  }
  return walk;
}

void walk_instruction(Walk& walk, const InstructionFacts& facts) {
  const Instruction& instruction = *facts.instruction;
  bool listed = !instruction.performs.empty();
  if (facts.collective) {
    walk_collective(walk, *facts.collective);
  } else if (const auto* read = std::get_if<ReadBatchSpec>(facts.kernel)) {
    walk_read_batch(walk, instruction, *read);
  } else if (std::holds_alternative<BeginStepSpec>(*facts.kernel)) {
    walk_begin_step(walk, instruction);
  } else if (const auto* square = std::get_if<SquareSumSpec>(facts.kernel)) {
    walk_square_sum(walk, instruction, *square);
  } else if (const auto* loss = std::get_if<AddLossSpec>(facts.kernel)) {
    walk_add_loss(walk, instruction, *loss);
  } else if (const auto* control = std::get_if<ControlSpec>(facts.kernel)) {
    walk_control(walk, instruction, *control);
  } else if (const auto* update = std::get_if<UpdateSpec>(facts.kernel)) {
    walk_update(walk, instruction, *update);
  } else {
    return walk_compute(walk, facts);
  }
  if (listed) walk.fail(Kind::performed_wrongly, "performs operations of the model, which a " + std::string(facts.kernel ? name_of(*facts.kernel) : "collective") + " cannot");
}

// That the micro-batch at hand has been computed, each part once.
void check_performed(Walk& walk) {
  const GraphFacts& graph = walk.graph;
  Context::At at = walk.at;
  walk.at.instruction = -1;
  std::string of = " for micro-batch " + std::to_string(walk.m);
  for (int i = 0; i < static_cast<int>(graph.needed.size()) && !walk.context.full(); ++i) {
    if (!graph.needed[i]) continue;
    const Op& op = walk.op(i);
    if (op.kind > OpKind::constant && walk.forward_at[i] != walk.m + 1)
      walk.fail(Kind::not_performed, "forward of " + op_text(walk.context.model, i) + " is not performed" + of);
    if (!graph.differentiated[i]) continue;
    for (int j = 0; j < static_cast<int>(op.operands.size()); ++j) {
      std::size_t operand = op.operands[j].index();
      if (graph.differentiated[operand] && is_differentiable(walk.context.model, op, j) && walk.gradient_at[walk.operand_index({i, j})] != walk.m + 1)
        walk.fail(Kind::not_performed, "the gradient of " + op_text(walk.context.model, i) + " for operand " + std::to_string(j) + " is not performed" + of);
    }
    std::int64_t expected = op.kind == OpKind::parameter ? static_cast<std::int64_t>(graph.segments[op.parameter->index()].size()) : 1;
    std::int64_t found = walk.total_at[i] == walk.m + 1 ? walk.total_count[i] : 0;
    if (found < expected) walk.fail(Kind::not_performed, "the gradient of " + op_text(walk.context.model, i) + " is not completed" + of);
  }
  if (walk.kind != Walk::Kind::sample && (graph.reads_tokens || graph.reads_targets) && walk.read_at[0] != walk.m + 1)
    walk.fail(Kind::read_batch, "no batch is read" + of);
  walk.at = at;
}

// Whether two successive iterations differ by nothing but the number of the micro-batch.
bool repeats(const Content& x, const Content& y) {
  auto shifts = [](std::int64_t a, std::int64_t b) { return b == a || b == a + 1; };
  if (!shifts(x.micro_batch, y.micro_batch) || !shifts(x.first, y.first) || !shifts(x.end, y.end) || !shifts(x.count, y.count)) return false;
  Content z = y;
  z.micro_batch = x.micro_batch;
  z.first = x.first;
  z.end = x.end;
  z.count = x.count;
  return z == x;
}

void skip(Content& content, const Content& before, std::int64_t iterations) {
  content.micro_batch += (content.micro_batch - before.micro_batch) * iterations;
  content.first += (content.first - before.first) * iterations;
  content.end += (content.end - before.end) * iterations;
  content.count += (content.count - before.count) * iterations;
}

bool has_work(const std::vector<InstructionFacts>& section) {
  return std::any_of(section.begin(), section.end(), [](const InstructionFacts& facts) {
    return !facts.instruction->performs.empty() || (facts.kernel && std::holds_alternative<ReadBatchSpec>(*facts.kernel));
  });
}

void walk_program(Walk& walk, std::size_t p) {
  const Program& program = walk.context.plan.programs[p];
  walk.at.program = static_cast<int>(p);
  std::int64_t next = 0;
  for (std::size_t s = 0; s < program.sections.size(); ++s) {
    const Section& section = program.sections[s];
    const std::vector<InstructionFacts>& facts = walk.context.facts[p][s];
    walk.at.section = static_cast<int>(s);
    walk.at.instruction = -1;
    if (section.iterations < 1) {
      walk.fail(Kind::bad_section, "has no iteration");
      continue;
    }
    bool work = has_work(facts);
    if (!work && section.iterations != 1) walk.fail(Kind::bad_section, "repeats without a micro-batch to compute");
    if (work && section.first_micro_batch != next)
      walk.fail(Kind::bad_section, "begins at micro-batch " + std::to_string(section.first_micro_batch) + ", the next is " + std::to_string(next));
    if (work && section.first_micro_batch + section.iterations > walk.micro_batches)
      walk.fail(Kind::bad_section, "runs past the last of " + std::to_string(walk.micro_batches) + " micro-batches");
    std::vector<Content> before;
    for (std::int64_t iteration = 0; iteration < section.iterations && !walk.context.full(); ++iteration) {
      if (work) walk.m = section.first_micro_batch + iteration;
      for (std::size_t i = 0; i < facts.size(); ++i) {
        walk.at.instruction = static_cast<int>(i);
        walk_instruction(walk, facts[i]);
      }
      if (work) check_performed(walk);
      // Iterations from the third to the one before the last are like the second, if the second is like the first.
      if (iteration == 0 && section.iterations > 3) before = walk.contents;
      if (iteration != 1 || section.iterations <= 3) continue;
      bool same = true;
      for (std::size_t b = 0; b < before.size(); ++b) same = same && repeats(before[b], walk.contents[b]);
      walk.at.instruction = -1;
      if (!same) {
        walk.fail(Kind::bad_section, "does in its second iteration what it did not do in its first");
        break;
      }
      std::int64_t skipped = section.iterations - 3;
      for (std::size_t b = 0; b < before.size(); ++b) skip(walk.contents[b], before[b], skipped);
      iteration += skipped;
    }
    if (work) next = section.first_micro_batch + section.iterations;
  }
  walk.at.section = walk.at.instruction = -1;
  if (next != walk.micro_batches)
    walk.fail(Kind::bad_section, "computes " + std::to_string(next) + " micro-batches of " + std::to_string(walk.micro_batches));
  check_end(walk);
}

}  // namespace

void check_meaning(Context& context) {
  const Plan& plan = context.plan;
  const Model& model = context.model;
  int steps = 0, evaluates = 0, samples = 0;
  for (const Program& program : plan.programs) {
    steps += program.name == "step";
    evaluates += program.name == "evaluate";
    samples += program.name == "sample";
  }
  bool evaluates_wanted = context.contract.train.evaluate_every > 0 && steps > 0;
  bool known = steps + evaluates + samples == static_cast<int>(plan.programs.size());
  if (!known || steps + samples != 1 || evaluates != (evaluates_wanted ? 1 : 0))
    context.fail(Kind::bad_section, {}, "the programs are neither a step, with an evaluation exactly where the file evaluates, nor a sample");
  check_storage(context, steps > 0);
  for (std::size_t p = 0; p < plan.programs.size(); ++p) {
    const std::string& name = plan.programs[p].name;
    if (name == "sample" && !model.logits) {
      context.fail(Kind::bad_section, {static_cast<int>(p), -1, -1}, "samples from a model without logits");
      continue;
    }
    GraphFacts graph = graph_facts(model, name == "sample" ? *model.logits : model.loss, name == "step");
    Walk walk = begin_walk(context, graph, name == "step" ? Walk::Kind::step : name == "evaluate" ? Walk::Kind::evaluate : Walk::Kind::sample);
    walk_program(walk, p);
  }
}

}  // namespace dsc::verifying
