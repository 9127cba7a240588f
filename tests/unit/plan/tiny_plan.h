// Small plans made by hand, for tests of the plan folder that must not depend on the lowering: a token embedding with a
// bias and a tied classifier, any ZeRO stage, any number of micro-batches, buffers apart from each other, one total order.
#pragma once

#include "compiler/plan/plan.h"

namespace dsc::testing {

struct TinyOptions {
  std::int64_t ranks = 1, micro_batches = 1;
  int zero = 0;
  Reduce reduce = Reduce::once;
  DType activation = DType::f32;
  OptimizerKind optimizer = OptimizerKind::adamw;
  bool wire_bf16 = false;
};

Plan tiny_plan(const TinyOptions& options);
std::string str(const TinyOptions& options);
// Every combination worth checking.
std::vector<TinyOptions> tiny_grid();
// A step that is only `begin step`, control and whatever; for tests of waits: see interleaving_test.cpp.
void settle(Plan& plan);  // arena, summary, hash, from buffers and lifetimes

}  // namespace dsc::testing
