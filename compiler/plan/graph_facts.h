// The verifier's own reading of the contract's forward graph: what must be computed, what needs a gradient, which operands
// each operation's gradient reads, which uses make up each parameter's gradient. Internal to compiler/plan.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "compiler/plan/contract.h"

namespace dsc::verifying {

struct OperandOf {
  int op = 0, operand = 0;  // operand `operand` of `op`
  friend auto operator<=>(const OperandOf&, const OperandOf&) = default;
};

struct Site {
  OperandOf use;
  int segment = 0;
};

struct GraphFacts {
  std::vector<bool> needed;                    // an ancestor of the result, itself included
  std::vector<bool> differentiated;            // needs a gradient
  std::vector<int> same_value;                 // the first op of the identities and renamings that lead here
  std::vector<std::vector<OperandOf>> users;   // by op: differentiated uses of it, of needed ops
  std::vector<double> loss_factor;             // by op of type loss: the derivative of the model's loss by it
  std::vector<std::vector<Site>> sites;        // by ParameterId
  std::vector<std::vector<int>> segments;      // by ParameterId, ascending
  std::vector<int> parameter_op;               // by ParameterId, -1: unused
  std::vector<int> column;                     // by ParameterId: place among those with a gradient, -1: none
  int columns = 0;
  bool reads_tokens = false, reads_targets = false;
};

// `result` is Model::loss where `gradients`, or in evaluate, else Model::logits.
GraphFacts graph_facts(const Model& model, OpId result, bool gradients);

bool is_view(OpKind kind);      // moves nothing: rename .. concat, stop_gradient, round
bool is_identity(OpKind kind);  // the same elements in the same order
bool is_differentiable(const Model& model, const Op& op, std::size_t operand);

// What the contribution of op's gradient to that of `operand` reads beside the gradient: any one of each inner list.
std::vector<std::vector<OpId>> gradient_reads(const Op& op, OpId self, std::size_t operand);
// Whether that contribution is the gradient itself, read through another view or scaled by a constant of the loss.
bool gradient_moves_nothing(const Model& model, const Op& op, std::size_t operand);

}  // namespace dsc::verifying
