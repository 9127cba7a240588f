// One kernel a spec, and what a spec costs.
#include <algorithm>

#include "compiler/support/check.h"
#include "compiler/support/diagnostic_codes.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/kernels.h"
#include "kernels/ops.h"

namespace dsc {
namespace {

struct Maker {
  const Bindings& bindings;
  const Target& target;
  using Ptr = std::unique_ptr<Kernel>;
  Ptr operator()(const MapSpec& spec) const { return cpu::make_map(spec, bindings, target); }
  Ptr operator()(const ProductSpec& spec) const { return cpu::make_product(spec, bindings, target); }
  Ptr operator()(const AttendForwardSpec& spec) const { return cpu::make_attend_forward(spec, bindings, target); }
  Ptr operator()(const AttendBackwardSpec& spec) const { return cpu::make_attend_backward(spec, bindings, target); }
  Ptr operator()(const LookupSpec& spec) const { return cpu::make_lookup(spec, bindings, target); }
  Ptr operator()(const LookupBackwardSpec& spec) const { return cpu::make_lookup_backward(spec, bindings, target); }
  Ptr operator()(const CrossEntropySpec& spec) const { return cpu::make_cross_entropy(spec, bindings, target); }
  Ptr operator()(const ClassifierSpec& spec) const { return cpu::make_classifier(spec, bindings, target); }
  Ptr operator()(const RotateSpec& spec) const { return cpu::make_rotate(spec, bindings, target); }
  Ptr operator()(const ReadBatchSpec&) const { return nullptr; }
  Ptr operator()(const BeginStepSpec& spec) const { return cpu::make_begin_step(spec, bindings, target); }
  Ptr operator()(const SquareSumSpec& spec) const { return cpu::make_square_sum(spec, bindings, target); }
  Ptr operator()(const AddLossSpec& spec) const { return cpu::make_add_loss(spec, bindings, target); }
  Ptr operator()(const ControlSpec& spec) const { return cpu::make_control(spec, bindings, target); }
  Ptr operator()(const UpdateSpec& spec) const { return cpu::make_update(spec, bindings, target); }
};

// Pairs of a query and a key that it sees, counting half for the causal triangle.
double pairs_of(const AttendSpec& spec) {
  const double length = static_cast<double>(spec.length), window = static_cast<double>(std::min(spec.window, spec.length));
  switch (spec.mask) {
    case Mask::causal: return length * length / 2;
    case Mask::full: return length * length;
    case Mask::window: return window * length - window * window / 2;
  }
  return 0;
}

double batches_of(const AttendSpec& spec) {
  double batches = 1;
  for (const AttendDim& dim : spec.batch) batches *= static_cast<double>(dim.size);
  return batches;
}

struct Flops {
  double operator()(const ProductSpec& spec) const {
    double batches = 1;
    for (const ProductDim& dim : spec.batch) batches *= static_cast<double>(dim.size);
    return 2.0 * batches * static_cast<double>(spec.m) * static_cast<double>(spec.n) * static_cast<double>(spec.k);
  }
  double operator()(const AttendForwardSpec& spec) const {
    return 2.0 * batches_of(spec.attend) * pairs_of(spec.attend) * static_cast<double>(spec.attend.qk_size + spec.attend.v_size);
  }
  double operator()(const AttendBackwardSpec& spec) const {
    return 2.0 * batches_of(spec.attend) * pairs_of(spec.attend) * static_cast<double>(3 * spec.attend.qk_size + 2 * spec.attend.v_size);
  }
  double operator()(const ClassifierSpec& spec) const {
    return (spec.backward ? 6.0 : 2.0) * static_cast<double>(spec.rows) * static_cast<double>(spec.entries) * static_cast<double>(spec.width);
  }
  template <class Other>
  double operator()(const Other&) const { return 0; }
};

}  // namespace

Result<std::unique_ptr<Kernel>> prepare(const KernelSpec& spec, const Bindings& bindings, const Target& target) {
  DSC_CHECK(!std::holds_alternative<ReadBatchSpec>(spec), "read_batch is not a compute kernel");
  try {
    return std::visit(Maker{bindings, target}, spec);
  } catch (const cpu::NoExecutableMemory&) {
    return Error{str(Code::memory_not_mapped), "cannot map memory for generated code: the system refuses it, or that it be executed",
                 "free memory, raise its limit (`ulimit -v`), or allow this program executable memory"};
  }
}

double flops_of(const KernelSpec& spec) { return std::visit(Flops{}, spec); }

}  // namespace dsc
