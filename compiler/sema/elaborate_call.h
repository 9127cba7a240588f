// One call of a core operation, its arguments matched. Only for the sources elaborate*.cpp.
#pragma once

#include "compiler/sema/elaborator.h"

namespace dsc::sema {

struct Elaborator::Call {
  const Operation& operation;
  const syntax::Expr& expr;
  std::vector<const syntax::Expr*> args;  // in the order of operation.arguments; null where not given
  Frame& frame;
};

}  // namespace dsc::sema
