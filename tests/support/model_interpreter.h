// What a Model means, op by op and in double: values, and (by rules of its own, none shared with the compiler) gradients
// with the rounding of semantics.md. The whole batch is one micro-batch.
#pragma once

#include <optional>
#include <vector>

#include "tests/support/named_array.h"

namespace dsc::testing {

struct ModelInputs {
  std::vector<Array> parameters;  // by ParameterId
  std::vector<std::int64_t> tokens, targets;  // [batch, seq]
  double seed = 1;
};

// Numbers from a fixed sequence, exact in bf16.
ModelInputs random_inputs(const Model& model, unsigned sequence);

struct ModelValues {
  std::vector<Array> values;                  // by op
  std::vector<std::optional<Array>> gradients; // by op: total, of parameters too (over all segments)
  double loss(const Model& model) const { return values[model.loss.index()].data[0]; }
};

// `activation`: what `round` rounds to.
ModelValues evaluate(const Model& model, const ModelInputs& inputs, DType activation);
void differentiate(const Model& model, const ModelInputs& inputs, DType activation, ModelValues& values);

}  // namespace dsc::testing
