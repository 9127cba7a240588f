#include "tests/mutation/campaign.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>

namespace dsc::testing {

void Campaign::run(const std::string& name, const Plan& plan, int every, int start) {
  VerifyReport valid = verify(plan);
  ASSERT_TRUE(valid.ok()) << name << ": false alarm: " << name_of(valid.errors.front().kind) << ": " << str(valid.errors.front(), plan);
  Plan mutated = plan;
  for (const Mutator& mutator : mutators()) {
    Tally& tally = tallies_[mutator.name];
    int shown = 0, index = 0;
    for (const Place& place : mutator.candidates(plan)) {
      if (!mutator.applies(plan, place)) {
        ++tally.not_applicable;
        continue;
      }
      if ((index++ + start) % every != 0) continue;
      mutated.buffers = plan.buffers;
      mutated.programs = plan.programs;
      mutated.memory = plan.memory;
      mutator.apply(mutated, place);
      ++tally.tried;
      auto found = [&](const VerifyReport& report) {
        return std::any_of(report.errors.begin(), report.errors.end(), [&](const VerifyError& error) {
          return std::count(mutator.expected.begin(), mutator.expected.end(), error.kind) > 0;
        });
      };
      VerifyReport report = verify(mutated, found);
      if (found(report)) continue;
      ++tally.missed;
      if (shown++ >= 3) continue;
      const Section& section = plan.programs[place.program].sections[place.section];
      std::string where = plan.programs[place.program].name + "/" + section.name;
      if (place.instruction < static_cast<int>(section.instructions.size())) where += "/" + std::to_string(place.instruction) + " " + section.instructions[place.instruction].name;
      std::string others;
      for (const VerifyError& error : report.errors) others += std::string(" ") + name_of(error.kind);
      ADD_FAILURE() << name << ": `" << mutator.name << "` at " << where << " (" << place.k << ", " << place.other << ") is not found; reported:" << others;
    }
  }
}

std::string Campaign::table() const {
  std::string text;
  char line[160];
  for (const Mutator& mutator : mutators()) {
    auto it = tallies_.find(mutator.name);
    if (it == tallies_.end()) continue;
    std::snprintf(line, sizeof line, "%-46s %7lld tried %7lld not applicable\n", mutator.name.c_str(), static_cast<long long>(it->second.tried), static_cast<long long>(it->second.not_applicable));
    text += line;
  }
  return text;
}

}  // namespace dsc::testing
