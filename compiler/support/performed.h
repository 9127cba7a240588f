// Which part of the contract's forward graph, or of its derivative, an instruction computes. The lowering writes these
// down; the verifier derives what must be there and checks them.
//
// The rule, the same for every op kind (views, roundings and loss terms are no exception):
// - Needed ops are the ancestors of Model::loss (train, evaluate) or of Model::logits (sample), themselves included.
//   A value is differentiable from its operands but for: less .. not_equal and every integer or boolean value, operand 0
//   of select, stop_gradient, ids of lookup and cross_entropy. A value *needs a gradient* where a parameter reaches it and
//   it reaches the loss along differentiable operands.
// - forward(op): once for every needed op but parameter, tokens, targets, positions and constant.
// - In train, gradient(op, j): once for every needed op that needs a gradient and each differentiable operand j that does.
// - In train, total(op): once for every needed op that needs a gradient, with one contribution or several; for a
//   `parameter` op once per parameter-gradient tensor, that is per segment in which it has use sites that need its
//   gradient. A use site is an op with the `parameter` op as a differentiable operand; its segment is that op's Op::segment.
// - recompute(op): any number of times, on an instruction that computes the op again (from values that are stored at
//   that point); it never replaces forward(op).
// - Place: the instruction whose output holds the result, or is made from it without storing it. What moves nothing
//   (a view, an identity, a sum of one contribution, a factor of the loss) stands on an instruction that computes what
//   it is a view of, or else on the first one that reads through it.
// - Order: no listing stands before the listing of what it is computed from, which are: for forward(op) the forwards of
//   its operands; for total(op) every gradient(user, j) with operand j = op (of the segment, for a parameter);
//   for gradient(op, j) total(op). The same instruction may list both. Within one instruction the list has that order.
#pragma once

#include <cstdint>

#include "compiler/support/ids.h"

namespace dsc {

enum class Pass : std::uint8_t {
  forward,    // the op itself
  recompute,  // the op again, from stored values, inside the backward pass
  gradient,   // the contribution of op's result gradient to the gradient of operand `operand`
  total,      // the sum of all contributions to the gradient of op's value, rounded where it must be
};

struct Performed {
  Pass pass = Pass::forward;
  OpId op{0};
  int operand = 0;  // of `gradient` alone
  friend bool operator==(const Performed&, const Performed&) = default;
};

}  // namespace dsc
