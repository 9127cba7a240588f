// The parser's own tree in, the syntax tree out. The input has no syntax error; what a grammar cannot say (order of
// arguments, formals without a type, names given twice) is reported here. Only for the sources of compiler/syntax.
#pragma once

#include <functional>
#include <optional>
#include <string_view>

#include "DsmParser.h"
#include "compiler/support/diagnostic.h"
#include "compiler/syntax/ast.h"

namespace dsc::syntax {

struct BuildInput {
  std::uint32_t file;
  std::string_view text;
  Diagnostics& diagnostics;
  // Parses bytes [begin, end) of the text as the index in the braces of a stored name.
  std::function<std::optional<Expr>(std::uint32_t begin, std::uint32_t end)> parse_index;
};

// Declarations, and in `tokens` nothing: `item_begins` gets the offsets where items begin, ascending.
File build_file(grammar::DsmParser::FileContext* tree, const BuildInput& input, std::vector<std::uint32_t>& item_begins);
Expr build_value(grammar::DsmParser::ExprContext* tree, const BuildInput& input);
Expr build_index(grammar::DsmParser::SumContext* tree, const BuildInput& input);

}  // namespace dsc::syntax
