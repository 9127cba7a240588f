#include "tests/mutation/mutators.h"

namespace dsc::testing {

const std::vector<Mutator>& mutators() {
  static const std::vector<Mutator> all = [] {
    std::vector<Mutator> list;
    for (auto part : {wait_mutators(), collective_mutators(), memory_mutators(), gradient_mutators(), step_mutators(), graph_mutators()}) list.insert(list.end(), part.begin(), part.end());
    return list;
  }();
  return all;
}

}  // namespace dsc::testing
