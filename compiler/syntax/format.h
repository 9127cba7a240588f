// A parsed file in, its text in the standard form out: two spaces of indentation, one item a line, standard spaces
// between tokens, at most one blank line in a row, comments and line breaks inside an item kept. Formatting its own
// output changes nothing.
#pragma once

#include <string>

#include "compiler/support/source.h"
#include "compiler/syntax/ast.h"

namespace dsc::syntax {

std::string format(const File& file, const SourceMap& sources);

}  // namespace dsc::syntax
