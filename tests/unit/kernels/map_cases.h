// Seeded random map programs for the tests of maps and of product epilogues.
#pragma once

#include "tests/unit/kernels/harness.h"

namespace dsc::test {

// Strides of a tensor over the dims that `varies` marks, in a random order of storage; *elements is its size.
std::vector<std::int64_t> random_strides(Random& random, const std::vector<std::int64_t>& sizes, const std::vector<bool>& varies,
                                         bool keep_order, std::int64_t* elements);

class ProgramMaker {
 public:
  ProgramMaker(Random& random, MapProgram& program) : random_(random), program_(program) {}
  int load(int slot, bool exact) { return emit(MapOpcode::load, -1, -1, -1, slot, exact); }
  int constant(double value);
  int position(int dim) { return emit(MapOpcode::position, -1, -1, -1, dim, true); }
  // A few random operations on what there is. `inner`: reductions along the inner dims too. All results stay moderate.
  void grow(int operations, bool inner);
  void store(int reg, int slot) { emit(MapOpcode::store, reg, -1, -1, slot, false); }
  void reduce(int reg, int slot, bool maximum) { emit(maximum ? MapOpcode::reduce_max : MapOpcode::reduce_sum, reg, -1, -1, slot, false); }
  int any() { return static_cast<int>(random_.below(program_.registers)); }
  int last() const { return program_.registers - 1; }
  bool exact(int reg) const { return exact_[static_cast<std::size_t>(reg)]; }  // the reference has the same bits

 private:
  int emit(MapOpcode op, int a, int b, int c, int slot, bool exact, DType type = DType::f32);
  int bounded(int reg);  // in [-1, 1]
  Random& random_;
  MapProgram& program_;
  std::vector<bool> exact_;
};

}  // namespace dsc::test
