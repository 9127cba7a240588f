// The independent verifier: a plan in, the list of what is wrong with it out; empty for a right plan. Shares nothing with
// the stages: it reads the contract and the programs, and proves structure, data, happens-before, communication and meaning
// (each a source file verify_*.cpp). It never trusts the plan: any Plan that from_json accepts may be given.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"

namespace dsc {

enum class VerifyErrorKind : std::uint8_t {
  // structure
  buffer_outside_arena, buffer_size, buffer_class, buffer_alignment, use_outside_buffer, operand_count, operand_size, operand_type, bad_spec,
  workspace_size, wrong_engine, memory_summary, bad_section, bad_wait,
  // data
  read_before_write, overlapping_lifetimes, operands_overlap, gathered_not_released,
  // happens-before
  race, redundant_wait,
  // communication
  collective_group, collective_count, collective_type, collective_shape, collective_deadlock, wrong_wire,
  // meaning
  not_performed, performed_twice, performed_wrongly, missing_input, wrong_micro_batch, wrong_value, stale_parameter,
  unfinished_gradient, unreduced_gradient, reduced_twice, wrong_reduction_time, accumulation, wrong_scale,
  wrong_precision, wrong_piece, norm_table, loss_table, control, wrong_update, missing_update, wrong_decay, read_batch,
};

struct VerifyError {
  VerifyErrorKind kind;
  std::string message;  // what is wrong, with names and numbers
  int program = -1, section = -1, instruction = -1;  // indices; -1: not at one place
  std::optional<BufferId> buffer;
};

struct VerifyReport {
  std::vector<VerifyError> errors;  // at most kMaxErrors
  std::int64_t instructions = 0;    // looked at
  Bytes lower_bound{0}, peak{0};    // recomputed
  bool ok() const { return errors.empty(); }
};

inline constexpr std::size_t kMaxVerifyErrors = 200;

VerifyReport verify(const Plan& plan);
// The same part by part, stopping behind the first after which `enough` holds.
VerifyReport verify(const Plan& plan, const std::function<bool(const VerifyReport&)>& enough);

// "redundant_wait".
const char* name_of(VerifyErrorKind kind);
// "step, section last, instruction 12 (reduce block[0]): ..." one line.
std::string str(const VerifyError& error, const Plan& plan);

}  // namespace dsc
