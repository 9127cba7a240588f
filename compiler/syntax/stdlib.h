// The standard library's texts, embedded at build time: "gpt2" names stdlib/gpt2.dsm, which a file reads by
// `use std.gpt2`.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace dsc::syntax {

std::optional<std::string_view> stdlib_text(std::string_view name);
// In alphabetical order.
std::vector<std::string_view> stdlib_names();

}  // namespace dsc::syntax
