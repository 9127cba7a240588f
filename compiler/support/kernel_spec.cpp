#include "compiler/support/kernel_spec.h"

namespace dsc {

const char* name_of(const KernelSpec& spec) {
  static constexpr const char* names[] = {"map", "product", "attend_forward", "attend_backward", "lookup", "lookup_backward",
                                          "cross_entropy", "classifier", "rotate", "read_batch", "begin_step", "square_sum",
                                          "add_loss", "control", "update"};
  static_assert(std::size(names) == std::variant_size_v<KernelSpec>);
  return names[spec.index()];
}

}  // namespace dsc
