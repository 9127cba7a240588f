// Seeded mutations: the same generator gives the same texts everywhere.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <random>
#include <string>

namespace dsc::fuzz {

// A generator of its own for each test. DSC_FUZZ_SEED=N looks elsewhere.
std::mt19937 generator(unsigned fixed);

// One to four edits: a bit, a byte or a digit changed, bytes removed, inserted or doubled, the end cut off. Now and then
// nothing is left.
std::string mutate_text(std::string text, std::mt19937& random);

// One to three edits that keep it JSON: a value replaced by another kind or an edge of the number range, moved by a few,
// an element of a list dropped or doubled.
void mutate_json(nlohmann::json& json, std::mt19937& random);

}  // namespace dsc::fuzz
