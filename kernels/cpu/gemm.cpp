#include "kernels/cpu/gemm.h"

#include <libxsmm.h>

#include <string>

#include "compiler/support/check.h"

namespace dsc::cpu {

Gemm::Gemm(const GemmShape& shape) {
  // LIBXSMM is column-major: it computes the transpose, b before a.
  const auto m = static_cast<libxsmm_blasint>(shape.n), n = static_cast<libxsmm_blasint>(shape.m), k = static_cast<libxsmm_blasint>(shape.k);
  const auto lda = static_cast<libxsmm_blasint>(shape.ldb), ldb = static_cast<libxsmm_blasint>(shape.lda), ldc = static_cast<libxsmm_blasint>(shape.ldc);
  const float alpha = 1, beta = shape.accumulate ? 1.0f : 0.0f;
  const int prefetch = LIBXSMM_GEMM_PREFETCH_NONE;
  int flags = shape.a_transposed ? LIBXSMM_GEMM_FLAG_TRANS_B : LIBXSMM_GEMM_FLAG_NONE;
  libxsmm_xmmfunction function;
  function.xmm = nullptr;
  if (shape.type == DType::bf16) {
    flags |= LIBXSMM_GEMM_FLAG_VNNI_A;
    function.bsmm = libxsmm_bsmmdispatch(m, n, k, &lda, &ldb, &ldc, &alpha, &beta, &flags, &prefetch);
  } else {
    function.smm = libxsmm_smmdispatch(m, n, k, &lda, &ldb, &ldc, &alpha, &beta, &flags, &prefetch);
  }
  function_ = function.xmm;
  DSC_CHECK(function_ != nullptr, "no kernel for a block of " + std::to_string(shape.m) + " x " + std::to_string(shape.n) + " x " +
                                      std::to_string(shape.k));
}

}  // namespace dsc::cpu
