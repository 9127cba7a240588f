// Gradients from their parts to the update: added up over uses, micro-batches, segments and ranks, each exactly once and in
// the order that `reduce` says; the norm and loss tables; the parameters as updated and as every rank sees them.
#include <algorithm>
#include <cstddef>

#include "compiler/plan/verify_meaning.h"
#include "compiler/support/state_block.h"

namespace dsc::verifying {
namespace {

using Kind = VerifyErrorKind;

const std::string& path(const Walk& walk, int parameter) { return walk.context.model.parameters[parameter].path; }
std::int64_t piece_of(const Context& context, int parameter) { return context.contract.piece_elements(ParameterId(static_cast<std::size_t>(parameter))); }

bool piecewise(const Context& context) { return context.ranks > 1 && context.contract.layout.zero_stage >= 1; }
bool sharded(const Context& context, int parameter) {
  return context.ranks > 1 && context.contract.layout.zero_stage == 3 &&
         element_count(context.model, ParameterId(static_cast<std::size_t>(parameter))) >= context.contract.layout.persist_below.value;
}

std::string range_text(const Content& c) {
  return "micro-batches " + std::to_string(c.first) + " to " + std::to_string(c.end - 1);
}

// Adds `term` to `sum`; both gradients of one parameter.
void add(Walk& walk, Content& sum, const Content& term, BufferId at) {
  if (sum.holds != Holds::gradient) { sum = term; return; }
  auto wrong = [&](Kind kind, const std::string& what) { walk.fail(kind, "adds gradients of " + path(walk, sum.parameter) + " " + what, at); };
  if (sum.parameter != term.parameter) return wrong(Kind::wrong_value, "and " + path(walk, term.parameter));
  if (walk.reduced(sum) != walk.reduced(term)) return wrong(Kind::unreduced_gradient, "of one rank to those of all");
  if (sum.piece != term.piece) return wrong(Kind::wrong_piece, "of a piece to the whole");
  bool sum_partial = !sum.parts.empty(), term_partial = !term.parts.empty();
  if (sum_partial || term_partial) {
    if ((sum_partial ? sum : term).micro_batch != walk.m) return wrong(Kind::wrong_micro_batch, "that another micro-batch left incomplete");
    if (sum_partial != term_partial) return wrong(Kind::accumulation, "that are not complete for their micro-batch to those of " + range_text(sum_partial ? term : sum));
    sum.parts.insert(sum.parts.end(), term.parts.begin(), term.parts.end());
    std::sort(sum.parts.begin(), sum.parts.end());
    if (std::adjacent_find(sum.parts.begin(), sum.parts.end()) != sum.parts.end()) wrong(Kind::accumulation, "twice");
    return;
  }
  if (sum.segments == term.segments && (sum.end == term.first || term.end == sum.first)) {
    bool each = walk.context.contract.train.reduce == Reduce::each;
    if (!each && sum.segments.size() > 1) wrong(Kind::accumulation, "over micro-batches after those over segments");
    if (each && !walk.reduced(sum)) wrong(Kind::accumulation, "over micro-batches before the ranks'");
    sum.first = std::min(sum.first, term.first);
    sum.end = std::max(sum.end, term.end);
    return;
  }
  std::vector<int> both;
  std::set_union(sum.segments.begin(), sum.segments.end(), term.segments.begin(), term.segments.end(), std::back_inserter(both));
  if (sum.first == term.first && sum.end == term.end && both.size() == sum.segments.size() + term.segments.size()) {
    sum.segments = std::move(both);
    return;
  }
  wrong(Kind::accumulation, "of " + range_text(sum) + " and of " + range_text(term) + ", which do not follow one another or overlap");
}

// Parts that make up all uses of some segments become the gradient of those for this micro-batch.
void complete(Walk& walk, Content& content, int wanted_segment) {
  if (content.parts.empty()) return;
  std::vector<int> segments;
  std::vector<OperandOf> used;
  for (int segment : walk.graph.segments[content.parameter]) {
    if (wanted_segment >= 0 && segment != wanted_segment) continue;
    bool all = true;
    for (const Site& site : walk.graph.sites[content.parameter])
      if (site.segment == segment) all = all && std::binary_search(content.parts.begin(), content.parts.end(), site.use);
    if (all) segments.push_back(segment);
  }
  for (const Site& site : walk.graph.sites[content.parameter])
    if (std::find(segments.begin(), segments.end(), site.segment) != segments.end()) used.push_back(site.use);
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  if (segments.empty() || used != content.parts) return;
  content.parts.clear();
  content.segments = std::move(segments);
  content.first = walk.m;
  content.end = walk.m + 1;
}

}  // namespace

void write_gradient(Walk& walk, const InstructionFacts& facts, std::size_t output, bool accumulate) {
  const BufferUse& use = facts.instruction->outputs[output];
  const Buffer& buffer = walk.context.buffer(use.buffer);
  if (!buffer.parameter) return walk.fail(Kind::wrong_value, "writes a gradient of no parameter", use.buffer);
  int parameter = static_cast<int>(buffer.parameter->index());
  if (buffer.type != DType::f32) walk.fail(Kind::wrong_precision, "a parameter's gradient that is not f32", use.buffer);
  bool piece = buffer.role == BufferRole::gradient_piece;
  std::int64_t elements = piece ? piece_of(walk.context, parameter) : element_count(walk.context.model, *buffer.parameter);
  if (output < facts.operands.outputs.size() &&
      (facts.operands.outputs[output].begin != 0 || facts.operands.outputs[output].end < elements || use.offset.value != 0 || use.rank_stride.value != 0))
    walk.fail(Kind::wrong_value, "writes " + std::to_string(facts.operands.outputs[output].end) + " of " + std::to_string(elements) + " elements of a gradient", use.buffer);

  Content fresh{.holds = Holds::gradient, .micro_batch = walk.m, .parameter = parameter, .piece = piece && walk.context.ranks > 1};
  for (const Site& site : walk.graph.sites[parameter]) {
    if (buffer.segment >= 0 && site.segment != buffer.segment && !piece) continue;
    std::int64_t i = walk.operand_index(site.use);
    if (walk.lists_gradient[i] == walk.serial || walk.part_in[i] == walk.serial) fresh.parts.push_back(site.use);
  }
  std::sort(fresh.parts.begin(), fresh.parts.end());
  fresh.parts.erase(std::unique(fresh.parts.begin(), fresh.parts.end()), fresh.parts.end());
  complete(walk, fresh, buffer.segment);

  Content sum;
  bool any = false;
  auto take = [&](const Content& term) {
    any = true;
    add(walk, sum, term, use.buffer);
  };
  if (accumulate) {
    const Content& old = walk.contents[use.buffer.index()];
    if (old.holds == Holds::gradient) take(old);
    else walk.fail(Kind::accumulation, "adds to " + buffer.name + " before anything was written there", use.buffer);
  }
  for (const BufferUse& input : facts.instruction->inputs) {
    const Content& term = walk.contents[input.buffer.index()];
    if (term.holds != Holds::gradient) continue;
    if (input.rank_stride.value != 0 || input.offset.value != 0) walk.fail(Kind::wrong_piece, "adds another part of a gradient on every rank", input.buffer);
    take(term);
  }
  if (!fresh.parts.empty() || fresh.end > fresh.first) take(fresh);
  if (!any) walk.fail(Kind::wrong_value, "writes " + buffer.name + " and performs nothing of it", use.buffer);
  complete(walk, sum, buffer.segment);
  walk.contents[use.buffer.index()] = std::move(sum);
}

namespace {

// What a sum over ranks must find: all uses, and the micro-batches that `reduce` says.
void check_ready(Walk& walk, const Content& c, BufferId buffer) {
  const std::string& name = path(walk, c.parameter);
  if (!c.parts.empty() || c.segments != walk.graph.segments[c.parameter])
    walk.fail(Kind::unfinished_gradient, "sums gradients of " + name + " over ranks before all its uses are added", buffer);
  bool each = walk.context.contract.train.reduce == Reduce::each;
  std::int64_t first = each ? walk.m : 0, end = each ? walk.m + 1 : walk.micro_batches;
  if (c.parts.empty() && (c.first != first || c.end != end))
    walk.fail(Kind::wrong_reduction_time, "sums gradients of " + name + " over ranks when they hold " + range_text(c) + "; it is to be " +
                                              (each ? "each micro-batch by itself" : "once, after the last micro-batch"), buffer);
  if (c.reduced) walk.fail(Kind::reduced_twice, "sums gradients of " + name + " over ranks again", buffer);
}

void reduce_part(Walk& walk, const CollectiveSpec& spec, const CollectivePart& part) {
  const Buffer& to = walk.context.buffer(part.to.buffer);
  Content content = walk.contents[part.from.buffer.index()];
  if (content.holds != Holds::gradient) return walk.fail(Kind::wrong_value, "sums what is not a gradient over ranks", part.from.buffer);
  check_ready(walk, content, part.from.buffer);
  if (part.piece_elements != piece_of(walk.context, content.parameter))
    walk.fail(Kind::wrong_piece, "pieces of " + std::to_string(part.piece_elements) + " elements, those of " + path(walk, content.parameter) + " have " + std::to_string(piece_of(walk.context, content.parameter)), part.from.buffer);
  bool scatter = spec.kind == CollectiveKind::reduce_scatter;
  bool fits = to.parameter && static_cast<int>(to.parameter->index()) == content.parameter && (scatter ? to.role == BufferRole::gradient_piece : to.role == BufferRole::gradient);
  if (!fits) walk.fail(Kind::wrong_value, "sums gradients of " + path(walk, content.parameter) + " into " + to.name, part.to.buffer);
  content.reduced = true;
  content.piece = scatter;
  walk.contents[part.to.buffer.index()] = std::move(content);
}

void gather_part(Walk& walk, const CollectivePart& part) {
  const Context& context = walk.context;
  const Buffer &from = context.buffer(part.from.buffer), &to = context.buffer(part.to.buffer);
  Content& content = walk.contents[part.from.buffer.index()];
  if (from.role == BufferRole::norm_table && part.from.buffer == part.to.buffer) {
    if (content.holds != Holds::norms) return walk.fail(Kind::norm_table, "gathers a norm table that nothing has filled", part.from.buffer);
    if (part.piece_elements != walk.graph.columns) walk.fail(Kind::norm_table, "gathers rows of " + std::to_string(part.piece_elements) + " columns, there are " + std::to_string(walk.graph.columns), part.from.buffer);
    for (std::size_t i = 0; i < content.columns.size(); ++i) {
      if (content.columns[i] == 0) walk.fail(Kind::norm_table, "gathers the norm table before column " + std::to_string(i) + " is filled", part.from.buffer);
      else content.columns[i] = 2;
    }
    return;
  }
  if (from.role == BufferRole::loss_table && part.from.buffer == part.to.buffer) {
    if (content.holds != Holds::losses || content.count != walk.micro_batches || part.piece_elements != 1)
      walk.fail(Kind::loss_table, "gathers the losses of " + std::to_string(content.count) + " micro-batches of " + std::to_string(walk.micro_batches), part.from.buffer);
    content.gathered = true;
    return;
  }
  if (content.holds != Holds::parameter) return walk.fail(Kind::wrong_value, "gathers what is neither a parameter nor a table", part.from.buffer);
  if (part.piece_elements != piece_of(context, content.parameter))
    walk.fail(Kind::wrong_piece, "pieces of " + std::to_string(part.piece_elements) + " elements, those of " + path(walk, content.parameter) + " have " + std::to_string(piece_of(context, content.parameter)), part.from.buffer);
  bool fits = to.parameter && static_cast<int>(to.parameter->index()) == content.parameter &&
              (content.piece ? to.role == BufferRole::gathered : part.from.buffer == part.to.buffer && to.role == BufferRole::parameter);
  if (!fits) walk.fail(Kind::wrong_value, "gathers parameter " + path(walk, content.parameter) + " into " + to.name, part.to.buffer);
  if (!content.piece && walk.updates[content.parameter] == content.version)
    walk.fail(Kind::stale_parameter, "gathers parameter " + path(walk, content.parameter) + ", of which no rank has updated its piece", part.to.buffer);
  Content whole{.holds = Holds::parameter, .parameter = content.parameter, .version = content.own_version, .own_version = content.own_version};
  walk.contents[part.to.buffer.index()] = std::move(whole);
}

}  // namespace

void walk_collective(Walk& walk, const CollectiveSpec& spec) {
  for (const CollectivePart& part : spec.parts) {
    if (spec.kind == CollectiveKind::all_gather) gather_part(walk, part);
    else reduce_part(walk, spec, part);
  }
}

void walk_read_batch(Walk& walk, const Instruction& instruction, const ReadBatchSpec& spec) {
  const Contract& contract = walk.context.contract;
  if (walk.kind == Walk::Kind::sample) return walk.fail(Kind::read_batch, "reads a batch in a sample program");
  if (spec.rows != contract.layout.micro_batch || spec.sequence != contract.data.sequence)
    walk.fail(Kind::read_batch, "reads " + std::to_string(spec.rows) + " rows of " + std::to_string(spec.sequence) + ", a micro-batch has " +
                                    std::to_string(contract.layout.micro_batch) + " of " + std::to_string(contract.data.sequence));
  if (spec.validation != (walk.kind == Walk::Kind::evaluate)) walk.fail(Kind::read_batch, "reads the other of training and validation data");
  if (walk.read_at[0] == walk.m + 1) walk.fail(Kind::read_batch, "reads a second batch for one micro-batch");
  walk.read_at[0] = walk.m + 1;
  for (std::size_t i = 0; i < instruction.outputs.size(); ++i) {
    BufferId id = instruction.outputs[i].buffer;
    BufferRole role = i == 0 ? BufferRole::tokens : BufferRole::targets;
    if (walk.context.buffer(id).role != role || instruction.outputs[i].rank_stride.value != 0) walk.fail(Kind::read_batch, std::string("reads ") + name_of(role) + " into " + walk.context.name(id), id);
    walk.contents[id.index()] = {.holds = i == 0 ? Holds::tokens : Holds::targets, .micro_batch = walk.m};
  }
}

void walk_begin_step(Walk& walk, const Instruction&) {
  if (walk.kind != Walk::Kind::step || walk.phase != 0) walk.fail(Kind::control, "begins a step again, or where there is none");
  walk.phase = std::max(walk.phase, 1);
}

void walk_square_sum(Walk& walk, const Instruction& instruction, const SquareSumSpec& spec) {
  if (instruction.inputs.size() != 1 || instruction.outputs.size() != 1) return;
  const Context& context = walk.context;
  const BufferUse &from = instruction.inputs[0], &to = instruction.outputs[0];
  const Content& gradient = walk.contents[from.buffer.index()];
  if (context.buffer(to.buffer).role != BufferRole::norm_table) return walk.fail(Kind::norm_table, "writes squares to what is no norm table", to.buffer);
  Content& table = walk.contents[to.buffer.index()];
  if (table.holds != Holds::norms) table = {.holds = Holds::norms, .columns = std::vector<std::uint8_t>(walk.graph.columns, 0)};
  if (gradient.holds != Holds::gradient) return walk.fail(Kind::missing_input, "squares what is not a gradient", from.buffer);
  const std::string& name = path(walk, gradient.parameter);
  if (!gradient.parts.empty() || gradient.segments != walk.graph.segments[gradient.parameter] || gradient.first != 0 || gradient.end != walk.micro_batches)
    walk.fail(Kind::unfinished_gradient, "squares the gradient of " + name + " before it is complete", from.buffer);
  if (!walk.reduced(gradient)) walk.fail(Kind::unreduced_gradient, "squares the gradient of " + name + " of one rank alone", from.buffer);
  std::int64_t piece = piece_of(context, gradient.parameter), row = walk.graph.columns * 8;
  bool own = spec.pieces == 1 && context.ranks > 1;
  bool right = spec.elements == piece && from.offset.value == 0;
  if (own) right = right && to.rank_stride.value == row && from.rank_stride.value == (gradient.piece ? 0 : piece * 4);
  else right = right && !gradient.piece && spec.pieces == context.ranks && (spec.table_stride == walk.graph.columns || context.ranks == 1) && to.rank_stride.value == 0 && from.rank_stride.value == 0;
  if (!right || to.offset.value != 0) walk.fail(Kind::wrong_piece, "squares other pieces of " + name + " than it has, or into other rows", from.buffer);
  if (spec.column != walk.graph.column[gradient.parameter])
    walk.fail(Kind::norm_table, "squares " + name + " into column " + std::to_string(spec.column) + ", its own is " + std::to_string(walk.graph.column[gradient.parameter]), to.buffer);
  if (spec.column < 0 || spec.column >= walk.graph.columns) return;
  std::uint8_t& column = table.columns[static_cast<std::size_t>(spec.column)];
  if (column != 0) walk.fail(Kind::norm_table, "fills column " + std::to_string(spec.column) + " again", to.buffer);
  column = own ? 1 : 2;
}

void walk_add_loss(Walk& walk, const Instruction& instruction, const AddLossSpec& spec) {
  if (instruction.inputs.size() != 1 || instruction.outputs.size() != 1) return;
  const BufferUse &from = instruction.inputs[0], &to = instruction.outputs[0];
  const Content& loss = walk.contents[from.buffer.index()];
  if (loss.holds != Holds::loss) walk.fail(Kind::missing_input, "adds what is not a loss", from.buffer);
  else if (loss.micro_batch != walk.m) walk.fail(Kind::wrong_micro_batch, "adds the loss of micro-batch " + std::to_string(loss.micro_batch), from.buffer);
  if (walk.context.buffer(to.buffer).role != BufferRole::loss_table || to.offset.value != 0 || to.rank_stride.value != (walk.context.ranks > 1 ? 8 : 0))
    return walk.fail(Kind::loss_table, "adds a loss elsewhere than to the rank's place in the loss table", to.buffer);
  Content& table = walk.contents[to.buffer.index()];
  bool first = table.holds != Holds::losses;
  if (spec.first != (walk.m == 0) || first != spec.first) walk.fail(Kind::loss_table, spec.first ? "begins the loss table anew" : "adds to a loss table that is not begun", to.buffer);
  if (first) table = {.holds = Holds::losses};
  if (table.count != walk.m) walk.fail(Kind::loss_table, "adds the loss of micro-batch " + std::to_string(walk.m) + " after " + std::to_string(table.count) + " others", to.buffer);
  ++table.count;
}

void walk_control(Walk& walk, const Instruction& instruction, const ControlSpec& spec) {
  if (walk.kind != Walk::Kind::step || walk.phase != 1) walk.fail(Kind::control, "decides a step that has not begun, or again");
  walk.phase = 2;
  if (spec.pieces != walk.context.ranks || spec.ranks != walk.context.ranks || spec.micro_batches != walk.micro_batches || spec.parameters != walk.graph.columns)
    walk.fail(Kind::wrong_scale, "averages over " + std::to_string(spec.ranks) + " ranks and " + std::to_string(spec.micro_batches) + " micro-batches, " + std::to_string(spec.pieces) + " pieces of " +
                                     std::to_string(spec.parameters) + " parameters; there are " + std::to_string(walk.context.ranks) + ", " + std::to_string(walk.micro_batches) + " and " + std::to_string(walk.graph.columns) + " parameters");
  if (instruction.inputs.size() != 2) return;
  for (int i : {0, 1})
    if (instruction.inputs[i].offset.value != 0 || instruction.inputs[i].rank_stride.value != 0) walk.fail(Kind::control, "folds a part of a table", instruction.inputs[i].buffer);
  const Content &norms = walk.contents[instruction.inputs[0].buffer.index()], &losses = walk.contents[instruction.inputs[1].buffer.index()];
  if (norms.holds != Holds::norms) walk.fail(Kind::norm_table, "folds a norm table that nothing has filled", instruction.inputs[0].buffer);
  for (std::size_t i = 0; i < norms.columns.size(); ++i)
    if (norms.columns[i] != 2) walk.fail(Kind::norm_table, "folds the norm table without column " + std::to_string(i) + " of all ranks", instruction.inputs[0].buffer);
  if (losses.holds != Holds::losses || losses.count != walk.micro_batches || (!losses.gathered && walk.context.ranks > 1))
    walk.fail(Kind::loss_table, "folds a loss table without the losses of all micro-batches and ranks", instruction.inputs[1].buffer);
}

void walk_update(Walk& walk, const Instruction& instruction, const UpdateSpec& spec) {
  const Context& context = walk.context;
  const TrainSpec& train = context.contract.train;
  if (walk.kind != Walk::Kind::step || walk.phase != 2) walk.fail(Kind::control, "updates before the step is decided");
  std::size_t moments = train.optimizer.kind == OptimizerKind::adamw ? 2 : 1, wanted = 1 + moments + (train.activation != DType::f32 ? 1 : 0);
  if (spec.used_type != train.activation) walk.fail(Kind::wrong_precision, "writes parameters as " + std::string(name_of(spec.used_type)));
  if (instruction.inputs.size() != 2 || instruction.outputs.size() != wanted) return;
  const BufferUse& from = instruction.inputs[0];
  const Buffer& master = context.buffer(instruction.outputs[0].buffer);
  if (!master.parameter) return walk.fail(Kind::wrong_update, "updates what is no parameter", instruction.outputs[0].buffer);
  int p = static_cast<int>(master.parameter->index());
  const Content& gradient = walk.contents[from.buffer.index()];
  std::int64_t piece = piece_of(context, p);
  bool own = piecewise(context);
  std::int64_t elements = own ? piece : piece * context.ranks;

  if (gradient.holds != Holds::gradient || gradient.parameter != p) {
    walk.fail(Kind::wrong_update, "updates " + path(walk, p) + " by what is not its gradient", from.buffer);
  } else {
    if (!gradient.parts.empty() || gradient.segments != walk.graph.segments[p] || gradient.first != 0 || gradient.end != walk.micro_batches)
      walk.fail(Kind::unfinished_gradient, "updates " + path(walk, p) + " by a gradient that is not complete", from.buffer);
    if (!walk.reduced(gradient)) walk.fail(Kind::unreduced_gradient, "updates " + path(walk, p) + " by the gradient of one rank alone", from.buffer);
    std::int64_t stride = own && !gradient.piece ? piece * 4 : 0;
    if ((gradient.piece && !own) || from.offset.value != 0 || from.rank_stride.value != stride) walk.fail(Kind::wrong_piece, "updates " + path(walk, p) + " by another piece of its gradient", from.buffer);
  }
  if (spec.elements != elements) walk.fail(Kind::wrong_piece, "updates " + std::to_string(spec.elements) + " elements of " + path(walk, p) + ", this rank has " + std::to_string(elements), instruction.outputs[0].buffer);
  if (spec.decay != context.model.parameters[p].decay) walk.fail(Kind::wrong_decay, spec.decay ? "decays " + path(walk, p) : "does not decay " + path(walk, p));
  if (walk.updates[p] != 0) walk.fail(Kind::wrong_update, "updates " + path(walk, p) + " again");
  ++walk.updates[p];

  // Roles in the spec's order; each at this rank's place.
  std::vector<BufferRole> roles;
  bool f32 = train.activation == DType::f32;
  BufferRole used = sharded(context, p) ? BufferRole::parameter_piece : BufferRole::parameter;
  roles.push_back(f32 ? used : own ? BufferRole::master_piece : BufferRole::master);
  roles.push_back(own ? BufferRole::moment1_piece : BufferRole::moment1);
  if (moments == 2) roles.push_back(own ? BufferRole::moment2_piece : BufferRole::moment2);
  if (!f32) roles.push_back(used);
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const BufferUse& use = instruction.outputs[i];
    const Buffer& buffer = context.buffer(use.buffer);
    if (buffer.role != roles[i] || !buffer.parameter || static_cast<int>(buffer.parameter->index()) != p) {
      walk.fail(Kind::wrong_update, "updates " + path(walk, p) + " in " + buffer.name, use.buffer);
      continue;
    }
    bool place = own && buffer.role == BufferRole::parameter;
    std::int64_t size = elements * size_of(buffer.type);
    if (use.offset.value != 0 || use.bytes.value != size || use.rank_stride.value != (place ? size : 0))
      walk.fail(Kind::wrong_piece, "updates another piece of " + path(walk, p) + " than this rank's", use.buffer);
    Content& content = walk.contents[use.buffer.index()];
    if (content.holds != Holds::parameter) continue;
    content.own_version = walk.updates[p];
    if (!place) content.version = walk.updates[p];
  }
}

void check_storage(const Context& context, bool trains) {
  const TrainSpec& train = context.contract.train;
  std::size_t n = context.model.parameters.size();
  constexpr std::size_t kRoles = static_cast<std::size_t>(BufferRole::state) + 1;
  std::vector<std::vector<int>> found(n, std::vector<int>(kRoles, 0));
  int states = 0;
  for (std::size_t b = 0; b < context.plan.buffers.size(); ++b) {
    const Buffer& buffer = context.plan.buffers[b];
    if (buffer.role == BufferRole::state) {
      ++states;
      if (buffer.bytes.value != static_cast<std::int64_t>(sizeof(StateBlock))) context.fail(Kind::buffer_size, {}, "a state block of " + std::to_string(buffer.bytes.value) + " bytes", BufferId(b));
      continue;
    }
    if (buffer.role == BufferRole::gathered && (!buffer.parameter || buffer.elements != piece_of(context, static_cast<int>(buffer.parameter->index())) * context.ranks || buffer.type != train.activation))
      context.fail(Kind::wrong_piece, {}, "a gathered parameter that is not all pieces of one, in the activation's type", BufferId(b));
    if (!is_persistent(buffer.role)) continue;
    if (!buffer.parameter) {
      context.fail(Kind::wrong_value, {}, "a parameter's buffer of no parameter", BufferId(b));
      continue;
    }
    int p = static_cast<int>(buffer.parameter->index());
    ++found[p][static_cast<std::size_t>(buffer.role)];
    bool piece = buffer.role == BufferRole::parameter_piece || buffer.role == BufferRole::master_piece || buffer.role == BufferRole::moment1_piece || buffer.role == BufferRole::moment2_piece;
    std::int64_t expected = piece_of(context, p) * (piece ? 1 : context.ranks);
    if (buffer.elements != expected)
      context.fail(Kind::wrong_piece, {}, std::to_string(buffer.elements) + " elements where " + std::to_string(expected) + " tile " + context.model.parameters[p].path, BufferId(b));
    bool used = buffer.role == BufferRole::parameter || buffer.role == BufferRole::parameter_piece;
    if (buffer.type != (used ? train.activation : DType::f32)) context.fail(Kind::wrong_precision, {}, "is held as " + std::string(name_of(buffer.type)), BufferId(b));
  }
  if (states != (trains ? 1 : 0)) context.fail(Kind::control, {}, std::to_string(states) + " state blocks");
  for (std::size_t p = 0; p < n; ++p) {
    std::vector<int> wanted(kRoles, 0);
    auto want = [&](BufferRole whole, BufferRole piece, bool in_pieces) { wanted[static_cast<std::size_t>(in_pieces ? piece : whole)] = 1; };
    want(BufferRole::parameter, BufferRole::parameter_piece, sharded(context, static_cast<int>(p)));
    if (trains) {
      if (train.activation != DType::f32) want(BufferRole::master, BufferRole::master_piece, piecewise(context));
      want(BufferRole::moment1, BufferRole::moment1_piece, piecewise(context));
      if (train.optimizer.kind == OptimizerKind::adamw) want(BufferRole::moment2, BufferRole::moment2_piece, piecewise(context));
    }
    if (found[p] != wanted)
      context.fail(Kind::wrong_piece, {}, "parameter " + context.model.parameters[p].path + " is not held as its ZeRO stage says: whole or in pieces, with its optimizer state, each once");
  }
}

void check_end(Walk& walk) {
  const Context& context = walk.context;
  if (walk.kind == Walk::Kind::sample) {
    for (std::size_t b = 0; b < walk.contents.size(); ++b)
      if (walk.contents[b].holds == Holds::value && walk.graph.same_value[walk.contents[b].op] == walk.graph.same_value[context.model.logits->index()]) return;
    return walk.fail(Kind::not_performed, "leaves no logits");
  }
  if (walk.kind == Walk::Kind::evaluate) {
    for (const Content& content : walk.contents)
      if (content.holds == Holds::losses && content.count == walk.micro_batches && (content.gathered || context.ranks == 1)) return;
    return walk.fail(Kind::loss_table, "leaves no losses of all micro-batches and ranks");
  }
  if (walk.phase != 2) walk.fail(Kind::control, "the step is never decided");
  for (std::size_t p = 0; p < walk.updates.size(); ++p)
    if (walk.graph.column[p] >= 0 && walk.updates[p] == 0) walk.fail(Kind::missing_update, "parameter " + context.model.parameters[p].path + " is never updated");
  for (std::size_t b = 0; b < walk.contents.size(); ++b) {
    const Content& content = walk.contents[b];
    bool kept = context.plan.buffers[b].role == BufferRole::parameter || context.plan.buffers[b].role == BufferRole::parameter_piece;
    if (kept && content.holds == Holds::parameter && content.version != content.own_version)
      walk.fail(Kind::stale_parameter, "the other ranks' pieces of " + path(walk, content.parameter) + " are not gathered after the update", BufferId(b));
  }
}

}  // namespace dsc::verifying
