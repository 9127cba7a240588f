// Arguments of a call matched with what the callee declares: positional ones first, then by name, each once. The same
// for core operations, functions, modules, forwards and the calls of data and train.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/support/diagnostic.h"
#include "compiler/syntax/ast.h"

namespace dsc::sema {

struct ArgumentSpec {
  std::string name;
  bool required = true;
};

// For each spec the expression given for it, or null; nothing where a mistake was reported. `callee` is for messages.
std::optional<std::vector<const syntax::Expr*>> match_arguments(const syntax::Expr& call, const std::vector<ArgumentSpec>& specs,
                                                                const std::string& callee, Diagnostics& diagnostics);

}  // namespace dsc::sema
