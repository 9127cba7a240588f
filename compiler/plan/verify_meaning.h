// An abstract value for every buffer, followed through a program: what the bytes mean, not what they are. Internal to
// compiler/plan. verify_meaning.cpp walks, verify_graph.cpp knows the forward graph and its derivative, verify_training.cpp
// what happens to gradients, tables and parameters.
#pragma once

#include <string>
#include <vector>

#include "compiler/plan/graph_facts.h"
#include "compiler/plan/verify_context.h"

namespace dsc::verifying {

enum class Holds : std::uint8_t {
  nothing, value, value_gradient, contribution, statistics, tokens, targets, loss, parameter, gradient, norms, losses,
};

struct Content {
  Holds holds = Holds::nothing;
  std::int64_t micro_batch = 0;   // of what belongs to one; of `parts`
  int op = -1;                    // value, value_gradient, statistics, contribution
  std::vector<OperandOf> parts{};   // contribution: which; gradient: those added for `micro_batch`, while some are missing
  int parameter = -1;             // parameter, gradient
  int version = 0, own_version = 0;  // parameter: updates in this step of all pieces but the rank's own, and of that
  std::int64_t first = 0, end = 0;   // gradient: the sum of these micro-batches, complete
  std::vector<int> segments{};         // gradient: of these segments' uses
  bool reduced = false, piece = false;  // gradient: summed over ranks; this rank's piece alone
  std::vector<std::uint8_t> columns{};    // norms: 1 this rank's row, 2 all rows
  std::int64_t count = 0;               // losses: micro-batches added
  bool gathered = false;                // losses: of all ranks
  friend bool operator==(const Content&, const Content&) = default;
};

// One program being walked.
struct Walk {
  const Context& context;
  const GraphFacts& graph;
  enum class Kind { step, evaluate, sample } kind = Kind::step;
  std::int64_t micro_batches = 1;  // of this program
  Context::At at{};
  std::int64_t m = 0;              // the micro-batch at hand

  std::vector<Content> contents{};        // by BufferId
  std::vector<int> updates{};             // by ParameterId: in this step
  int phase = 0;                        // of the step: 1 begun, 2 controlled
  std::vector<std::int64_t> forward_at{}, total_at{}, read_at{};  // by op; the micro-batch + 1
  std::vector<std::int64_t> total_count{};                    // by op: within that micro-batch
  std::vector<std::int64_t> gradient_at{};                    // by operand_index()
  std::vector<std::int64_t> operand_base{};                   // by op

  // Of the instruction at hand: equal to `serial` where it holds. Values by GraphFacts::same_value.
  std::int64_t serial = 0;
  std::vector<std::int64_t> value_in{}, gradient_in{}, statistics_in{}, lists_value{}, lists_forward{}, lists_total{};  // by op
  std::vector<std::int64_t> part_in{}, lists_gradient{};                                                       // by operand_index()
  std::vector<std::int64_t> parameter_in{};                                                                  // by ParameterId
  std::vector<std::int64_t> value_known{}, gradient_known{};  // by op: 2 * serial + (1 where available)
  bool tokens_in = false, targets_in = false, seed_in = false;

  std::int64_t operand_index(OperandOf use) const { return operand_base[use.op] + use.operand; }
  const Op& op(int index) const { return context.model.ops[index]; }
  void fail(VerifyErrorKind kind, std::string message, std::optional<BufferId> buffer = std::nullopt) const {
    context.fail(kind, at, std::move(message), buffer);
  }
  bool reduced(const Content& content) const { return content.reduced || context.ranks == 1; }
};

// "o12 (block[0].attn.q)".
std::string op_text(const Model& model, int op);

// Elements of `axes` on one rank for one micro-batch.
std::int64_t local_elements(const Context& context, const std::vector<AxisId>& axes);

// A compute instruction that performs parts of the contract's graph, or copies, adds, zeroes.
void walk_compute(Walk& walk, const InstructionFacts& facts);
// One output of such an instruction that is (part of) a parameter's gradient: adds up what goes in.
void write_gradient(Walk& walk, const InstructionFacts& facts, std::size_t output, bool accumulate);

void walk_collective(Walk& walk, const CollectiveSpec& spec);
void walk_read_batch(Walk& walk, const Instruction& instruction, const ReadBatchSpec& spec);
void walk_begin_step(Walk& walk, const Instruction& instruction);
void walk_square_sum(Walk& walk, const Instruction& instruction, const SquareSumSpec& spec);
void walk_add_loss(Walk& walk, const Instruction& instruction, const AddLossSpec& spec);
void walk_control(Walk& walk, const Instruction& instruction, const ControlSpec& spec);
void walk_update(Walk& walk, const Instruction& instruction, const UpdateSpec& spec);
// What must hold of persistent buffers before any program, and of the walk's end.
void check_storage(const Context& context, bool trains);
void check_end(Walk& walk);

}  // namespace dsc::verifying
