// `--set KEY=VALUE`: the main file's tree is edited before it is checked, so that a value from the command line is
// checked as one from the file. Keys that name a layout are kept apart, since layouts derive from each other first.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "compiler/sema/arguments.h"
#include "compiler/sema/files.h"

namespace dsc::sema {

struct LayoutSetting {
  std::string layout;
  std::vector<std::string> key;  // what follows the layout's name
  syntax::Expr value;
  std::string text;  // the whole key, for messages
};

// Edits files.files[0]; values become files of `sources`, named "--set KEY". Reports keys that reach nothing.
void apply_settings(const std::vector<std::pair<std::string, std::string>>& sets, Files& files, SourceMap& sources, Diagnostics& diagnostics,
                    std::vector<LayoutSetting>& layout_settings);

// The names of arguments of the calls in `data` and `train` ("adamw" has lr, betas, ...); empty for other names.
const std::vector<ArgumentSpec>* call_signature(std::string_view name);

// The entries of `data` and of `train`, for messages and settings.
const std::vector<std::string>& data_entries();
const std::vector<std::string>& train_entries();

}  // namespace dsc::sema
