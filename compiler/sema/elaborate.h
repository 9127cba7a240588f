// A program of instances in, the forward graph of its model out: bodies expanded, repeats unrolled, the places where
// values are rounded explicit (model.h). Reports mistakes in bodies; the ops are complete only where there were none.
#pragma once

#include "compiler/sema/program.h"

namespace dsc::sema {

// The forward of the model, instance 0: ops, scopes, loss, logits, vocabulary. Ops that do not reach the loss are gone.
void elaborate_model(Program& program, SourceRange model_call);
// The forward of instance 0 with made-up inputs, to check a module by itself.
void elaborate_alone(Program& program);
// The same for a function.
void elaborate_alone(Program& program, const syntax::Function& function, std::size_t file);

}  // namespace dsc::sema
