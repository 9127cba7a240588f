// The table of a campaign: a line for each kind of fault, printed when the program ends. In: a kind, how often it was
// injected, what came of it. A kind noted by a test that has failed is marked.
#pragma once

#include <string>

namespace dsc_fault {

void note(const std::string& kind, std::int64_t injected, const std::string& outcome);

}  // namespace dsc_fault
