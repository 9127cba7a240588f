// The Target of the machine at hand.
#include <gnu/libc-version.h>
#include <libxsmm.h>

#include "kernels/ops.h"

namespace dsc {

Target cpu_target() {
  libxsmm_init();
  const char* instructions = libxsmm_get_target_arch();
  Target target;
  target.name = "cpu";
#if defined(__AVX512F__)
  const char* compiled = "avx512";
#elif defined(__AVX2__)
  const char* compiled = "avx2";
  target.vector = 8;
#else
  const char* compiled = "sse";
  target.vector = 4;
#endif
  target.fingerprint = std::string("libxsmm ") + LIBXSMM_VERSION + " " + instructions + ", glibc " + gnu_get_libc_version() + " " + compiled;
  target.bf16_products = libxsmm_get_target_archid() >= LIBXSMM_X86_AVX512_CPX;
  target.tile_m = 96;
  target.tile_n = 64;
  target.block_k = 384;
  target.chunk = Bytes(64 << 20);
  return target;
}

}  // namespace dsc
