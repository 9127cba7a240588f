// A kernel spec and the places of its operands in, a prepared kernel out. A kernel is cut into phases of tiles: the tiles
// of one phase may run at the same time on any threads, a phase begins when the one before it has ended. run() neither
// allocates nor locks, and the bits it writes depend on spec and target alone: not on threads, slots or order of tiles.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "compiler/support/kernel_spec.h"
#include "compiler/support/kernel_workspace.h"
#include "compiler/support/result.h"
#include "compiler/support/state_block.h"
#include "compiler/support/target.h"
#include "compiler/support/training.h"

namespace dsc {

class Kernel {
 public:
  virtual ~Kernel() = default;
  int phases() const { return static_cast<int>(tiles_.size()); }
  int tiles(int phase) const { return tiles_[static_cast<std::size_t>(phase)]; }
  // `slot` is below workspace_of(spec, target).slots; two tiles that run at the same time have different slots.
  virtual void run(int phase, int tile, int slot) const = 0;

 protected:
  std::vector<int> tiles_;  // by phase
};

// Addresses of the operands, in the spec's order (an address already points at the operand's first byte: the spec's
// offsets come on top). `workspace` is aligned to target.alignment and holds workspace_of(spec, target).total() bytes.
struct Bindings {
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  void* workspace = nullptr;
  const TrainSpec* train = nullptr;  // begin_step, control, update; outlives the kernel
};

// Everything but read_batch, which is the runtime's own. The only errors are a machine that cannot run the target, and one
// that refuses memory for generated code.
Result<std::unique_ptr<Kernel>> prepare(const KernelSpec& spec, const Bindings& bindings, const Target& target);

// The Target of this machine: formats, tiles, and a fingerprint of library versions and instruction set. Its capacity is
// left at 0: the driver knows how many ranks share the memory.
Target cpu_target();

// Multiplications and additions of the products in one execution; causal attention at half. 0 for the rest.
double flops_of(const KernelSpec& spec);

// The learning rate after `applied` updates, and the state that a run starts from.
double learning_rate(const TrainSpec& train, std::int64_t applied);
StateBlock initial_state(const TrainSpec& train);

}  // namespace dsc
