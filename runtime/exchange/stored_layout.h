// How the elements of a parameter lie in a stored tensor: the export map as index arithmetic, both ways.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compiler/plan/contract.h"

namespace dsc {

// The stored tensor's shape: the pieces' shapes joined along its dim.
std::vector<std::int64_t> stored_shape(const ExportTensor& tensor);
// "[768, 2304]".
std::string shape_text(const std::vector<std::int64_t>& shape);

// Copies the piece's elements from the flattened parameter to their places in the stored tensor, or back. `piece` counts
// in tensor.pieces.
void copy_to_stored(const Model& model, const ExportTensor& tensor, std::size_t piece, std::span<const float> parameter,
                    std::span<float> stored);
void copy_from_stored(const Model& model, const ExportTensor& tensor, std::size_t piece, std::span<const float> stored,
                      std::span<float> parameter);

}  // namespace dsc
