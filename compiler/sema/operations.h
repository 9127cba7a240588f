// The core operations in one table: names, arguments, and what each does to axes, rounding, types. The checker matches
// calls with it, and the language reference is made from it.
#pragma once

#include <string_view>
#include <vector>

#include "compiler/sema/arguments.h"
#include "compiler/support/model.h"

namespace dsc::sema {

enum class OperationClass { pointwise, reduction, other };

struct Operation {
  const char* name;
  OperationClass group;   // functions hold pointwise operations and reductions alone
  OpKind kind;            // what it becomes (softmax becomes several)
  std::vector<ArgumentSpec> arguments;
  const char* axes;       // the rule for axes, in a sentence
  const char* gradient;   // what its backward pass computes
  const char* sharding;   // which of its axes may be split, and what that costs
  const char* cost;       // per element of the result, or in full
};

const std::vector<Operation>& operations();
const Operation* operation_named(std::string_view name);

}  // namespace dsc::sema
