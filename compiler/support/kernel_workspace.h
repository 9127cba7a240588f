// A kernel's spec and a target in, the memory it needs beside its operands out. One source of truth: the memory stage
// plans these bytes, the kernels carve them up in the same order, the verifier checks them.
#pragma once

#include "compiler/support/kernel_spec.h"
#include "compiler/support/target.h"
#include "compiler/support/units.h"

namespace dsc {

struct Workspace {
  Bytes shared{0};    // live for the whole instruction, seen by all its tiles
  Bytes per_slot{0};  // one for each tile slot; the instruction has min(its largest tile count, target.lanes) slots
  std::int64_t slots = 0;
  Bytes total() const { return shared + per_slot * slots; }
};

Workspace workspace_of(const KernelSpec& spec, const Target& target);

// Rows of logits that one chunk of the classifier holds: as many as fit Target::chunk, at least 1, a multiple of tile_m
// where it can be, at most `rows`.
std::int64_t classifier_rows_per_chunk(std::int64_t rows, std::int64_t entries, const Target& target);

}  // namespace dsc
