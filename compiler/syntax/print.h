// A syntax tree as short, stable text, one item a line: what `dsc plan --emit ast` prints. Expressions are written back
// in full parentheses, so that the reader sees how they were grouped.
#pragma once

#include <string>

#include "compiler/syntax/ast.h"

namespace dsc::syntax {

std::string print(const File& file);
// One expression, on one line, without redundant spaces: also used in messages.
std::string print(const Expr& expr);

}  // namespace dsc::syntax
