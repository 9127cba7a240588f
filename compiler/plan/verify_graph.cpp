// What a compute instruction says it performs, against the forward graph and the verifier's own table of gradients: each
// part once, in order, by a kernel that can, from inputs that hold what it needs; and what its outputs hold then.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "compiler/plan/verify_meaning.h"
#include "compiler/support/state_block.h"

namespace dsc::verifying {
namespace {

using Kind = VerifyErrorKind;
constexpr int kMaxViews = 1000;  // views in a row, and sums of one contribution

bool is_leaf(OpKind kind) { return kind <= OpKind::constant; }
std::string text(const Walk& walk, int op) { return op_text(walk.context.model, op); }

// ---- What is at hand -------------------------------------------------------------------------------------------------------

void note_input(Walk& walk, const BufferUse& use) {
  const Context& context = walk.context;
  const Content& content = walk.contents[use.buffer.index()];
  const Buffer& buffer = context.buffer(use.buffer);
  if (buffer.role == BufferRole::state) {
    if (use.offset.value != offsetof(StateBlock, loss_scale) || use.bytes.value != 4 || use.rank_stride.value != 0)
      return walk.fail(Kind::wrong_scale, "reads another part of the state than the loss scale", use.buffer);
    if (walk.phase != 1) return walk.fail(Kind::control, "reads the loss scale outside the attempt", use.buffer);
    walk.seed_in = true;
    return;
  }
  if (use.rank_stride.value != 0) walk.fail(Kind::wrong_piece, "reads another part on every rank", use.buffer);
  bool of_micro_batch = content.holds != Holds::nothing && content.holds != Holds::parameter && content.holds != Holds::gradient;
  if (of_micro_batch && content.micro_batch != walk.m)
    return walk.fail(Kind::wrong_micro_batch, "reads " + buffer.name + " of micro-batch " + std::to_string(content.micro_batch) + " in micro-batch " + std::to_string(walk.m), use.buffer);
  switch (content.holds) {
    case Holds::value: walk.value_in[walk.graph.same_value[content.op]] = walk.serial; break;
    case Holds::value_gradient: walk.gradient_in[content.op] = walk.serial; break;
    case Holds::statistics: walk.statistics_in[content.op] = walk.serial; break;
    case Holds::tokens: walk.tokens_in = true; break;
    case Holds::targets: walk.targets_in = true; break;
    case Holds::loss: walk.value_in[walk.graph.same_value[context.model.loss.index()]] = walk.serial; break;
    case Holds::contribution:
      for (const OperandOf& part : content.parts) walk.part_in[walk.operand_index(part)] = walk.serial;
      break;
    case Holds::parameter:
      if (content.piece) walk.fail(Kind::wrong_piece, "reads one piece of parameter " + context.model.parameters[content.parameter].path + " as all of it", use.buffer);
      else if (content.version != content.own_version || content.version != walk.updates[content.parameter])
        walk.fail(Kind::stale_parameter, "reads parameter " + context.model.parameters[content.parameter].path + " after its update and before all ranks have it", use.buffer);
      walk.parameter_in[content.parameter] = walk.serial;
      break;
    case Holds::gradient:  // a sum of gradients; anything else is found missing
      break;
    default: walk.fail(Kind::missing_input, "reads " + buffer.name + ", which holds nothing of this step", use.buffer);
  }
}

bool available(Walk& walk, int index, int depth = 0) {
  std::int64_t& known = walk.value_known[index];
  if (known / 2 == walk.serial) return known % 2 == 1;
  const Op& op = walk.op(index);
  bool found = walk.lists_forward[index] == walk.serial || walk.value_in[walk.graph.same_value[index]] == walk.serial;
  if (!found && depth < kMaxViews) {
    switch (op.kind) {
      case OpKind::positions: case OpKind::constant: found = true; break;
      case OpKind::tokens: found = walk.tokens_in; break;
      case OpKind::targets: found = walk.targets_in; break;
      case OpKind::parameter: found = walk.parameter_in[op.parameter->index()] == walk.serial; break;
      default:
        if (is_view(op.kind) || op.kind == OpKind::to_real) {
          found = true;
          for (OpId operand : op.operands) found = found && available(walk, static_cast<int>(operand.index()), depth + 1);
        }
    }
  }
  known = 2 * walk.serial + (found ? 1 : 0);
  return found;
}

bool gradient_available(Walk& walk, int index, int depth = 0);

bool part_available(Walk& walk, OperandOf use, int depth) {
  std::int64_t i = walk.operand_index(use);
  if (walk.lists_gradient[i] == walk.serial || walk.part_in[i] == walk.serial) return true;
  return depth < kMaxViews && gradient_moves_nothing(walk.context.model, walk.op(use.op), use.operand) && gradient_available(walk, use.op, depth + 1);
}

// The complete gradient of an op's value.
bool gradient_available(Walk& walk, int index, int depth) {
  std::int64_t& known = walk.gradient_known[index];
  if (known / 2 == walk.serial) return known % 2 == 1;
  bool found = walk.lists_total[index] == walk.serial || walk.gradient_in[index] == walk.serial;
  if (!found && index == static_cast<int>(walk.context.model.loss.index())) found = walk.seed_in;
  const std::vector<OperandOf>& users = walk.graph.users[index];
  if (!found && users.size() == 1) found = part_available(walk, users[0], depth);
  known = 2 * walk.serial + (found ? 1 : 0);
  return found;
}

// ---- Kernels ---------------------------------------------------------------------------------------------------------------

std::int64_t product_of(const std::vector<ProductDim>& dims) {
  std::int64_t n = 1;
  for (const ProductDim& dim : dims) n *= dim.size;
  return n;
}

void check_product(Walk& walk, const Performed& p, const Op& op, const KernelSpec& kernel) {
  const Context& context = walk.context;
  DType activation = context.contract.train.activation;
  std::int64_t all = local_elements(context, op.axes) * local_elements(context, op.over);
  if (const auto* spec = std::get_if<ProductSpec>(&kernel)) {
    std::int64_t result = product_of(spec->batch) * spec->m * spec->n;
    std::int64_t expected = p.pass == Pass::gradient ? local_elements(context, context.model.op(op.operands[p.operand]).axes) : local_elements(context, op.axes);
    if (result != expected || result * spec->k != all)
      walk.fail(Kind::performed_wrongly, "a product of " + std::to_string(result) + " elements, each a sum of " + std::to_string(spec->k) + ", is not that of " + text(walk, p.op.index()));
    if (spec->a_type != activation || spec->b_type != activation)
      walk.fail(Kind::wrong_precision, "a product of operands that are not in the activation's type");
  } else if (const auto* c = std::get_if<ClassifierSpec>(&kernel)) {
    if (c->rows * c->entries * c->width != all) walk.fail(Kind::performed_wrongly, "a classifier of other sizes than those of " + text(walk, p.op.index()));
    if (c->h_type != activation || c->w_type != activation) walk.fail(Kind::wrong_precision, "a classifier of operands that are not in the activation's type");
    if (p.pass == Pass::gradient && !c->backward) walk.fail(Kind::performed_wrongly, "a classifier without its backward pass");
  } else {
    walk.fail(Kind::performed_wrongly, std::string("a ") + name_of(kernel) + " does not perform " + text(walk, p.op.index()));
  }
}

void check_attend(Walk& walk, const Performed& p, const Op& op, const KernelSpec& kernel) {
  const AttendSpec* spec = nullptr;
  if (const auto* f = std::get_if<AttendForwardSpec>(&kernel); f && p.pass != Pass::gradient) spec = &f->attend;
  if (const auto* b = std::get_if<AttendBackwardSpec>(&kernel); b && p.pass == Pass::gradient) spec = &b->attend;
  if (!spec) return walk.fail(Kind::performed_wrongly, std::string("a ") + name_of(kernel) + " does not perform " + text(walk, p.op.index()));
  std::int64_t rows = 1;
  for (const AttendDim& dim : spec->batch) rows *= dim.size;
  const Op& q = walk.context.model.op(op.operands[0]);
  bool sizes = op.along && op.contract && spec->length == local_elements(walk.context, {*op.along}) && spec->qk_size == local_elements(walk.context, {*op.contract}) &&
               rows * spec->length * spec->qk_size == local_elements(walk.context, q.axes) && rows * spec->length * spec->v_size == local_elements(walk.context, op.axes);
  if (!sizes || spec->mask != op.mask || (op.mask == Mask::window && spec->window != op.window))
    walk.fail(Kind::performed_wrongly, "attention of other sizes or another mask than " + text(walk, p.op.index()));
  if (spec->scale != op.scale) walk.fail(Kind::wrong_scale, "attention is scaled by " + std::to_string(spec->scale) + ", not " + std::to_string(op.scale));
  if (spec->type != walk.context.contract.train.activation) walk.fail(Kind::wrong_precision, "attention of operands that are not in the activation's type");
}

void check_loss(Walk& walk, const Performed& p, const Op& op, const KernelSpec& kernel) {
  std::int64_t rows = 0, entries = 0;
  double scale = 0, factor = 0;
  bool backward = false;
  if (const auto* c = std::get_if<CrossEntropySpec>(&kernel)) rows = c->rows, entries = c->entries, scale = c->scale, factor = c->seed_factor, backward = c->backward;
  else if (const auto* c = std::get_if<ClassifierSpec>(&kernel)) rows = c->rows, entries = c->entries, scale = c->scale, factor = c->seed_factor, backward = c->backward;
  else return walk.fail(Kind::performed_wrongly, std::string("a ") + name_of(kernel) + " does not perform " + text(walk, p.op.index()));
  std::int64_t targets = local_elements(walk.context, walk.context.model.op(op.operands[1]).axes);
  if (rows != targets || entries != local_elements(walk.context, op.over))
    walk.fail(Kind::performed_wrongly, "a loss over " + std::to_string(rows) + " rows of " + std::to_string(entries) + " is not that of " + text(walk, p.op.index()));
  if (scale != 1.0 / static_cast<double>(targets))
    walk.fail(Kind::wrong_scale, "the loss is scaled by " + std::to_string(scale) + "; a micro-batch has " + std::to_string(targets) + " targets");
  if (p.pass != Pass::gradient) return;
  double expected = walk.graph.loss_factor[p.op.index()];
  if (std::abs(factor - expected) > 1e-12 * std::abs(expected))
    walk.fail(Kind::wrong_scale, "the loss's gradient has the factor " + std::to_string(factor) + ", the model says " + std::to_string(expected));
  if (!backward) walk.fail(Kind::performed_wrongly, "a loss without its backward pass");
}

void check_lookup(Walk& walk, const Performed& p, const Op& op, const KernelSpec& kernel) {
  const Context& context = walk.context;
  std::int64_t out = local_elements(context, op.axes), entries = local_elements(context, op.over);
  bool right = false;
  if (const auto* f = std::get_if<LookupSpec>(&kernel)) right = p.pass != Pass::gradient && f->rows * f->width == out && f->entries == entries;
  else if (const auto* b = std::get_if<LookupBackwardSpec>(&kernel)) right = p.pass == Pass::gradient && b->rows * b->width == out && b->entries == entries;
  else right = context.model.ops[walk.graph.same_value[op.operands[1].index()]].kind == OpKind::positions;  // rows in order: any kernel reads them
  if (!right) walk.fail(Kind::performed_wrongly, std::string("a ") + name_of(kernel) + " does not perform " + text(walk, p.op.index()));
}

void check_kernel(Walk& walk, const Performed& p, const KernelSpec& kernel) {
  const Op& op = walk.op(p.op.index());
  switch (op.kind) {
    case OpKind::dot: return check_product(walk, p, op, kernel);
    case OpKind::attend: return check_attend(walk, p, op, kernel);
    case OpKind::cross_entropy: return check_loss(walk, p, op, kernel);
    case OpKind::lookup: return check_lookup(walk, p, op, kernel);
    case OpKind::rotate: {
      const auto* spec = std::get_if<RotateSpec>(&kernel);
      if (!spec || spec->inverse != (p.pass == Pass::gradient) || spec->theta != op.theta)
        walk.fail(Kind::performed_wrongly, std::string("a ") + name_of(kernel) + " does not perform " + text(walk, p.op.index()));
      return;
    }
    default:
      if (is_view(op.kind) || std::holds_alternative<MapSpec>(kernel) || std::holds_alternative<ProductSpec>(kernel)) return;
      // Terms of the loss, and sums of one operand, ride on any kernel.
      if (op.type == ValueType::loss || gradient_moves_nothing(walk.context.model, op, static_cast<std::size_t>(p.operand))) return;
      walk.fail(Kind::performed_wrongly, std::string("a ") + name_of(kernel) + " does not perform " + text(walk, p.op.index()));
  }
}

// ---- The list --------------------------------------------------------------------------------------------------------------

void need(Walk& walk, bool ok, const std::string& what, const Performed& p) {
  if (!ok) walk.fail(Kind::missing_input, what + " is not at hand for " + text(walk, p.op.index()));
}

void perform_value(Walk& walk, const Performed& p, const KernelSpec& kernel) {
  int index = static_cast<int>(p.op.index());
  const Op& op = walk.op(index);
  if (!walk.graph.needed[index] || is_leaf(op.kind)) return walk.fail(Kind::performed_wrongly, "performs " + text(walk, index) + ", which this program does not need");
  check_kernel(walk, p, kernel);
  for (OpId operand : op.operands) {
    int o = static_cast<int>(operand.index());
    need(walk, available(walk, o), "the value of " + text(walk, o), p);
    if (p.pass == Pass::forward && !is_leaf(walk.op(o).kind) && walk.forward_at[o] != walk.m + 1)
      walk.fail(Kind::performed_wrongly, "performs " + text(walk, index) + " before its operand " + text(walk, o));
  }
  if (p.pass == Pass::forward) {
    if (walk.forward_at[index] == walk.m + 1) walk.fail(Kind::performed_twice, "performs " + text(walk, index) + " again");
    walk.forward_at[index] = walk.m + 1;
  } else if (walk.forward_at[index] != walk.m + 1) {
    walk.fail(Kind::performed_wrongly, "recomputes " + text(walk, index) + ", which was not computed before");
  }
  walk.lists_forward[index] = walk.serial;
  walk.lists_value[walk.graph.same_value[index]] = walk.serial;
  walk.value_known[index] = 2 * walk.serial + 1;
}

void perform_gradient(Walk& walk, const Performed& p, const KernelSpec& kernel) {
  int index = static_cast<int>(p.op.index());
  const Op& op = walk.op(index);
  bool known = p.operand >= 0 && static_cast<std::size_t>(p.operand) < op.operands.size() && walk.graph.differentiated[index] &&
               walk.graph.differentiated[op.operands[p.operand].index()] && is_differentiable(walk.context.model, op, p.operand);
  if (!known) return walk.fail(Kind::performed_wrongly, "performs a gradient of " + text(walk, index) + " that this program does not need");
  check_kernel(walk, p, kernel);
  need(walk, gradient_available(walk, index), "the gradient of " + text(walk, index), p);
  for (const std::vector<OpId>& any : gradient_reads(op, p.op, static_cast<std::size_t>(p.operand))) {
    bool one = std::any_of(any.begin(), any.end(), [&](OpId o) { return available(walk, static_cast<int>(o.index())); });
    need(walk, one, "the value of " + text(walk, static_cast<int>(any[0].index())) + ", which the gradient reads,", p);
  }
  if (op.kind == OpKind::attend && walk.statistics_in[index] != walk.serial) need(walk, false, "attention's statistics", p);
  if (walk.total_at[index] != walk.m + 1) walk.fail(Kind::performed_wrongly, "passes the gradient of " + text(walk, index) + " on before it is complete");
  std::int64_t at = walk.operand_index({index, p.operand});
  if (walk.gradient_at[at] == walk.m + 1) walk.fail(Kind::performed_twice, "performs the gradient of " + text(walk, index) + " for operand " + std::to_string(p.operand) + " again");
  walk.gradient_at[at] = walk.m + 1;
  walk.lists_gradient[at] = walk.serial;
}

void perform_total(Walk& walk, const Performed& p) {
  int index = static_cast<int>(p.op.index());
  const Op& op = walk.op(index);
  if (!walk.graph.differentiated[index]) return walk.fail(Kind::performed_wrongly, "completes a gradient of " + text(walk, index) + " that this program does not need");
  std::int64_t& count = walk.total_count[index];
  if (walk.total_at[index] != walk.m + 1) count = 0;
  walk.total_at[index] = walk.m + 1;
  ++count;
  std::int64_t allowed = 1;
  if (op.kind == OpKind::parameter) {
    // Segments whose uses have all been performed.
    std::size_t parameter = op.parameter->index();
    std::vector<int> missing;
    for (const Site& site : walk.graph.sites[parameter])
      if (walk.gradient_at[walk.operand_index(site.use)] != walk.m + 1) missing.push_back(site.segment);
    allowed = static_cast<std::int64_t>(walk.graph.segments[parameter].size());
    std::int64_t complete = 0;
    for (int segment : walk.graph.segments[parameter]) complete += std::find(missing.begin(), missing.end(), segment) == missing.end();
    if (count <= allowed && count > complete) walk.fail(Kind::unfinished_gradient, "completes the gradient of " + text(walk, index) + " before all its uses have contributed");
  } else if (index == static_cast<int>(walk.context.model.loss.index())) {
    need(walk, walk.seed_in, "the loss scale", p);
  } else {
    for (const OperandOf& user : walk.graph.users[index]) {
      if (walk.gradient_at[walk.operand_index(user)] != walk.m + 1)
        walk.fail(Kind::unfinished_gradient, "completes the gradient of " + text(walk, index) + " before the contribution of " + text(walk, user.op));
      need(walk, part_available(walk, user, 0), "the contribution of " + text(walk, user.op), p);
    }
  }
  if (count > allowed) walk.fail(Kind::performed_twice, "completes the gradient of " + text(walk, index) + " again");
  walk.lists_total[index] = walk.serial;
  walk.gradient_known[index] = 2 * walk.serial + 1;
}

// ---- Outputs ---------------------------------------------------------------------------------------------------------------

bool accumulates(const KernelSpec& kernel, std::size_t output) {
  if (const auto* map = std::get_if<MapSpec>(&kernel)) return output < map->outputs.size() && map->outputs[output].accumulate;
  if (const auto* product = std::get_if<ProductSpec>(&kernel)) return output < product->outputs.size() && product->outputs[output].accumulate;
  if (const auto* lookup = std::get_if<LookupBackwardSpec>(&kernel)) return lookup->accumulate;
  return false;
}

// The precision table: what is stored of an op.
void check_stored(Walk& walk, const Buffer& buffer, BufferId id, int op) {
  DType expected = walk.op(op).rounded && walk.op(op).type == ValueType::real ? walk.context.contract.train.activation : DType::f32;
  if (walk.op(op).type != ValueType::integer && walk.op(op).type != ValueType::boolean && buffer.type != expected)
    walk.fail(Kind::wrong_precision, text(walk, op) + " is stored as " + std::string(name_of(buffer.type)) + ", not " + std::string(name_of(expected)), id);
}

// Which contributions to the gradient of `op` (any, where that is -1) output k holds. Where several outputs of the instruction
// hold some, they get one each in the order of the list, and the last what is left.
std::vector<OperandOf> contributed(Walk& walk, const InstructionFacts& facts, std::size_t k, int op) {
  std::vector<OperandOf> parts;
  for (const Performed& p : facts.instruction->performs) {
    if (p.pass != Pass::gradient || p.operand < 0 || static_cast<std::size_t>(p.operand) >= walk.op(p.op.index()).operands.size()) continue;
    if (op < 0 || static_cast<int>(walk.op(p.op.index()).operands[p.operand].index()) == op) parts.push_back({static_cast<int>(p.op.index()), p.operand});
  }
  if (op < 0) return parts;
  for (const OperandOf& user : walk.graph.users[op])
    if (walk.part_in[walk.operand_index(user)] == walk.serial && std::find(parts.begin(), parts.end(), user) == parts.end()) parts.push_back(user);
  std::size_t place = 0, outputs = 0;
  for (std::size_t i = 0; i < facts.instruction->outputs.size(); ++i) {
    const Buffer& other = walk.context.buffer(facts.instruction->outputs[i].buffer);
    if (other.role != BufferRole::contribution || !other.op || static_cast<int>(other.op->index()) != op) continue;
    place += i < k;
    ++outputs;
  }
  if (outputs < 2) return parts;
  if (place >= parts.size()) return {};
  auto from = parts.begin() + static_cast<std::ptrdiff_t>(place);
  return {from, place + 1 == outputs ? parts.end() : from + 1};
}

void write_output(Walk& walk, const InstructionFacts& facts, std::size_t k) {
  const BufferUse& use = facts.instruction->outputs[k];
  const Buffer& buffer = walk.context.buffer(use.buffer);
  Content content{.micro_batch = walk.m};
  if (buffer.role == BufferRole::gradient || buffer.role == BufferRole::gradient_piece) return write_gradient(walk, facts, k, accumulates(*facts.kernel, k));
  if (use.rank_stride.value != 0) walk.fail(Kind::wrong_piece, "writes another part on every rank", use.buffer);
  if (accumulates(*facts.kernel, k)) walk.fail(Kind::accumulation, "adds to what is not a parameter's gradient", use.buffer);
  int op = buffer.op ? static_cast<int>(buffer.op->index()) : -1;
  std::string wrong;
  switch (buffer.role) {
    case BufferRole::value:
      if (op < 0 || walk.lists_value[walk.graph.same_value[op]] != walk.serial) { wrong = "a value that it does not perform"; break; }
      content.holds = Holds::value;
      content.op = op;
      check_stored(walk, buffer, use.buffer, op);
      break;
    case BufferRole::value_gradient:
      if (op < 0 || walk.lists_total[op] != walk.serial) { wrong = "a gradient that it does not complete"; break; }
      content.holds = Holds::value_gradient;
      content.op = op;
      check_stored(walk, buffer, use.buffer, op);
      break;
    case BufferRole::contribution:
      content.holds = Holds::contribution;
      content.op = op;
      content.parts = contributed(walk, facts, k, op);
      if (content.parts.empty()) wrong = "a contribution that it does not perform";
      break;
    case BufferRole::statistics:
      if (op < 0 || walk.op(op).kind != OpKind::attend || walk.lists_forward[op] != walk.serial) { wrong = "statistics of attention that it does not perform"; break; }
      content.holds = Holds::statistics;
      content.op = op;
      break;
    case BufferRole::loss:
      if (walk.lists_value[walk.graph.same_value[walk.context.model.loss.index()]] != walk.serial) { wrong = "a loss that it does not perform"; break; }
      content.holds = Holds::loss;
      if (buffer.type != DType::f32) walk.fail(Kind::wrong_precision, "the loss is not f32", use.buffer);
      break;
    default: wrong = std::string("a ") + name_of(buffer.role);
  }
  if (!wrong.empty()) {
    walk.fail(Kind::wrong_value, "writes " + buffer.name + ", " + wrong, use.buffer);
    content = {};
  } else if ((buffer.role == BufferRole::value || buffer.role == BufferRole::value_gradient) && buffer.elements != local_elements(walk.context, walk.op(op).axes)) {
    walk.fail(Kind::wrong_value, buffer.name + " has " + std::to_string(buffer.elements) + " elements, " + text(walk, op) + " has " + std::to_string(local_elements(walk.context, walk.op(op).axes)), use.buffer);
  }
  walk.contents[use.buffer.index()] = std::move(content);
}

// A map that performs nothing: it zeroes padding, copies, or adds gradients.
void walk_plain(Walk& walk, const InstructionFacts& facts) {
  const Instruction& instruction = *facts.instruction;
  const auto* map = std::get_if<MapSpec>(facts.kernel);
  std::size_t loads = 0, stores = 0;
  bool moves = map != nullptr, zero = map != nullptr;
  for (const MapInstruction& code : map ? map->program.code : std::vector<MapInstruction>()) {
    loads += code.op == MapOpcode::load;
    stores += code.op == MapOpcode::store;
    moves = moves && (code.op == MapOpcode::load || code.op == MapOpcode::store);
    zero = zero && (code.op == MapOpcode::store || (code.op == MapOpcode::constant && code.number == 0));
  }
  bool one = instruction.outputs.size() == 1 && stores == 1;
  if (one && zero && instruction.inputs.empty()) {
    const BufferUse& use = instruction.outputs[0];
    const Buffer& buffer = walk.context.buffer(use.buffer);
    bool padding = buffer.role == BufferRole::gradient && buffer.parameter &&
                   use.offset.value >= element_count(walk.context.model, *buffer.parameter) * size_of(buffer.type) && use.rank_stride.value == 0;
    if (!padding) walk.fail(Kind::wrong_value, "zeroes what is no padding", use.buffer);
    return;
  }
  if (!one || !moves || loads != 1 || instruction.inputs.size() != 1)
    return walk.fail(Kind::performed_wrongly, "computes something and does not say what of the model it performs");
  const BufferUse &from = instruction.inputs[0], &to = instruction.outputs[0];
  const Buffer& buffer = walk.context.buffer(to.buffer);
  if (buffer.role == BufferRole::gradient || buffer.role == BufferRole::gradient_piece) return write_gradient(walk, facts, 0, map->outputs[0].accumulate);
  if (map->outputs[0].accumulate) walk.fail(Kind::accumulation, "adds to what is not a parameter's gradient", to.buffer);
  Content content = walk.contents[from.buffer.index()];
  bool fits = content.holds == Holds::value || content.holds == Holds::value_gradient || content.holds == Holds::contribution || content.holds == Holds::parameter;
  bool transient = buffer.role == BufferRole::value || buffer.role == BufferRole::value_gradient || buffer.role == BufferRole::contribution;
  if (buffer.op && content.op >= 0 && walk.graph.same_value[buffer.op->index()] != walk.graph.same_value[content.op]) fits = false;
  if (!fits || !transient || from.rank_stride.value != 0 || to.rank_stride.value != 0) walk.fail(Kind::wrong_value, "copies " + walk.context.name(from.buffer) + " to " + buffer.name, to.buffer);
  if (buffer.type != walk.context.buffer(from.buffer).type) walk.fail(Kind::wrong_precision, "a copy changes the type", to.buffer);
  walk.contents[to.buffer.index()] = std::move(content);
}

}  // namespace

void walk_compute(Walk& walk, const InstructionFacts& facts) {
  ++walk.serial;
  walk.tokens_in = walk.targets_in = walk.seed_in = false;
  for (const BufferUse& use : facts.instruction->inputs) note_input(walk, use);
  if (facts.instruction->performs.empty()) return walk_plain(walk, facts);
  for (const Performed& p : facts.instruction->performs) {
    switch (p.pass) {
      case Pass::forward: case Pass::recompute: perform_value(walk, p, *facts.kernel); break;
      case Pass::gradient: perform_gradient(walk, p, *facts.kernel); break;
      case Pass::total: perform_total(walk, p); break;
    }
  }
  for (std::size_t k = 0; k < facts.instruction->outputs.size(); ++k) write_output(walk, facts, k);
}

}  // namespace dsc::verifying
