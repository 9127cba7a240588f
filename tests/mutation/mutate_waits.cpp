// Mutations of what instructions wait for.
#include <algorithm>
#include <set>

#include "tests/mutation/places.h"

namespace dsc::testing {

std::vector<Mutator> wait_mutators() {
  std::vector<Mutator> list;
  list.push_back({"dropped wait", "without the wait two instructions touch a byte that one writes, unordered", {K::race},
                  instructions([](const Instruction& i) { return static_cast<int>(i.waits.size()); }),
                  [](const Plan& plan, const Place& at) {
                    Section section = section_of(plan, at);
                    auto& waits = section.instructions[at.instruction].waits;
                    waits.erase(waits.begin() + at.k);
                    return has_race(plan, section);
                  },
                  [](Plan& plan, const Place& at) { auto& waits = instruction_of(plan, at).waits; waits.erase(waits.begin() + at.k); }});
  list.push_back({"redundant wait", "the earlier instruction, of another engine, has ended anyhow", {K::redundant_wait},
                  [](const Plan& plan) {
                    std::vector<Place> places;
                    for (Place at : everywhere(plan, [](const Instruction&) { return 1; }))
                      for (int back : {1, 2, 3, 5, 8})
                        if (at.instruction - back >= 0) places.push_back({at.program, at.section, at.instruction, at.instruction - back, 0});
                    return places;
                  },
                  [](const Plan& plan, const Place& at) {
                    const Section& section = section_of(plan, at);
                    const auto& waits = section.instructions[at.instruction].waits;
                    if (section.instructions[at.k].engine == section.instructions[at.instruction].engine || std::count(waits.begin(), waits.end(), at.k)) return false;
                    // Ordered naively: reachable through the engine's predecessor or a wait.
                    std::set<int> reached;
                    std::vector<int> frontier = {at.instruction};
                    while (!frontier.empty()) {
                      int i = frontier.back();
                      frontier.pop_back();
                      auto reach = [&](int j) { if (reached.insert(j).second) frontier.push_back(j); };
                      for (int wait : section.instructions[i].waits) reach(wait);
                      for (int j = i - 1; j >= 0; --j)
                        if (section.instructions[j].engine == section.instructions[i].engine) { reach(j); break; }
                    }
                    return reached.count(at.k) > 0;
                  },
                  [](Plan& plan, const Place& at) {
                    auto& waits = instruction_of(plan, at).waits;
                    waits.push_back(at.k);
                    std::sort(waits.begin(), waits.end());
                  }});
  list.push_back({"wait in a circle", "the later instruction is after this one on its engine's order or another waits for this one", {K::bad_wait, K::collective_deadlock},
                  adjacent,
                  [](const Plan& plan, const Place& at) {
                    const Section& section = section_of(plan, at);
                    const Instruction& next = section.instructions[at.instruction + 1];
                    return std::count(next.waits.begin(), next.waits.end(), at.instruction) > 0;
                  },
                  [](Plan& plan, const Place& at) { instruction_of(plan, at).waits.push_back(at.instruction + 1); }});
  return list;
}

}  // namespace dsc::testing
