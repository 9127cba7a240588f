// A plan as short stable text, for `--emit plan` and goldens: memory, buffers, then programs with one instruction a line.
#pragma once

#include <string>

#include "compiler/plan/plan.h"

namespace dsc {

std::string print(const Plan& plan);
// "[2] compute product block[0].attn.q: b3 b4 -> b7 waits 1 performs forward o12"
std::string print(const Instruction& instruction, const Plan& plan);

}  // namespace dsc
