// A kernel's spec in, what it touches out: for every operand its type and the elements it covers. The verifier's own table,
// also used to refuse malformed specs when a plan is loaded. Internal to compiler/plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"

namespace dsc {

struct OperandExtent {
  const char* name = "";
  DType type = DType::f32;
  std::int64_t begin = 0, end = 0;  // elements touched lie in [begin, end); equal: none
  bool dense = true;                // an output: every element of [begin, end) is written
  bool reads = false;               // an output that is read too (accumulated, updated in place)
  bool state = false;               // the state block: bytes, not elements of `type`
};

struct SpecOperands {
  std::vector<OperandExtent> inputs, outputs;
  std::string problem;  // not empty: the spec is malformed, and the rest means nothing
};

// `optimizer` decides how many moments an update has.
SpecOperands operands_of(const KernelSpec& spec, OptimizerKind optimizer);

}  // namespace dsc
