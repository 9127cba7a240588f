#include "compiler/partition/program.h"

#include <cstddef>
#include <utility>

#include "compiler/partition/gradients.h"
#include "compiler/support/check.h"
#include "compiler/support/kernel_workspace.h"
#include "compiler/support/state_block.h"

namespace dsc::local {

Instruction kernel(std::string name, KernelSpec spec, std::vector<Use> inputs, std::vector<Use> outputs, SourceRange source) {
  Instruction made;
  made.name = std::move(name);
  made.op = std::move(spec);
  made.inputs = std::move(inputs);
  made.outputs = std::move(outputs);
  made.source = source;
  return made;
}

namespace {

BufferRole role_of(TensorRole role) {
  switch (role) {
    case TensorRole::tokens: return BufferRole::tokens;
    case TensorRole::targets: return BufferRole::targets;
    case TensorRole::gradient: return BufferRole::value_gradient;
    case TensorRole::contribution: return BufferRole::contribution;
    case TensorRole::statistics: return BufferRole::statistics;
    case TensorRole::loss: return BufferRole::loss;
    case TensorRole::parameter_gradient: return BufferRole::gradient;
    default: return BufferRole::value;
  }
}

BufferClass class_of(TensorRole role) {
  if (role == TensorRole::tokens || role == TensorRole::targets) return BufferClass::workspace;
  return role == TensorRole::parameter_gradient ? BufferClass::gradients : BufferClass::activations;
}

class Builder {
 public:
  Builder(const PartitionInput& input, const Graph& graph, const FlatGraph& flat, const Storage& storage, ProgramKind kind, Partitioned& out)
      : input_(input), graph_(graph), flat_(flat), storage_(storage), kind_(kind), out_(out),
        sizes_(local_sizes(input.model, input.layout.micro_batch)),
        micro_batches_(kind == ProgramKind::sample ? 1 : input.train.batch / (out.data_ranks * input.layout.micro_batch)),
        gradients_(input, graph, storage, micro_batches_, out) {}

  Program build() {
    Program program;
    program.name = kind_ == ProgramKind::step ? "step" : kind_ == ProgramKind::evaluate ? "evaluate" : "sample";
    if (kind_ != ProgramKind::sample) {
      loss_table_ = add_buffer(out_, Buffer{.name = "loss table", .role = BufferRole::loss_table, .cls = BufferClass::workspace,
                                            .type = DType::f64, .elements = out_.data_ranks, .result = kind_ == ProgramKind::evaluate});
    }
    const std::int64_t m = micro_batches_;
    if (m == 1) {
      program.sections.push_back(section("only", 0, 1, true, true));
      return program;
    }
    program.sections.push_back(section("first", 0, 1, true, false));
    if (m > 2) program.sections.push_back(section("middle", 1, m - 2, false, false));
    program.sections.push_back(section("last", m - 1, 1, false, true));
    return program;
  }

 private:
  Section section(const char* name, std::int64_t first_micro_batch, std::int64_t iterations, bool first, bool last) {
    Section section;
    section.name = name;
    section.first_micro_batch = first_micro_batch;
    section.iterations = iterations;
    buffers_.assign(flat_.tensors.size(), std::nullopt);
    gradients_.begin_section(first, last);
    if (kind_ == ProgramKind::step && first) add(section, kernel("begin step", BeginStepSpec{}, {}, {state_use()}, {}));
    if (kind_ != ProgramKind::sample) read_batch(section);
    for (const FlatStep& step : flat_.steps) {
      add_step(section, step);
      for (TensorId output : step.outputs) {
        if (kind_ != ProgramKind::sample && output == graph_.loss) add_loss(section, first);
      }
    }
    section.tail = section.instructions.size();
    if (!last) return section;
    if (kind_ == ProgramKind::evaluate) gather_tables(section, std::nullopt);
    if (kind_ == ProgramKind::step) finish_step(section);
    return section;
  }

  void add(Section& section, Instruction instruction) {
    add_workspace(instruction);
    section.instructions.push_back(std::move(instruction));
  }

  void add_workspace(Instruction& instruction) {
    const Bytes bytes = workspace_of(std::get<KernelSpec>(instruction.op), input_.target).total();
    if (bytes.value == 0) return;
    const BufferId buffer = add_buffer(out_, Buffer{.name = instruction.name + " workspace", .role = BufferRole::workspace,
                                                    .cls = BufferClass::workspace, .type = DType::u8, .elements = bytes.value,
                                                    .source = instruction.source});
    instruction.workspace = Use{buffer, Bytes(0), Bytes(0), bytes};
  }

  Use state_use() const { return whole_use(*storage_.state, sizeof(StateBlock), DType::u8); }

  BufferId buffer_of(TensorId id) {
    std::optional<BufferId>& buffer = buffers_[id.index()];
    if (buffer) return *buffer;
    const Tensor& tensor = flat_.tensors[id.index()];
    Buffer made{.name = tensor.name, .role = role_of(tensor.role), .cls = class_of(tensor.role), .type = tensor.type,
                .elements = sizes_.count(tensor.axes), .op = tensor.op, .source = tensor.source};
    made.result = kind_ == ProgramKind::sample && graph_.logits == id;
    buffer = add_buffer(out_, std::move(made));
    return *buffer;
  }

  Use use_of(TensorId id, std::int64_t offset) {
    const Tensor& tensor = flat_.tensors[id.index()];
    const std::int64_t size = size_of(tensor.type), elements = sizes_.count(tensor.axes) - offset;
    if (tensor.role == TensorRole::seed) {
      return {*storage_.state, Bytes(offsetof(StateBlock, loss_scale)), Bytes(0), Bytes(4)};
    }
    Use use{BufferId(0), Bytes(offset * size), Bytes(0), Bytes(elements * size)};
    use.buffer = tensor.role == TensorRole::parameter ? *storage_.parameters[tensor.parameter->index()].used : buffer_of(id);
    return use;
  }

  void read_batch(Section& section) {
    ReadBatchSpec spec;
    spec.rows = input_.layout.micro_batch;
    spec.sequence = input_.model.axis(input_.model.seq).size;
    spec.validation = kind_ == ProgramKind::evaluate;
    const auto slot = [&](std::optional<TensorId> tensor, const char* name, BufferRole role) {
      const std::int64_t elements = spec.rows * spec.sequence;
      const BufferId buffer = add_buffer(out_, Buffer{.name = name, .role = role, .cls = BufferClass::workspace, .type = DType::i32,
                                                      .elements = elements});
      if (tensor) buffers_[tensor->index()] = buffer;
      return whole_use(buffer, elements, DType::i32);
    };
    const Use tokens = slot(graph_.tokens, "tokens", BufferRole::tokens), targets = slot(graph_.targets, "targets", BufferRole::targets);
    Instruction read = kernel("read batch", spec, {}, {tokens, targets}, {});
    read.engine = Engine::storage;
    add(section, std::move(read));
  }

  void add_step(Section& section, const FlatStep& step) {
    Instruction made = kernel(step.name, step.spec, {}, {}, step.source);
    made.performs = step.performs;
    made.segment = step.segment;
    made.backward = step.backward;
    for (const FlatOperand& operand : step.inputs) {
      const Tensor& tensor = flat_.tensors[operand.tensor.index()];
      DSC_CHECK(tensor.role != TensorRole::parameter_gradient, "a step reads a parameter's gradient: " + step.name);
      if (tensor.role == TensorRole::parameter && storage_.parameters[tensor.parameter->index()].sharded) {
        made.reads.push_back({made.inputs.size(), *tensor.parameter});
      }
      made.inputs.push_back(use_of(operand.tensor, operand.offset));
    }
    std::vector<Instruction> before, after;
    std::vector<TensorId> complete;
    for (std::size_t i = 0; i < step.outputs.size(); ++i) {
      const Tensor& tensor = flat_.tensors[step.outputs[i].index()];
      if (tensor.role == TensorRole::parameter_gradient) {
        made.outputs.push_back(gradients_.write(step.outputs[i], i, std::get<KernelSpec>(made.op), made, before, after));
        complete.push_back(step.outputs[i]);
      } else {
        made.outputs.push_back(use_of(step.outputs[i], 0));
      }
    }
    for (Instruction& extra : before) add(section, std::move(extra));
    add(section, std::move(made));
    for (Instruction& extra : after) add(section, std::move(extra));
    for (TensorId gradient : complete) {
      std::vector<Instruction> sums;
      std::optional<Reduction> reduction = gradients_.complete(gradient, step.source, sums);
      for (Instruction& extra : sums) add(section, std::move(extra));
      if (!reduction) continue;
      reduction->after = section.instructions.size() - 1;
      if (reduction->finish) add_workspace(*reduction->finish);
      section.reductions.push_back(std::move(*reduction));
    }
  }

  void add_loss(Section& section, bool first) {
    Use place = whole_use(loss_table_, 1, DType::f64);
    if (out_.data_ranks > 1) place.rank_stride = Bytes(8);
    add(section, kernel("add loss", AddLossSpec{first}, {use_of(graph_.loss, 0)}, {place}, input_.model.op(input_.model.loss).source));
  }

  // Every rank's row of the norm table (where it has just one) and its place of the loss table.
  void gather_tables(Section& section, std::optional<std::pair<BufferId, std::int64_t>> norm) {
    if (out_.data_ranks == 1) return;
    Collective gather;
    gather.kind = CollectiveKind::all_gather;
    gather.mesh_axes = out_.mesh_axes;
    const auto part = [&](BufferId table, std::int64_t elements) {
      gather.parts.push_back({piece_use(table, elements, DType::f64), whole_use(table, elements * out_.data_ranks, DType::f64), elements,
                              DType::f64});
    };
    if (norm) part(norm->first, norm->second);
    part(loss_table_, 1);
    gather.cause = "batch over " + out_.data_axes + ": the " + (norm ? "norm and the loss" : "loss") + " of all ranks";
    Instruction made;
    made.name = norm ? "gather norm and loss" : "gather loss";
    made.engine = Engine::communication;
    made.op = std::move(gather);
    made.source = out_.split_source;
    section.instructions.push_back(std::move(made));
  }

  void finish_step(Section& section) {
    const std::vector<ParameterId> parameters = gradients_.parameters();
    const std::int64_t columns = static_cast<std::int64_t>(parameters.size()), ranks = out_.data_ranks;
    const bool piecewise = out_.zero_stage >= 1;
    const BufferId norm = add_buffer(out_, Buffer{.name = "norm table", .role = BufferRole::norm_table, .cls = BufferClass::workspace,
                                                  .type = DType::f64, .elements = ranks * columns});
    const Use table = piecewise ? piece_use(norm, columns, DType::f64) : whole_use(norm, ranks * columns, DType::f64);
    for (ParameterId id : gradients_.completion_order()) {
      const Stored& stored = storage_.parameters[id.index()];
      SquareSumSpec spec{piecewise ? 1 : ranks, stored.piece_elements, gradients_.column(id), columns};
      add(section, kernel("squares of " + path(id), spec, {gradients_.final_gradient(id)}, {table}, source(id)));
    }
    gather_tables(section, piecewise ? std::optional(std::pair(norm, columns)) : std::nullopt);
    ControlSpec control{ranks, columns, ranks, micro_batches_};
    add(section, kernel("control", control, {whole_use(norm, ranks * columns, DType::f64), whole_use(loss_table_, ranks, DType::f64)},
                        {state_use()}, {}));
    for (ParameterId id : parameters) update(section, id);
  }

  void update(Section& section, ParameterId id) {
    const Stored& stored = storage_.parameters[id.index()];
    const DType used_type = input_.train.activation;
    const std::int64_t elements = stored.piece_elements * (stored.piecewise ? 1 : out_.data_ranks);
    // The parameter as used: all of it, this rank's piece inside the whole, or the piece that is all this rank has.
    const Use used = stored.piecewise && !stored.sharded ? piece_use(*stored.used, elements, used_type)
                                                         : whole_use(*stored.used, elements, used_type);
    std::vector<Use> outputs = {stored.master ? whole_use(*stored.master, elements, DType::f32) : used,
                                whole_use(*stored.moment1, elements, DType::f32)};
    if (stored.moment2) outputs.push_back(whole_use(*stored.moment2, elements, DType::f32));
    if (stored.master) outputs.push_back(used);
    UpdateSpec spec{elements, input_.model.parameter(id).decay, used_type};
    add(section, kernel("update " + path(id), spec, {gradients_.final_gradient(id), state_use()}, std::move(outputs), source(id)));
    if (stored.piecewise && !stored.sharded) {
      section.publications.push_back({id, used, whole_use(*stored.used, elements * out_.data_ranks, used_type), elements, used_type,
                                      section.instructions.size() - 1});
    }
  }

  const std::string& path(ParameterId id) const { return input_.model.parameter(id).path; }
  SourceRange source(ParameterId id) const { return input_.model.parameter(id).source; }

  const PartitionInput& input_;
  const Graph& graph_;
  const FlatGraph& flat_;
  const Storage& storage_;
  ProgramKind kind_;
  Partitioned& out_;
  Sizes sizes_;
  std::int64_t micro_batches_;
  Gradients gradients_;
  std::vector<std::optional<BufferId>> buffers_;  // by TensorId, of the section at hand
  BufferId loss_table_{0};
};

}  // namespace

Program build_program(const PartitionInput& input, const Graph& graph, const FlatGraph& flat, const Storage& storage, ProgramKind kind,
                      Partitioned& out) {
  return Builder(input, graph, flat, storage, kind, out).build();
}

}  // namespace dsc::local
