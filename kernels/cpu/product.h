// The product with its addresses given at run time, so that the classifier can chunk over rows with three of them.
#pragma once

#include <algorithm>
#include <vector>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/map_engine.h"

namespace dsc::cpu {

struct ProductOperands {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* const* epilogue_inputs = nullptr;  // slots 1.. of the epilogue, from 0
  void* const* outputs = nullptr;
  char* shared = nullptr;  // packed operands
};

class Product {
 public:
  Product(const ProductSpec& spec, const Target& target, bool alone = false);
  const ProductShape& shape() const { return shape_; }
  // Part by part of the contraction: first all tiles of pack, those below a_pack_tiles of A, the rest up to pack_tiles of B; then
  // all tiles of compute.
  void pack(const ProductOperands& operands, std::int64_t part, std::int64_t tile) const;
  void compute(const ProductOperands& operands, std::int64_t part, std::int64_t tile, char* slot) const;

 private:
  void pack_a(const ProductOperands& operands, std::int64_t part, std::int64_t batch, std::int64_t m_tile, std::int64_t k,
              std::int64_t columns) const;
  void pack_panel(const ProductOperands& operands, std::int64_t part, std::int64_t batch, std::int64_t panel, std::int64_t k,
                  std::int64_t rows, char* to) const;
  void pack_columns(const ProductOperands& operands, std::int64_t batch, std::int64_t n_tile, char* to) const;
  void compute_strip(const ProductOperands& operands, std::int64_t part, std::int64_t batch, std::int64_t m_tile, std::int64_t first,
                     std::int64_t end, char* slot) const;
  void pack_block(const ProductOperands& operands, std::int64_t batch, std::int64_t m0, std::int64_t rows, std::int64_t k,
                  std::int64_t columns, char* to) const;
  std::int64_t part_size(std::int64_t part) const { return std::min(shape_.k_part, shape_.k_padded - part * shape_.k_part); }
  void epilogue(const ProductOperands& operands, std::int64_t batch, std::int64_t m0, std::int64_t n0, std::int64_t rows,
                std::int64_t columns, char* tile, char* slot) const;
  std::int64_t operand_offset(const std::vector<std::int64_t>& strides, std::int64_t batch) const;
  // Of `batch` (all dims): its place among those that the operand has.
  std::int64_t packed_index(bool a, std::int64_t batch) const;
  std::int64_t batch_offset(bool a, std::int64_t index, bool among_distinct) const;
  std::int64_t panel_width(std::int64_t panel) const;

  ProductSpec spec_;
  ProductShape shape_;
  MapEngine engine_;
  bool streams_ = false;
  // By [shorter last m tile][last panel][shorter last k block][accumulate].
  Gemm gemm_[2][2][2][2];
};

}  // namespace dsc::cpu
