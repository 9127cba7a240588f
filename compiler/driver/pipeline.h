// The whole compiler as one list of passes: a file's text in, a proved plan out (pipeline.cpp reads from top to bottom).
#pragma once

#include <optional>
#include <string>

#include "compiler/plan/plan.h"
#include "compiler/sema/check.h"
#include "compiler/support/diagnostic.h"
#include "compiler/support/result.h"
#include "compiler/support/target.h"

namespace dsc {

// A file and all that checking it found. The texts live here as long as ranges into them are in use.
struct Checked {
  SourceMap sources;
  Diagnostics diagnostics;
  std::optional<CheckedProgram> program;
};

// Reads and checks `path`. An Error where the file cannot be read; mistakes in it are in `diagnostics`.
Result<Checked> check_file(const std::string& path, CheckOptions options);

struct Emit {
  std::string stage;  // the stage whose result is wanted as text; empty: none
  std::string text;   // filled when the stage is reached
};

// Lowers to the plan that trains (and evaluates, where the file does), proved by the verifier and sealed. A layout whose
// ZeRO stage is free gets the lowest stage that fits the target. A check that the verifier fails is a bug in dsc.
Result<Plan> compile(const CheckedProgram& program, const SourceMap& sources, const CheckOptions& options, const Target& target,
                     Emit* emit = nullptr);

// The plan that `dsc sample` runs: one rank, batch 1, the same model.
Result<Plan> compile_sample(const Plan& training_plan, const Target& target);

// Nothing where the plan fits one rank of its target; else DSM0601 with the smallest change that fits.
Status check_fits(const Plan& plan, const CheckedProgram& program, const SourceMap& sources, const CheckOptions& options);

// The CPU of this machine: kernels' sizes and fingerprint, capacity (cgroup limit or MemTotal, less 1 GiB) / ranks.
Target machine_target(std::int64_t ranks);

}  // namespace dsc
