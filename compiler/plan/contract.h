// What a plan promises to compute: filled by the driver from the checked program, never from the lowering.
#pragma once

#include <vector>

#include "compiler/support/export_map.h"
#include "compiler/support/layout.h"
#include "compiler/support/model.h"
#include "compiler/support/training.h"

namespace dsc {

struct Contract {
  Model model;         // axes, parameters with initialisers, the unfused forward graph
  DataSpec data;
  TrainSpec train;
  LayoutSpec layout;
  ExportMap exports;
  std::vector<AutoChoice> autos;

  // Elements of one of the D equal padded pieces of a parameter: ceil(elements / D).
  std::int64_t piece_elements(ParameterId parameter) const {
    std::int64_t n = element_count(model, parameter), d = layout.data_ranks();
    return (n + d - 1) / d;
  }
  std::int64_t micro_batches() const { return train.batch / (layout.data_ranks() * layout.micro_batch); }
};

}  // namespace dsc
