// Every kernel spec executed slowly and plainly, as its documentation reads: what the fast kernels are compared with.
// Sums and functions are computed in double and rounded to f32 once; plain arithmetic is f32.
#pragma once

#include "compiler/support/kernel_spec.h"
#include "kernels/ops.h"

namespace dsc::reference {

// Bindings as for prepare(); no workspace.
void run(const KernelSpec& spec, const Bindings& bindings);

// Element `index` of an array of `type`, and a value stored there, rounded to nearest even.
double get(const void* base, DType type, std::int64_t index);
void set(void* base, DType type, std::int64_t index, double value);
// value rounded to bf16 or f16 (or f32), as a number.
double rounded(DType type, double value);

}  // namespace dsc::reference
