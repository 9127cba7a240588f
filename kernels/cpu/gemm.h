// LIBXSMM's kernels behind one function: C = A B or C += A B for a small block, row-major, f32 accumulation. A kernel is
// generated when it is asked for, so ask while preparing.
#pragma once

#include <cstdint>
#include <new>

#include "compiler/support/dtype.h"

namespace dsc::cpu {

// c[i * ldc + j] (+)= sum over k of a(i, k) b(k, j), i < m, j < n.
//   f32:  a(i, k) = a[i * lda + k], or a[k * lda + i] where a_transposed; b(k, j) = b[k * ldb + j].
//   bf16: a(i, k) = a[i * lda + k]; b(k, j) = b[(k / 2 * ldb + j) * 2 + k % 2]; k even.
struct GemmShape {
  DType type = DType::f32;
  std::int64_t m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0;
  bool a_transposed = false, accumulate = false;
};

// Thrown where the system gives no memory that may be executed; prepare() makes an error of it.
struct NoExecutableMemory : std::bad_alloc {};

class Gemm {
 public:
  Gemm() = default;
  explicit Gemm(const GemmShape& shape);
  void operator()(const void* a, const void* b, float* c) const { function_(b, a, c); }
  explicit operator bool() const { return function_ != nullptr; }

 private:
  void (*function_)(const void*, const void*, void*, ...) = nullptr;
};

}  // namespace dsc::cpu
