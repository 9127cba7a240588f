// Text in, syntax tree out. Whatever the bytes, parsing ends with a tree or with diagnostics (codes DSM01xx): it never
// throws, and its depth, time and memory are bounded by the limits below. Several independent mistakes are reported.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "compiler/support/diagnostic.h"
#include "compiler/support/source.h"
#include "compiler/syntax/ast.h"

namespace dsc::syntax {

inline constexpr std::size_t kMaxFileBytes = std::size_t{4} << 20;

// The tree of sources.files()[file_id], or nothing where it has a syntax error (added to `diagnostics`).
std::optional<File> parse(std::uint32_t file_id, const SourceMap& sources, Diagnostics& diagnostics);

// The same for a text that is one expression: the VALUE of `--set KEY=VALUE`, added to the SourceMap by the caller.
std::optional<Expr> parse_value(std::uint32_t file_id, const SourceMap& sources, Diagnostics& diagnostics);

}  // namespace dsc::syntax
