// Syntax trees in, a checked program out: names, axes and types resolved, modules instantiated, repeats unrolled, one
// layout chosen and resolved. On a mistake: diagnostics, and no program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/diagnostic.h"
#include "compiler/support/export_map.h"
#include "compiler/support/layout.h"
#include "compiler/support/model.h"
#include "compiler/support/training.h"

namespace dsc {

struct CheckOptions {
  std::vector<std::pair<std::string, std::string>> sets;  // --set KEY=VALUE, in order; a later one wins
  std::optional<std::int64_t> gpus;                       // --gpus
  std::string layout;                                     // --layout; empty: the first that `gpus` satisfies, else the file's first
  std::string folder;                                     // paths in the file are relative to this
};

struct CheckedProgram {
  Model model;
  DataSpec data;
  TrainSpec train;
  ExportMap exports;
  LayoutSpec layout;
  bool layout_chosen_by_default = false;   // the driver names it in one line
  std::vector<std::string> layout_names;   // every named layout of the file, in order
  std::vector<AutoChoice> autos;
};

// Parses `path` (already read into `sources` as file `main_file`) with every file it uses, checks all of it. Files that
// `use` names are added to `sources`. With no `data` or `train` section (a library file) only the modules are checked
// and the result has no ops.
std::optional<CheckedProgram> check(std::uint32_t main_file, SourceMap& sources, const CheckOptions& options,
                                    Diagnostics& diagnostics);

}  // namespace dsc
