// Ways to make a valid plan wrong. Each says under which condition its result is wrong (and is applied only there), and
// which errors the verifier must then report, at least one of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/plan/verify.h"

namespace dsc::testing {

// Where a mutator is applied; what the fields mean beyond the instruction is the mutator's own affair.
struct Place {
  int program = 0, section = 0, instruction = 0;
  int k = 0, other = 0;
};

struct Mutator {
  std::string name;
  std::string condition;                 // under which the mutated plan is wrong
  std::vector<VerifyErrorKind> expected;
  std::function<std::vector<Place>(const Plan&)> candidates;
  std::function<bool(const Plan&, const Place&)> applies;  // the condition
  std::function<void(Plan&, const Place&)> apply;
};

const std::vector<Mutator>& mutators();

// By what they break; each in a file of its own, mutate_*.cpp.
std::vector<Mutator> wait_mutators();
std::vector<Mutator> collective_mutators();
std::vector<Mutator> memory_mutators();
std::vector<Mutator> gradient_mutators();
std::vector<Mutator> step_mutators();
std::vector<Mutator> graph_mutators();

}  // namespace dsc::testing
