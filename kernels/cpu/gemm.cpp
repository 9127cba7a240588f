#include "kernels/cpu/gemm.h"

#include <libxsmm.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "compiler/support/check.h"

namespace dsc::cpu {
namespace {

struct Range {
  std::uintptr_t begin = 0, end = 0;
};

// The parts of this process's memory that may be executed.
std::vector<Range> executable_ranges() {
  std::vector<Range> ranges;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    char rights[5] = "";
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) == 3 && rights[2] == 'x') ranges.push_back({begin, end});
  }
  return ranges;
}

// LIBXSMM without memory for its table of kernels would look one up in it all the same.
bool has_registry() {
  libxsmm_init();
  libxsmm_registry_info info;
  return libxsmm_get_registry_info(&info) == EXIT_SUCCESS;
}

// Where the system refuses executable memory, LIBXSMM puts a kernel into plain memory without a word.
bool executable(const void* function) {
  thread_local std::vector<Range> known;
  const auto address = reinterpret_cast<std::uintptr_t>(function);
  const auto inside = [&] {
    for (const Range& range : known)
      if (range.begin <= address && address < range.end) return true;
    return false;
  };
  if (inside()) return true;
  known = executable_ranges();
  return inside();
}

}  // namespace

Gemm::Gemm(const GemmShape& shape) {
  if (shape.bf16x3 || (shape.type == DType::bf16 && has_matrix_registers())) {
    matrix_ = MatrixProduct({shape.m, shape.n, shape.k, shape.lda, shape.ldb, shape.ldc, shape.accumulate, shape.bf16x3});
    return;
  }
  static const bool ready = has_registry();
  if (!ready) throw NoExecutableMemory();
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
  if (!executable(reinterpret_cast<const void*>(function_))) throw NoExecutableMemory();
}

}  // namespace dsc::cpu
