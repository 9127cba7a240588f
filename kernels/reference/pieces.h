// What the files of the reference share.
#pragma once

#include <functional>
#include <vector>

#include "kernels/reference/reference.h"

namespace dsc::reference {

// The loop of a map program; loads come from a function of (slot, index over outer then inner dims).
struct MapLoop {
  std::vector<std::int64_t> outer;
  std::vector<bool> reduced;
  std::vector<std::int64_t> inner;
  MapProgram program;
  std::vector<MapOutput> outputs;
};
void run_loop(const MapLoop& loop, const std::function<double(std::size_t, const std::vector<std::int64_t>&)>& load,
              const std::vector<void*>& outputs);

void run_map(const MapSpec& spec, const Bindings& bindings);
void run_product(const ProductSpec& spec, const Bindings& bindings);
void run_attend_forward(const AttendForwardSpec& spec, const Bindings& bindings);
void run_attend_backward(const AttendBackwardSpec& spec, const Bindings& bindings);
void run_rotate(const RotateSpec& spec, const Bindings& bindings);
void run_lookup(const LookupSpec& spec, const Bindings& bindings);
void run_lookup_backward(const LookupBackwardSpec& spec, const Bindings& bindings);
void run_cross_entropy(const CrossEntropySpec& spec, const Bindings& bindings);
void run_classifier(const ClassifierSpec& spec, const Bindings& bindings);
void run_update(const UpdateSpec& spec, const Bindings& bindings);

}  // namespace dsc::reference
