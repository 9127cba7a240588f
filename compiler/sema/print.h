// A checked program as short, stable text: axes, parameters, ops one a line, exports, data, train, layout. What
// `dsc plan --emit model` prints, and what goldens hold.
#pragma once

#include <string>

#include "compiler/sema/check.h"

namespace dsc {

std::string print(const CheckedProgram& program);
// The model alone.
std::string print(const Model& model);

}  // namespace dsc
