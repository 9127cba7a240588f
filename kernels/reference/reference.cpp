#include "kernels/reference/reference.h"

#include "compiler/support/check.h"
#include "kernels/reference/pieces.h"
#include "kernels/step_rules.h"

namespace dsc::reference {
namespace {

struct Runner {
  const Bindings& bindings;
  void operator()(const MapSpec& spec) const { run_map(spec, bindings); }
  void operator()(const ProductSpec& spec) const { run_product(spec, bindings); }
  void operator()(const AttendForwardSpec& spec) const { run_attend_forward(spec, bindings); }
  void operator()(const AttendBackwardSpec& spec) const { run_attend_backward(spec, bindings); }
  void operator()(const LookupSpec& spec) const { run_lookup(spec, bindings); }
  void operator()(const LookupBackwardSpec& spec) const { run_lookup_backward(spec, bindings); }
  void operator()(const CrossEntropySpec& spec) const { run_cross_entropy(spec, bindings); }
  void operator()(const ClassifierSpec& spec) const { run_classifier(spec, bindings); }
  void operator()(const RotateSpec& spec) const { run_rotate(spec, bindings); }
  void operator()(const ReadBatchSpec&) const { DSC_CHECK(false, "read_batch is not a compute kernel"); }
  void operator()(const BeginStepSpec&) const { begin_attempt(*static_cast<StateBlock*>(bindings.outputs[0]), *bindings.train); }
  void operator()(const SquareSumSpec& spec) const {
    for (std::int64_t piece = 0; piece < spec.pieces; ++piece) {
      long double sum = 0;
      for (std::int64_t i = 0; i < spec.elements; ++i) {
        const double x = get(bindings.inputs[0], DType::f32, piece * spec.elements + i);
        sum += static_cast<long double>(x) * x;
      }
      set(bindings.outputs[0], DType::f64, piece * spec.table_stride + spec.column, static_cast<double>(sum));
    }
  }
  void operator()(const AddLossSpec& spec) const {
    const double loss = get(bindings.inputs[0], DType::f32, 0);
    set(bindings.outputs[0], DType::f64, 0, spec.first ? loss : get(bindings.outputs[0], DType::f64, 0) + loss);
  }
  void operator()(const ControlSpec& spec) const {
    end_attempt(*static_cast<StateBlock*>(bindings.outputs[0]), *bindings.train, spec, static_cast<const double*>(bindings.inputs[0]),
                static_cast<const double*>(bindings.inputs[1]));
  }
  void operator()(const UpdateSpec& spec) const { run_update(spec, bindings); }
};

}  // namespace

void run(const KernelSpec& spec, const Bindings& bindings) { std::visit(Runner{bindings}, spec); }

}  // namespace dsc::reference
