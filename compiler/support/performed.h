// Which part of the contract's forward graph, or of its derivative, an instruction computes. The lowering writes these
// down; the verifier derives what must be there and checks them.
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
