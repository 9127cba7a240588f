// Applies mutators to a plan at every place where they apply and checks that the verifier reports an expected error.
#pragma once

#include <map>
#include <string>

#include "tests/mutation/mutators.h"

namespace dsc::testing {

struct Tally { std::int64_t tried = 0, not_applicable = 0, missed = 0; };

class Campaign {
 public:
  // `every`: of a mutator's places in this plan only every n-th (from `start`), so that a grid stays affordable.
  void run(const std::string& name, const Plan& plan, int every = 1, int start = 0);
  // "dropped wait: 120 tried, 3 not applicable" a line.
  std::string table() const;
  const std::map<std::string, Tally>& tallies() const { return tallies_; }

 private:
  std::map<std::string, Tally> tallies_;
};

}  // namespace dsc::testing
