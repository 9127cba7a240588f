// One function a kernel: spec and operands in, the prepared kernel out. What they share beside ops.h.
#pragma once

#include <memory>

#include "kernels/ops.h"

namespace dsc::cpu {

using KernelPtr = std::unique_ptr<Kernel>;

KernelPtr make_map(const MapSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_product(const ProductSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_attend_forward(const AttendForwardSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_attend_backward(const AttendBackwardSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_lookup(const LookupSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_lookup_backward(const LookupBackwardSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_cross_entropy(const CrossEntropySpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_classifier(const ClassifierSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_rotate(const RotateSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_begin_step(const BeginStepSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_square_sum(const SquareSumSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_add_loss(const AddLossSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_control(const ControlSpec& spec, const Bindings& bindings, const Target& target);
KernelPtr make_update(const UpdateSpec& spec, const Bindings& bindings, const Target& target);

// The workspace's shared part and the scratch of a tile slot.
struct Scratch {
  char* shared = nullptr;
  char* slots = nullptr;
  std::int64_t per_slot = 0;
  Scratch() = default;
  Scratch(const KernelSpec& spec, const Bindings& bindings, const Target& target) {
    const Workspace workspace = workspace_of(spec, target);
    shared = static_cast<char*>(bindings.workspace);
    slots = shared + workspace.shared.value;
    per_slot = workspace.per_slot.value;
  }
  char* slot(int index) const { return slots + index * per_slot; }
};

}  // namespace dsc::cpu
