// The product of a small block behind one function: C = A B or C += A B, row-major, f32 accumulation. bf16 goes through the CPU's
// matrix registers where it has them (amx.h), all else through LIBXSMM's kernels. These are generated when they are asked for, so
// ask while preparing.
#pragma once

#include <cstdint>
#include <new>

#include "compiler/support/dtype.h"
#include "kernels/cpu/amx.h"

namespace dsc::cpu {

// c[i * ldc + j] (+)= sum over k of a(i, k) b(k, j), i < m, j < n.
//   f32:  a(i, k) = a[i * lda + k], or a[k * lda + i] where a_transposed; b(k, j) = b[k * ldb + j].
//   bf16: a(i, k) = a[i * lda + k]; b(k, j) = b[(k / 2 * ldb + j) * 2 + k % 2]; k even.
//   f32, bf16x3: a and b are packed as bf16x3.h says, b in a panel of width ldb; k a multiple of its step. Only with matrix registers.
struct GemmShape {
  DType type = DType::f32;
  std::int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0;
  bool a_transposed = false, accumulate = false, bf16x3 = false;
};

// Thrown where the system gives no memory that may be executed; prepare() makes an error of it.
struct NoExecutableMemory : std::bad_alloc {};

class Gemm {
 public:
  Gemm() = default;
  explicit Gemm(const GemmShape& shape);
  void operator()(const void* a, const void* b, float* c) const {
    if (function_ != nullptr) function_(b, a, c);
    else matrix_(a, b, c);
  }

 private:
  void (*function_)(const void*, const void*, void*, ...) = nullptr;
  MatrixProduct matrix_;
};

}  // namespace dsc::cpu
