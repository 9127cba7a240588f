#include "compiler/schedule/waits.h"

#include <algorithm>

namespace dsc::local {

std::vector<Access> accesses_of(const Instruction& instruction) {
  std::vector<Access> accesses;
  for (const Use& use : instruction.inputs) accesses.push_back({use.buffer, false});
  for (const Use& use : instruction.outputs) accesses.push_back({use.buffer, true});
  if (instruction.workspace) accesses.push_back({instruction.workspace->buffer, true});
  if (const Collective* collective = std::get_if<Collective>(&instruction.op)) {
    for (const CollectivePart& part : collective->parts) {
      accesses.push_back({part.from.buffer, false});
      accesses.push_back({part.to.buffer, true});
    }
  }
  return accesses;
}

std::vector<int> WaitReducer::add(Engine engine, const std::array<int, kEngines>& required) {
  const int own = static_cast<int>(engine), index = static_cast<int>(ended_.size());
  std::array<int, kEngines> known = {-1, -1, -1};
  if (last_[own] >= 0) known = ended_[last_[own]];
  std::vector<int> candidates;
  for (int e = 0; e < kEngines; ++e) {
    if (e != own && required[e] > known[e]) candidates.push_back(required[e]);
  }
  std::vector<int> waits;
  for (int candidate : candidates) {
    const bool implied = std::any_of(candidates.begin(), candidates.end(), [&](int other) {
      if (other == candidate) return false;
      for (int e = 0; e < kEngines; ++e) {
        if (required[e] == candidate && ended_[other][e] >= candidate) return true;
      }
      return false;
    });
    if (!implied) waits.push_back(candidate);
  }
  for (int wait : waits) {
    for (int e = 0; e < kEngines; ++e) known[e] = std::max(known[e], ended_[wait][e]);
  }
  known[own] = index;
  ended_.push_back(known);
  last_[own] = index;
  std::sort(waits.begin(), waits.end());
  return waits;
}

}  // namespace dsc::local
