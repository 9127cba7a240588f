// The file's layouts in, the chosen one out with every `auto` resolved (support/layout.h). All layouts are checked for
// names and contradictions, the chosen one for sizes too.
//
// What `auto`, or nothing written, becomes:
//   mesh size       --gpus over the product of the other sizes; 1 without --gpus
//   micro_batch     the largest divisor of batch/D with rows x sequence within 8,192 tokens, at least 1
//   bucket          8,388,608 elements
//   prefetch        twice the parameters of the largest segment (the part of the model's forward up to the next instance
//                   call): what is used now and what is used next
//   persist_below   a hundredth of a rank's share of the parameters, at most 100,000 elements
//   max_live        all parameters: no limit
//   reuse_distance  0: a gathered parameter is released after its use
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/sema/check.h"
#include "compiler/sema/program.h"
#include "compiler/sema/sections.h"
#include "compiler/sema/settings.h"

namespace dsc::sema {

struct FlatLayout {
  const syntax::Layout* source;
  std::vector<syntax::Rule> rules;  // base first; a `split` holds one axis; no `drop`
};

// Layouts with their bases' rules in them and --set applied, in the file's order; derivations that fail are left out.
std::vector<FlatLayout> flatten_layouts(const syntax::File& file, const std::vector<LayoutSetting>& settings, Diagnostics& diagnostics);

struct LayoutInput {
  const Program* program;  // null where the model has mistakes: its axes are not looked at then
  const Sections& sections;
  const ValueReader& reader;
  std::optional<std::int64_t> gpus;
  std::string name;  // --layout, or empty
};

void choose_layout(const syntax::File& file, const std::vector<FlatLayout>& layouts, const LayoutInput& input, CheckedProgram& out);

// One layout checked; where `chosen`, its sizes too, and `out.layout` and `out.autos` filled.
void check_layout(const FlatLayout& layout, const LayoutInput& input, bool chosen, CheckedProgram& out);
// The layout of a file that has none.
void default_layout(const LayoutInput& input, CheckedProgram& out);

}  // namespace dsc::sema
