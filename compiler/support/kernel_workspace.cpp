#include "compiler/support/kernel_workspace.h"

#include <algorithm>

#include "compiler/support/kernel_shape.h"

namespace dsc {
namespace {

using std::int64_t;

Workspace make(int64_t shared, int64_t per_slot, int64_t tiles, const Target& target) {
  Workspace workspace;
  workspace.slots = std::min(tiles, target.lanes);
  workspace.shared = align_up(Bytes(shared), target.alignment);
  workspace.per_slot = align_up(Bytes(per_slot), target.alignment);
  return workspace;
}

Workspace make(const RowsShape& shape, const Target& target) { return make(shape.shared_bytes, shape.slot_bytes, shape.tiles, target); }

struct Sizes {
  const Target& target;
  Workspace operator()(const MapSpec& spec) const {
    const MapShape shape = map_shape(spec, target);
    return make(shape.shared_bytes, shape.slot_bytes, std::max(shape.tiles, shape.fold_tiles), target);
  }
  Workspace operator()(const ProductSpec& spec) const {
    const ProductShape shape = product_shape(spec, target, true);
    return make(shape.shared_bytes, shape.slot_bytes, std::max(shape.tiles, shape.pack_tiles), target);
  }
  Workspace operator()(const AttendForwardSpec& spec) const {
    const AttendShape shape = attend_forward_shape(spec.attend, target);
    return make(0, shape.slot_bytes, shape.tiles, target);
  }
  Workspace operator()(const AttendBackwardSpec& spec) const {
    const AttendShape shape = attend_backward_shape(spec.attend, target);
    return make(0, shape.slot_bytes, shape.tiles, target);
  }
  Workspace operator()(const LookupSpec& spec) const { return make(lookup_shape(spec), target); }
  Workspace operator()(const LookupBackwardSpec& spec) const { return make(lookup_backward_shape(spec, target), target); }
  Workspace operator()(const CrossEntropySpec& spec) const { return make(cross_entropy_shape(spec, target), target); }
  Workspace operator()(const ClassifierSpec& spec) const {
    const ClassifierShape shape = classifier_shape(spec, target);
    return make(shape.shared_bytes, shape.slot_bytes, shape.largest_phase, target);
  }
  Workspace operator()(const RotateSpec& spec) const { return make(rotate_shape(spec, target), target); }
  Workspace operator()(const ReadBatchSpec&) const { return make(0, 0, 1, target); }
  Workspace operator()(const BeginStepSpec&) const { return make(0, 0, 1, target); }
  Workspace operator()(const SquareSumSpec& spec) const { return make(square_sum_shape(spec), target); }
  Workspace operator()(const AddLossSpec&) const { return make(0, 0, 1, target); }
  Workspace operator()(const ControlSpec&) const { return make(0, 0, 1, target); }
  Workspace operator()(const UpdateSpec& spec) const { return make(update_shape(spec), target); }
};

}  // namespace

Workspace workspace_of(const KernelSpec& spec, const Target& target) { return std::visit(Sizes{target}, spec); }

std::int64_t classifier_rows_per_chunk(std::int64_t rows, std::int64_t entries, const Target& target) {
  const int64_t row_bytes = (entries + 15) / 16 * 64;
  const int64_t fit = std::clamp<int64_t>(target.chunk.value / row_bytes, 1, rows);
  // Chunks of one size, but for what makes them whole vectors.
  const int64_t chunks = (rows + fit - 1) / fit, even = (rows + chunks - 1) / chunks;
  return std::min(fit, (even + 15) / 16 * 16);
}

}  // namespace dsc
