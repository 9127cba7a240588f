#include "runtime/exchange/stored_layout.h"

#include "compiler/support/check.h"

namespace dsc {
namespace {

std::int64_t product(const std::vector<std::int64_t>& sizes) {
  std::int64_t n = 1;
  for (std::int64_t size : sizes) n *= size;
  return n;
}

// Calls visit(parameter element, stored element) for every element of the piece, in the piece's stored order.
template <class Visit>
void walk(const Model& model, const ExportTensor& tensor, std::size_t piece_index, std::int64_t parameter_elements,
          std::int64_t stored_elements, const Visit& visit) {
  const ExportPiece& piece = tensor.pieces[piece_index];
  const std::vector<AxisId>& axes = model.parameter(piece.parameter).axes;
  std::vector<std::int64_t> own_strides(axes.size(), 1);
  for (std::size_t a = axes.size(); a-- > 1;) own_strides[a - 1] = own_strides[a] * model.axis(axes[a]).size;
  std::int64_t base = piece.indexed_axis < 0 ? 0 : piece.index * own_strides.at(piece.indexed_axis);
  std::vector<std::int64_t> sizes, strides;
  for (int axis : piece.permutation) {
    sizes.push_back(model.axis(axes.at(axis)).size);
    strides.push_back(own_strides[axis]);
  }
  std::int64_t elements = product(sizes);
  // Along `dim` a row of the stored tensor is each piece's row in turn; what comes after `dim` is contiguous.
  std::vector<std::int64_t> shape = stored_shape(tensor);
  std::int64_t inner = 1, before = 0;
  for (std::size_t d = static_cast<std::size_t>(tensor.dim) + 1; d < shape.size(); ++d) inner *= shape[d];
  for (std::size_t p = 0; p < piece_index; ++p) before += tensor.pieces[p].shape.at(tensor.dim) * inner;
  std::int64_t own_row = shape.empty() ? 1 : piece.shape.at(tensor.dim) * inner;
  std::int64_t whole_row = shape.empty() ? 1 : shape.at(tensor.dim) * inner;
  DSC_CHECK(elements == product(piece.shape) && own_row > 0, "an export piece of " + model.parameter(piece.parameter).path +
                                                                 " does not fit its stored shape");
  std::int64_t last = base;
  for (std::size_t d = 0; d < sizes.size(); ++d) last += (sizes[d] - 1) * strides[d];
  DSC_CHECK(last < parameter_elements && (elements / own_row - 1) * whole_row + before + own_row <= stored_elements,
            "an export piece of " + model.parameter(piece.parameter).path + " reaches outside");
  std::vector<std::int64_t> index(sizes.size(), 0);
  std::int64_t from = base;
  for (std::int64_t e = 0, row = 0, within = 0; e < elements; ++e) {
    visit(from, row * whole_row + before + within);
    if (++within == own_row) within = 0, ++row;
    for (std::size_t d = sizes.size(); d-- > 0;) {
      from += strides[d];
      if (++index[d] < sizes[d]) break;
      from -= strides[d] * sizes[d];
      index[d] = 0;
    }
  }
}

}  // namespace

std::vector<std::int64_t> stored_shape(const ExportTensor& tensor) {
  DSC_CHECK(!tensor.pieces.empty(), "a stored tensor without pieces");
  std::vector<std::int64_t> shape = tensor.pieces.front().shape;
  for (std::size_t p = 1; p < tensor.pieces.size(); ++p) shape.at(tensor.dim) += tensor.pieces[p].shape.at(tensor.dim);
  return shape;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

void copy_to_stored(const Model& model, const ExportTensor& tensor, std::size_t piece, std::span<const float> parameter,
                    std::span<float> stored) {
  walk(model, tensor, piece, static_cast<std::int64_t>(parameter.size()), static_cast<std::int64_t>(stored.size()),
       [&](std::int64_t own, std::int64_t there) { stored[there] = parameter[own]; });
}

void copy_from_stored(const Model& model, const ExportTensor& tensor, std::size_t piece, std::span<const float> stored,
                      std::span<float> parameter) {
  walk(model, tensor, piece, static_cast<std::int64_t>(parameter.size()), static_cast<std::int64_t>(stored.size()),
       [&](std::int64_t own, std::int64_t there) { parameter[own] = stored[there]; });
}

}  // namespace dsc
