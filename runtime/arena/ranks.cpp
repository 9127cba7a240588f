#include "runtime/arena/ranks.h"

namespace dsc {

std::vector<std::int64_t> coordinates(const LayoutSpec& layout, std::int64_t rank) {
  std::vector<std::int64_t> at(layout.mesh.size());
  for (std::size_t axis = layout.mesh.size(); axis-- > 0;) {
    at[axis] = rank % layout.mesh[axis].size;
    rank /= layout.mesh[axis].size;
  }
  return at;
}

std::int64_t data_rank(const LayoutSpec& layout, std::int64_t rank) {
  const std::vector<std::int64_t> at = coordinates(layout, rank);
  std::int64_t index = 0;
  for (int axis : layout.batch_axes) index = index * layout.mesh[axis].size + at[axis];
  return index;
}

std::vector<std::int64_t> group_of(const LayoutSpec& layout, const std::vector<int>& mesh_axes, std::int64_t rank) {
  std::vector<std::int64_t> at = coordinates(layout, rank);
  std::int64_t count = 1;
  for (int axis : mesh_axes) count *= layout.mesh[axis].size;
  std::vector<std::int64_t> members;
  for (std::int64_t member = 0; member < count; ++member) {
    std::int64_t rest = member;
    for (std::size_t i = mesh_axes.size(); i-- > 0;) {
      at[mesh_axes[i]] = rest % layout.mesh[mesh_axes[i]].size;
      rest /= layout.mesh[mesh_axes[i]].size;
    }
    std::int64_t number = 0;
    for (std::size_t axis = 0; axis < at.size(); ++axis) number = number * layout.mesh[axis].size + at[axis];
    members.push_back(number);
  }
  return members;
}

}  // namespace dsc
