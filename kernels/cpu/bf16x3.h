// f32 as a sum of three bf16, for products in matrix registers (amx.h) that are as exact as f32's: Henry, Tang and Heinecke,
// "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", ARITH 2019.
// In: matrices of any type and strides. Out: their terms, in the order in which the registers load them; nothing is allocated.
//
// x = high + middle + low without an error where |x| is in [2^-100, 3.39e38], or 0: 8 bits of x each, the first two to nearest. Below,
// what a term would have under 2^-126 is lost. Above, and of infinities and NaNs, the low term is a NaN, and with it the product.
#pragma once

#include <cstdint>

#include "compiler/support/kernel_shape.h"
#include "kernels/cpu/pack.h"

namespace dsc::cpu {

constexpr std::int64_t bf16x3_step = bf16x3_unit;   // of the contraction; what is written is a multiple of it, zeros behind the matrix
constexpr std::int64_t bf16x3_group = bf16x3_unit;  // rows of A, columns of B

// Rows of A, by groups, the last of which may have fewer: dst[group][column / 32][term][row in group][column % 32].
void pack_rows_bf16x3(const Matrix& from, std::uint16_t* dst, std::int64_t columns);
// Rows [first, first + rows), whole steps, of a panel of B, of which `from` has the first:
// panel[row / 32][column / 16][term][row % 32 / 2][column % 16][row % 2]. width: of the panel, 16 or 32.
void pack_columns_bf16x3(const Matrix& from, std::int64_t first, std::int64_t rows, std::uint16_t* panel, std::int64_t width);

}  // namespace dsc::cpu
