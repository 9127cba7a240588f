#include "compiler/plan/verify.h"

#include <iterator>

#include "compiler/plan/plan_limits.h"
#include "compiler/plan/verify_context.h"

namespace dsc {
namespace {

constexpr const char* kKinds[] = {
    "buffer_outside_arena", "buffer_size", "buffer_class", "buffer_alignment", "use_outside_buffer", "operand_count", "operand_size", "operand_type",
    "bad_spec", "workspace_size", "wrong_engine", "memory_summary", "bad_section", "bad_wait",
    "read_before_write", "overlapping_lifetimes", "operands_overlap", "gathered_not_released",
    "race", "redundant_wait",
    "collective_group", "collective_count", "collective_type", "collective_shape", "collective_deadlock", "wrong_wire",
    "not_performed", "performed_twice", "performed_wrongly", "missing_input", "wrong_micro_batch", "wrong_value", "stale_parameter",
    "unfinished_gradient", "unreduced_gradient", "reduced_twice", "wrong_reduction_time", "accumulation", "wrong_scale",
    "wrong_precision", "wrong_piece", "norm_table", "loss_table", "control", "wrong_update", "missing_update", "wrong_decay",
    "read_batch"};
static_assert(std::size(kKinds) == static_cast<std::size_t>(VerifyErrorKind::read_batch) + 1);

}  // namespace

namespace verifying {

void Context::fail(VerifyErrorKind kind, At at, std::string message, std::optional<BufferId> buffer) const {
  if (!full()) report.errors.push_back({kind, std::move(message), at.program, at.section, at.instruction, buffer});
}

bool is_persistent(BufferRole role) { return role <= BufferRole::state; }

BufferClass class_of(BufferRole role) {
  switch (role) {
    case BufferRole::parameter: case BufferRole::parameter_piece: return BufferClass::parameters;
    case BufferRole::master: case BufferRole::master_piece: case BufferRole::moment1: case BufferRole::moment2:
    case BufferRole::moment1_piece: case BufferRole::moment2_piece: return BufferClass::optimizer;
    case BufferRole::gathered: return BufferClass::gathered;
    case BufferRole::gradient: case BufferRole::gradient_piece: return BufferClass::gradients;
    case BufferRole::value: case BufferRole::value_gradient: case BufferRole::contribution: case BufferRole::statistics:
    case BufferRole::loss: return BufferClass::activations;
    case BufferRole::state: case BufferRole::tokens: case BufferRole::targets: case BufferRole::norm_table: case BufferRole::loss_table:
    case BufferRole::workspace: return BufferClass::workspace;
  }
  return BufferClass::workspace;
}

bool is_result(const Context& context, const Program& program, const Buffer& buffer) {
  if (program.name == "evaluate") return buffer.role == BufferRole::loss_table;
  return program.name == "sample" && buffer.role == BufferRole::value && buffer.op && buffer.op == context.model.logits;
}

}  // namespace verifying

VerifyReport verify(const Plan& plan) {
  return verify(plan, [](const VerifyReport&) { return false; });
}

VerifyReport verify(const Plan& plan, const std::function<bool(const VerifyReport&)>& enough) {
  VerifyReport report;
  if (std::string problem = limits_problem(plan); !problem.empty()) {
    report.errors.push_back({VerifyErrorKind::bad_spec, problem, -1, -1, -1, std::nullopt});
    return report;
  }
  verifying::Context context{plan, report, plan.contract, plan.contract.model, plan.contract.layout.data_ranks(),
                             plan.contract.micro_batches(), {}};
  if (plan.contract.train.batch % (context.ranks * plan.contract.layout.micro_batch) != 0)
    context.fail(VerifyErrorKind::bad_section, {}, "batch " + std::to_string(plan.contract.train.batch) + " is no multiple of " +
                                                       std::to_string(context.ranks) + " ranks x micro-batch " +
                                                       std::to_string(plan.contract.layout.micro_batch));
  for (auto part : {verifying::check_structure, verifying::check_memory_use, verifying::check_order, verifying::check_collectives,
                    verifying::check_meaning}) {
    part(context);
    if (enough(report)) break;
  }
  return report;
}

const char* name_of(VerifyErrorKind kind) {
  auto index = static_cast<std::size_t>(kind);
  return index < std::size(kKinds) ? kKinds[index] : "unknown";
}

std::string str(const VerifyError& error, const Plan& plan) {
  std::string s;
  if (error.program >= 0 && static_cast<std::size_t>(error.program) < plan.programs.size()) {
    const Program& program = plan.programs[error.program];
    s += program.name;
    if (error.section >= 0 && static_cast<std::size_t>(error.section) < program.sections.size()) {
      const Section& section = program.sections[error.section];
      s += ", section " + section.name;
      if (error.instruction >= 0 && static_cast<std::size_t>(error.instruction) < section.instructions.size())
        s += ", instruction " + std::to_string(error.instruction) + " (" + section.instructions[error.instruction].name + ")";
    }
    s += ": ";
  }
  s += error.message;
  if (error.buffer && error.buffer->index() < plan.buffers.size()) s += " [buffer " + plan.buffers[error.buffer->index()].name + "]";
  return s;
}

}  // namespace dsc
