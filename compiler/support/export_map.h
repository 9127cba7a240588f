// How a model's parameters map to the tensors and config of a Hugging Face folder, from the file's `export huggingface`.
// Fully expanded: one entry per stored tensor. Part of the plan's contract.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/support/ids.h"

namespace dsc {

// One parameter (or one index of one axis of it) inside a stored tensor.
struct ExportPiece {
  ParameterId parameter;
  std::vector<int> permutation;     // stored order of the parameter's own axes (before merging)
  std::vector<std::int64_t> shape;  // stored shape after permuting and merging
  int indexed_axis = -1;            // parameter axis taken at one index, or -1 (it is then absent from `permutation`)
  std::int64_t index = 0;
};

struct ExportTensor {
  std::vector<std::string> names;  // the first is written, any is read
  std::vector<ExportPiece> pieces; // joined along `dim`
  int dim = 0;
};

struct ExportConfigEntry {
  std::vector<std::string> keys;  // dotted for nested entries; the first is written, any is read
  std::string json;               // the value as JSON text
  bool compared = true;           // false: `config written`
};

struct ExportMap {
  bool present = false;
  std::string architecture;  // "GPT2LMHeadModel"
  std::vector<ExportConfigEntry> config;
  std::vector<ExportTensor> tensors;
  std::vector<std::string> ignored;  // stored names that may be there and are not read; {i} already expanded
};

}  // namespace dsc
