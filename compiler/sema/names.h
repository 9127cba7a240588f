// What can be said of a module or function before it is instantiated: one set of names without double or reserved ones,
// one `forward` ending in one `return`, no value that nothing reads.
#pragma once

#include "compiler/support/diagnostic.h"
#include "compiler/syntax/ast.h"

namespace dsc::sema {

void check_names(const syntax::Module& module, Diagnostics& diagnostics);
void check_names(const syntax::Function& function, Diagnostics& diagnostics);
// Whether `name` may name an axis, mesh axis or instance; reports where not.
bool check_not_reserved(const syntax::Name& name, Diagnostics& diagnostics);

}  // namespace dsc::sema
