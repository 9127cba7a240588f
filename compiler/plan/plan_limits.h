// What must hold of a plan before anything may index it or do arithmetic on it: ids point somewhere, counts and sizes are
// in range, no product of sizes overflows, kernel specs are well-formed. Internal to compiler/plan.
#pragma once

#include <string>

#include "compiler/plan/plan.h"

namespace dsc {

// The first thing that does not hold ("contract.model.ops[3] has operand o7, which is not before it"), or "".
std::string limits_problem(const Plan& plan);

// Extends "contract.model" to "contract.model.ops", or, without a name, "contract.model.ops" to "contract.model.ops[3]".
void append_place(std::string& path, const char* name, std::size_t index);

}  // namespace dsc
