#include <gtest/gtest.h>

#include "compiler/plan/operands.h"
#include "compiler/plan/verify.h"
#include "tests/unit/plan/tiny_plan.h"

namespace dsc::testing {
namespace {

TEST(Verify, NoFalseAlarmOverTheTinyGrid) {
  for (const TinyOptions& options : tiny_grid()) {
    Plan plan = tiny_plan(options);
    VerifyReport report = verify(plan);
    for (const VerifyError& error : report.errors)
      ADD_FAILURE() << str(options) << ": " << name_of(error.kind) << ": " << str(error, plan);
    if (!report.ok()) break;
    EXPECT_GE(report.instructions, 19);
  }
}

// Kernels walk their operands with indices on the stack.
TEST(Verify, WhatKernelsHaveNoRoomForIsRefused) {
  const auto problem_of = [](const KernelSpec& spec) { return operands_of(spec, OptimizerKind::adamw).problem; };
  RotateSpec rotate{{2, 4}, {4, 1}, 0, 1};
  EXPECT_EQ(problem_of(rotate), "");
  rotate.sizes.insert(rotate.sizes.begin(), max_dims - 1, 1), rotate.x_strides.insert(rotate.x_strides.begin(), max_dims - 1, 0);
  EXPECT_EQ(problem_of(rotate), "more than 12 dims");

  const auto sum_of = [](int inputs) {
    MapSpec map;
    map.inner = {4};
    map.inputs.assign(static_cast<std::size_t>(inputs), {DType::f32, {1}, 0, {}});
    map.outputs = {{DType::f32, {1}, 0, false}};
    map.program.registers = inputs + 1;
    for (int i = 0; i < inputs; ++i) {
      MapInstruction load;
      load.op = MapOpcode::load, load.result = load.slot = i;
      map.program.code.push_back(load);
    }
    MapInstruction store;
    store.op = MapOpcode::store, store.a = 0, store.slot = 0;
    map.program.code.push_back(store);
    return map;
  };
  EXPECT_EQ(problem_of(sum_of(max_operands)), "");
  EXPECT_EQ(problem_of(sum_of(max_operands + 1)), "a program of more than 64 inputs, outputs or positions");
}

}  // namespace
}  // namespace dsc::testing
