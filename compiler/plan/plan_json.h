// Plans as JSON: one line of text, every field written, doubles exact, integers exact. A plan that comes from elsewhere is
// hostile input: reading checks sizes, ids, enumerations, counts and arithmetic, so that whatever loads is safe to index;
// it never crashes. Whether a loaded plan is right is the verifier's question (verify.h).
#pragma once

#include <string>
#include <string_view>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"

namespace dsc {

inline constexpr int kPlanVersion = 1;

// Checks that `plan` is finite and well-formed as a value (a failed check is a bug in dsc).
std::string to_json(const Plan& plan);

// Everything that to_json writes. Refuses: text that is not JSON, another version, unknown or missing fields, values out of
// range, ids that point nowhere, and a hash that is not the content's.
Result<Plan> from_json(std::string_view text);

// The same without comparing the hash: for tools and tests that edit plans.
Result<Plan> from_json_unsealed(std::string_view text);

// Sets plan.hash: SHA-256 of the canonical JSON of all other fields, in hex.
void seal(Plan& plan);

// Reads a plan file of at most 1 GiB.
Result<Plan> load_plan(const std::string& path);

// Writes path + ".partial", flushes it and renames it to `path`.
Status save_plan(const Plan& plan, const std::string& path);

}  // namespace dsc
