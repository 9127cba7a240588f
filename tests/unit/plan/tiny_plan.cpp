#include "tests/unit/plan/tiny_plan.h"

#include <algorithm>
#include <cstddef>

#include "compiler/plan/plan_json.h"
#include "compiler/plan/verify.h"
#include "compiler/support/kernel_workspace.h"
#include "compiler/support/state_block.h"

namespace dsc::testing {
namespace {

constexpr std::int64_t kVocab = 10, kWidth = 6, kSeq = 4, kRows = 2;
const AxisId kBatch(0), kSeqAxis(1), kVocabAxis(2), kWidthAxis(3);
const ParameterId kTable(0), kBias(1);

Model tiny_model(std::int64_t batch) {
  Model model;
  model.name = "tiny";
  model.axes = {{.path = "batch", .size = batch}, {.path = "seq", .size = kSeq}, {.path = "vocab", .size = kVocab, .vocabulary = true}, {.path = "width", .size = kWidth}};
  model.parameters = {{.path = "wte", .axes = {kVocabAxis, kWidthAxis}, .init = InitKind::normal, .init_value = 0.02, .product_operand = true},
                      {.path = "bias", .axes = {kWidthAxis}, .decay = false}};
  model.scopes = {Scope{}};
  auto add = [&](OpKind kind, std::vector<OpId> operands, std::vector<AxisId> axes, bool rounded, const char* name) -> Op& {
    Op op;
    op.kind = kind;
    op.operands = std::move(operands);
    op.axes = std::move(axes);
    op.rounded = rounded;
    op.name = name;
    model.ops.push_back(op);
    return model.ops.back();
  };
  add(OpKind::tokens, {}, {kBatch, kSeqAxis}, false, "tokens").type = ValueType::integer;
  add(OpKind::targets, {}, {kBatch, kSeqAxis}, false, "targets").type = ValueType::integer;
  add(OpKind::parameter, {}, {kVocabAxis, kWidthAxis}, true, "wte").parameter = kTable;
  add(OpKind::lookup, {OpId(2), OpId(0)}, {kBatch, kSeqAxis, kWidthAxis}, true, "embedded").over = {kVocabAxis};
  add(OpKind::parameter, {}, {kWidthAxis}, true, "bias").parameter = kBias;
  add(OpKind::add, {OpId(3), OpId(4)}, {kBatch, kSeqAxis, kWidthAxis}, false, "sum");
  add(OpKind::round, {OpId(5)}, {kBatch, kSeqAxis, kWidthAxis}, true, "x");
  Op& dot = add(OpKind::dot, {OpId(6), OpId(2)}, {kBatch, kSeqAxis, kVocabAxis}, false, "logits");
  dot.over = {kWidthAxis};
  dot.segment = 1;
  Op& loss = add(OpKind::cross_entropy, {OpId(7), OpId(1)}, {}, false, "loss");
  loss.over = {kVocabAxis};
  loss.type = ValueType::loss;
  loss.segment = 1;
  model.loss = OpId(8);
  model.logits = OpId(7);
  model.vocabulary = kVocab;
  return model;
}

BufferClass class_of(BufferRole role) {
  if (role == BufferRole::parameter || role == BufferRole::parameter_piece) return BufferClass::parameters;
  if (role < BufferRole::state) return BufferClass::optimizer;
  if (role == BufferRole::gathered) return BufferClass::gathered;
  if (role == BufferRole::gradient || role == BufferRole::gradient_piece) return BufferClass::gradients;
  return role >= BufferRole::value && role <= BufferRole::loss ? BufferClass::activations : BufferClass::workspace;
}

struct TinyBuilder {
  Plan plan;
  TinyOptions o;
  bool own = false, sharded = false;
  Section section;
  std::vector<Section> sections;
  BufferId state{0}, losses{0};
  struct Held { std::int64_t elements, piece; BufferId used{0}, master{0}, moment1{0}, moment2{0}; };
  std::vector<Held> held;
  struct Gradient { std::optional<BufferId> acc[2], sum, piece; };
  Gradient gradients[2];

  BufferId buffer(std::string name, BufferRole role, DType type, std::int64_t elements) {
    Buffer b;
    b.name = std::move(name);
    b.role = role;
    b.cls = class_of(role);
    b.type = type;
    b.elements = elements;
    b.bytes = Bytes(elements * size_of(type));
    b.persistent = role <= BufferRole::state;
    plan.buffers.push_back(b);
    return BufferId(plan.buffers.size() - 1);
  }
  Buffer& at(BufferId id) { return plan.buffers[id.index()]; }
  BufferUse use(BufferId id) { return {id, Bytes(0), Bytes(0), at(id).bytes}; }
  BufferUse use(BufferId id, std::int64_t elements) { return {id, Bytes(0), Bytes(0), Bytes(elements * size_of(at(id).type))}; }
  BufferUse own_place(BufferId id, std::int64_t piece) {
    Bytes bytes(piece * size_of(at(id).type));
    return {id, Bytes(0), bytes, bytes};
  }
  void push(Instruction instruction) {
    if (!section.instructions.empty() && section.instructions.back().engine != instruction.engine)
      instruction.waits = {static_cast<int>(section.instructions.size()) - 1};
    section.instructions.push_back(std::move(instruction));
  }
  void kernel(std::string name, KernelSpec spec, std::vector<BufferUse> inputs, std::vector<BufferUse> outputs, std::vector<Performed> performs = {}) {
    Instruction instruction;
    instruction.name = name;
    if (std::holds_alternative<ReadBatchSpec>(spec)) instruction.engine = Engine::storage;
    if (Bytes bytes = workspace_of(spec, plan.target).total(); bytes.value > 0)
      instruction.workspace = use(buffer(name + " workspace", BufferRole::workspace, DType::u8, bytes.value));
    instruction.op = std::move(spec);
    instruction.inputs = std::move(inputs);
    instruction.outputs = std::move(outputs);
    instruction.performs = std::move(performs);
    push(std::move(instruction));
  }
  void collective(std::string name, CollectiveKind kind, std::vector<CollectivePart> parts) {
    CollectiveSpec spec{kind, {0}, kind != CollectiveKind::all_gather && o.wire_bf16, std::move(parts), "zero"};
    Instruction instruction;
    instruction.name = std::move(name);
    instruction.engine = Engine::communication;
    instruction.op = std::move(spec);
    push(std::move(instruction));
  }

  void place() {
    for (std::size_t p = 0; p < 2; ++p) {
      ParameterId id(p);
      Held h{element_count(plan.contract.model, id), plan.contract.piece_elements(id)};
      const std::string& path = plan.contract.model.parameters[p].path;
      auto persistent = [&](BufferRole whole, BufferRole piece, DType type, bool in_pieces, const char* what) {
        BufferId b = buffer(path + what, in_pieces ? piece : whole, type, in_pieces ? h.piece : h.piece * o.ranks);
        at(b).parameter = id;
        return b;
      };
      h.used = persistent(BufferRole::parameter, BufferRole::parameter_piece, o.activation, sharded, "");
      h.master = o.activation == DType::f32 ? h.used : persistent(BufferRole::master, BufferRole::master_piece, DType::f32, own, " master");
      h.moment1 = persistent(BufferRole::moment1, BufferRole::moment1_piece, DType::f32, own, " moment1");
      if (o.optimizer == OptimizerKind::adamw) h.moment2 = persistent(BufferRole::moment2, BufferRole::moment2_piece, DType::f32, own, " moment2");
      held.push_back(h);
    }
    state = buffer("state", BufferRole::state, DType::u8, sizeof(StateBlock));
  }

  BufferId parameter(std::size_t p) {
    if (!sharded) return held[p].used;
    BufferId whole = buffer(plan.contract.model.parameters[p].path + " gathered", BufferRole::gathered, o.activation, held[p].piece * o.ranks);
    at(whole).parameter = ParameterId(p);
    collective("gather " + plan.contract.model.parameters[p].path, CollectiveKind::all_gather, {{use(held[p].used), use(whole), held[p].piece, o.activation}});
    return whole;
  }
  MapSpec move(std::int64_t elements, bool accumulate) {
    MapSpec spec;
    spec.inner = {elements};
    spec.inputs = {{DType::f32, {1}, 0, {}}};
    spec.outputs = {{DType::f32, {1}, 0, accumulate}};
    spec.program = {1, {{MapOpcode::load, 0, -1, -1, -1, 0}, {MapOpcode::store, -1, 0, -1, -1, 0}}};
    return spec;
  }
  BufferId gradient_buffer(std::size_t p, int segment) {
    BufferId b = buffer("grad " + plan.contract.model.parameters[p].path, BufferRole::gradient, DType::f32, held[p].piece * o.ranks);
    at(b).parameter = ParameterId(p);
    at(b).segment = segment;
    std::int64_t padding = held[p].piece * o.ranks - held[p].elements;
    if (padding > 0) {
      MapSpec spec = move(padding, false);
      spec.inputs.clear();
      spec.program.code[0] = {MapOpcode::constant, 0};
      kernel("padding", spec, {}, {{b, Bytes(held[p].elements * 4), Bytes(0), Bytes(padding * 4)}});
    }
    return b;
  }
  // The accumulator of (p, segment), and whether this micro-batch adds to it.
  std::pair<BufferId, bool> target(std::size_t p, int segment, bool first) {
    std::optional<BufferId>& acc = gradients[p].acc[segment];
    bool each = o.reduce == Reduce::each;
    if (first || each) acc = gradient_buffer(p, segment);
    return {*acc, !first && !each};
  }
  void finish_gradient(std::size_t p, bool last, bool first) {
    Gradient& g = gradients[p];
    bool each = o.reduce == Reduce::each;
    if (!each && !last) return;
    BufferId whole = g.acc[0] ? *g.acc[0] : *g.acc[1];
    if (g.acc[0] && g.acc[1]) kernel("add segments", move(held[p].elements, true), {use(*g.acc[1], held[p].elements)}, {use(whole, held[p].elements)});
    BufferId result = whole;
    std::int64_t piece = held[p].piece;
    if (o.ranks > 1 && own) {
      result = buffer("grad piece", BufferRole::gradient_piece, DType::f32, piece);
      at(result).parameter = ParameterId(p);
      collective("reduce", CollectiveKind::reduce_scatter, {{use(whole), use(result), piece, DType::f32}});
    } else if (o.ranks > 1) {
      collective("reduce", CollectiveKind::all_reduce, {{use(whole), use(whole), piece, DType::f32}});
    }
    if (first || !each) {
      g.sum = result;
    } else {
      std::int64_t elements = own ? piece : held[p].elements;
      kernel("accumulate", move(elements, true), {use(result, elements)}, {use(*g.sum, elements)});
    }
  }

  // Forward, and in a step backward, of one micro-batch.
  void micro_batch(bool train, bool first, bool last) {
    std::int64_t n = kRows * kSeq, values = n * kWidth;
    auto performed = [](Pass pass, std::size_t op, int operand = 0) { return Performed{pass, OpId(op), operand}; };
    auto value = [&](const char* name, BufferRole role, std::size_t op) {
      BufferId b = buffer(name, role, o.activation, values);
      at(b).op = OpId(op);
      return b;
    };
    BufferId tokens = buffer("tokens", BufferRole::tokens, DType::i32, n), targets = buffer("targets", BufferRole::targets, DType::i32, n);
    if (train && first) kernel("begin step", BeginStepSpec{}, {}, {use(state)});
    kernel("read batch", ReadBatchSpec{kRows, kSeq, !train}, {}, {use(tokens), use(targets)});
    BufferId table = parameter(0), bias = parameter(1);
    BufferId embedded = value("embedded", BufferRole::value, 3), x = value("x", BufferRole::value, 6);
    kernel("lookup", LookupSpec{n, kVocab, kWidth, kWidth, 1, 0, o.activation, o.activation}, {use(table, kVocab * kWidth), use(tokens)}, {use(embedded)},
           {performed(Pass::forward, 3)});
    MapSpec add;
    add.outer = {n};
    add.reduced = {false};
    add.inner = {kWidth};
    add.inputs = {{o.activation, {kWidth, 1}, 0, {}}, {o.activation, {0, 1}, 0, {}}};
    add.outputs = {{o.activation, {kWidth, 1}, 0, false}};
    add.program = {3, {{MapOpcode::load, 0, -1, -1, -1, 0}, {MapOpcode::load, 1, -1, -1, -1, 1}, {MapOpcode::add, 2, 0, 1}, {MapOpcode::store, -1, 2, -1, -1, 0}}};
    kernel("add", add, {use(embedded), use(bias, kWidth)}, {use(x)}, {performed(Pass::forward, 5), performed(Pass::forward, 6)});
    BufferId loss = buffer("loss", BufferRole::loss, DType::f32, 1);
    at(loss).op = OpId(8);
    ClassifierSpec classifier{n, kVocab, kWidth, n, kWidth, 1, o.activation, o.activation, o.activation, 1.0 / static_cast<double>(n), 1, train};
    std::vector<Performed> both = {performed(Pass::forward, 7), performed(Pass::forward, 8)};
    std::vector<BufferUse> inputs = {use(x), use(table, kVocab * kWidth), use(targets)}, outputs = {use(loss)};
    std::optional<BufferId> dx, fresh;
    std::optional<std::pair<BufferId, bool>> head;
    if (train) {
      for (Performed p : {performed(Pass::total, 8), performed(Pass::gradient, 8), performed(Pass::total, 7), performed(Pass::gradient, 7, 0), performed(Pass::gradient, 7, 1),
                          performed(Pass::total, 6), performed(Pass::total, 2)}) both.push_back(p);
      dx = value("grad x", BufferRole::value_gradient, 6);
      head = target(0, 1, first);
      BufferId written = head->first;
      if (head->second) {  // a classifier cannot add: into a buffer of its own, then to the accumulator
        fresh = written = buffer("fresh grad", BufferRole::gradient, DType::f32, kVocab * kWidth);
        at(written).parameter = kTable;
        at(written).segment = 1;
      }
      inputs.push_back({state, Bytes(offsetof(StateBlock, loss_scale)), Bytes(0), Bytes(4)});
      outputs.push_back(use(*dx));
      outputs.push_back(use(written, kVocab * kWidth));
    }
    kernel("classifier", classifier, inputs, outputs, both);
    BufferUse place = use(losses, 1);
    if (o.ranks > 1) place.rank_stride = Bytes(8);
    kernel("add loss", AddLossSpec{first}, {use(loss)}, {place});
    if (!train) return;
    if (fresh) kernel("accumulate fresh", move(kVocab * kWidth, true), {use(*fresh)}, {use(head->first, kVocab * kWidth)});
    auto [bias_gradient, bias_adds] = target(1, 0, first);
    MapSpec reduce;
    reduce.outer = {n};
    reduce.reduced = {true};
    reduce.inner = {kWidth};
    reduce.inputs = {{o.activation, {kWidth, 1}, 0, {}}};
    reduce.outputs = {{DType::f32, {0, 1}, 0, bias_adds}};
    reduce.program = {1, {{MapOpcode::load, 0, -1, -1, -1, 0}, {MapOpcode::reduce_sum, -1, 0, -1, -1, 0}}};
    kernel("grad bias", reduce, {use(*dx)}, {use(bias_gradient, kWidth)},
           {performed(Pass::gradient, 6), performed(Pass::total, 5), performed(Pass::gradient, 5, 1), performed(Pass::total, 4)});
    finish_gradient(1, last, first);
    auto [table_gradient, table_adds] = target(0, 0, first);
    kernel("grad lookup", LookupBackwardSpec{n, kVocab, kWidth, kWidth, 1, o.activation, table_adds}, {use(*dx), use(tokens)}, {use(table_gradient, kVocab * kWidth)},
           {performed(Pass::gradient, 5, 0), performed(Pass::total, 3), performed(Pass::gradient, 3), performed(Pass::total, 2)});
    finish_gradient(0, last, first);
  }

  void finish_step() {
    BufferId norms = buffer("norm table", BufferRole::norm_table, DType::f64, 2 * o.ranks);
    for (std::size_t p : {1, 0}) {
      bool piece = own;
      SquareSumSpec spec{piece ? 1 : o.ranks, held[p].piece, static_cast<std::int64_t>(p), 2};
      kernel("squares", spec, {use(*gradients[p].sum)}, {piece ? own_place(norms, 2) : use(norms)});
    }
    if (o.ranks > 1) {
      std::vector<CollectivePart> parts;
      if (own) parts.push_back({own_place(norms, 2), use(norms), 2, DType::f64});
      parts.push_back({own_place(losses, 1), use(losses), 1, DType::f64});
      collective("gather norm and loss", CollectiveKind::all_gather, std::move(parts));
    }
    kernel("control", ControlSpec{o.ranks, 2, o.ranks, o.micro_batches}, {use(norms), use(losses)}, {use(state)});
    for (std::size_t p : {0, 1}) {
      const Held& h = held[p];
      std::int64_t elements = own ? h.piece : h.piece * o.ranks;
      BufferUse used = own && !sharded ? own_place(h.used, h.piece) : use(h.used);
      std::vector<BufferUse> outputs = {o.activation == DType::f32 ? used : use(h.master), use(h.moment1)};
      if (o.optimizer == OptimizerKind::adamw) outputs.push_back(use(h.moment2));
      if (o.activation != DType::f32) outputs.push_back(used);
      kernel("update " + plan.contract.model.parameters[p].path, UpdateSpec{elements, plan.contract.model.parameters[p].decay, o.activation}, {use(*gradients[p].sum), use(state)}, outputs);
      if (own && !sharded) collective("publish", CollectiveKind::all_gather, {{used, use(h.used), h.piece, o.activation}});
    }
  }

  void program(const char* name, bool train) {
    losses = buffer("loss table", BufferRole::loss_table, DType::f64, o.ranks);
    sections.clear();
    std::int64_t m = o.micro_batches;
    auto run = [&](const char* section_name, std::int64_t from, std::int64_t iterations, bool first, bool last) {
      section = {section_name, from, iterations, {}};
      micro_batch(train, first, last);
      if (last && train) finish_step();
      if (last && !train && o.ranks > 1) collective("gather loss", CollectiveKind::all_gather, {{own_place(losses, 1), use(losses), 1, DType::f64}});
      sections.push_back(section);
    };
    if (m == 1) {
      run("only", 0, 1, true, true);
    } else {
      run("first", 0, 1, true, false);
      if (m > 2) run("middle", 1, m - 2, false, false);
      run("last", m - 1, 1, false, true);
    }
    plan.programs.push_back({name, sections});
  }
};

}  // namespace

void settle(Plan& plan) {
  std::int64_t end = 0, persistent = 0;
  for (Buffer& b : plan.buffers) {
    b.offset = align_up(Bytes(end), plan.target.alignment);
    end = b.offset.value + b.bytes.value;
    if (b.persistent && b.role != BufferRole::state) persistent += b.bytes.value;
  }
  plan.memory.packed = Bytes(end);
  plan.memory.device_arena = align_up(plan.memory.packed, plan.target.page);
  plan.memory.persistent = Bytes(persistent);
  plan.memory.lower_bound = verify(plan).lower_bound;
  seal(plan);
}

Plan tiny_plan(const TinyOptions& options) {
  TinyBuilder b;
  b.o = options;
  b.plan.compiler_version = "0.1.0";
  b.plan.target = reference_target();
  b.plan.sources = {{"tiny.dsm", "// \xC3\xA9 tiny\nmodel\n"}};
  b.plan.sets = {{"train.steps", "3"}};
  Contract& c = b.plan.contract;
  c.train.batch = kRows * options.ranks * options.micro_batches;
  c.model = tiny_model(c.train.batch);
  c.data.sequence = kSeq;
  c.data.train.path = "text.txt";
  c.data.validation_split = Share{1, 20};
  c.train.steps = 3;
  c.train.activation = options.activation;
  c.train.reduce = options.reduce;
  c.train.optimizer.kind = options.optimizer;
  c.train.optimizer.rate.peak = 1e-3;
  c.train.clip_norm = 1.0;
  c.train.seed = 0xFFFFFFFFFFFFFFFF;
  c.train.evaluate_every = 2;
  c.train.evaluate_batches = 1;
  c.layout.name = "tiny";
  c.layout.mesh = {{"data", options.ranks, {}}};
  c.layout.batch_axes = {0};
  c.layout.zero_stage = options.zero;
  c.layout.micro_batch = kRows;
  c.layout.wire_bf16 = options.wire_bf16;
  c.layout.max_live = Elements(1000000);
  b.own = options.ranks > 1 && options.zero >= 1;
  b.sharded = options.ranks > 1 && options.zero == 3;
  b.place();
  b.program("step", true);
  b.program("evaluate", false);
  settle(b.plan);
  return b.plan;
}

std::string str(const TinyOptions& o) {
  std::string s = "zero " + std::to_string(o.zero) + " on " + std::to_string(o.ranks) + ", " + std::to_string(o.micro_batches) + " micro-batches, reduce ";
  s += o.reduce == Reduce::once ? "once, " : "each, ";
  s += name_of(o.activation);
  s += o.optimizer == OptimizerKind::adamw ? " adamw" : " sgd";
  if (o.wire_bf16) s += " wire bf16";
  return s;
}

std::vector<TinyOptions> tiny_grid() {
  std::vector<TinyOptions> grid;
  for (std::int64_t ranks : {1, 2, 4})
    for (int zero : {0, 1, 2, 3})
      for (std::int64_t micro_batches : {1, 2, 3, 7})
        for (Reduce reduce : {Reduce::once, Reduce::each})
          for (DType activation : {DType::f32, DType::bf16, DType::f16})
            grid.push_back({ranks, micro_batches, zero, reduce, activation, activation == DType::f16 ? OptimizerKind::sgd : OptimizerKind::adamw, micro_batches == 2 && ranks > 1});
  return grid;
}

}  // namespace dsc::testing
