// The machine that a plan is for, as numbers: what the stages need to know without seeing a kernel.
#pragma once

#include <cstdint>
#include <string>

#include "compiler/support/units.h"

namespace dsc {

struct Target {
  std::string name;         // "cpu", "h100", ...; "reference" in goldens
  std::string fingerprint;  // library versions and instruction set; empty for a named device
  Bytes alignment{64};      // of every buffer in the arena
  Bytes page{4096};         // arenas are mapped in whole pages
  Bytes capacity{0};        // device arena of one rank; 0: unlimited
  std::int64_t lanes = 4;   // tile slots an instruction may use at once; a fixed number, not the core count
  std::int64_t tile_m = 64, tile_n = 64;  // product tiles over result rows and columns
  std::int64_t block_k = 256;             // contraction per batch-reduce block
  bool bf16_products = false;  // else 16-bit operands are widened into planned scratch
  bool bf16x3 = false;         // f32 is multiplied in three terms of bf16
  std::int64_t vector = 16;    // f32 per vector register
  bool slow_columns = false;   // products read a transposed operand slower than a copy of it by rows
  Bytes chunk{4 << 20};        // the largest workspace that a chunked operation (classifier) aims at
};

// The fixed target of goldens and of tests that must not depend on the machine.
Target reference_target();
// "cpu" (16 GiB a rank), "h100", "h200", "a100", from a committed table; std::nullopt-like empty name where unknown.
Target named_target(const std::string& name);

}  // namespace dsc
