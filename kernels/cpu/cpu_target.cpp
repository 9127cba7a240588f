// The Target of the machine at hand.
#include <gnu/libc-version.h>
#include <libxsmm.h>

#include "kernels/cpu/amx.h"
#include "kernels/cpu/vector.h"
#include "kernels/ops.h"

namespace dsc {

Target cpu_target() {
  libxsmm_init();
  const char* instructions = libxsmm_get_target_arch();
  Target target;
  target.name = "cpu";
  target.vector = static_cast<int>(cpu::lanes);
  const char* compiled = cpu::lanes == 16 ? "avx512" : "avx2";
  target.fingerprint = std::string("libxsmm ") + LIBXSMM_VERSION + " " + instructions + ", glibc " + gnu_get_libc_version() + " " + compiled;
  if (cpu::has_matrix_registers()) target.fingerprint += " amx";
  target.bf16_products = cpu::has_matrix_registers() || libxsmm_get_target_archid() >= LIBXSMM_X86_AVX512_CPX;
  target.bf16x3 = cpu::has_matrix_registers();
  // A block of a panel of B is read again for each few rows of A: with narrow vectors it has to stay in the nearest cache.
  // Matrix registers are through with a panel so soon that fewer tiles should fetch it.
  target.tile_m = cpu::has_matrix_registers() ? 192 : 96;
  target.tile_n = 64;
  target.block_k = target.vector == 16 ? 384 : 192;
  // LIBXSMM's kernels lost a quarter with narrow vectors (Zen 3), a tenth on the one Intel CPU measured (with AMX), nothing on Zen 4.
  target.slow_columns = target.vector < 16 || __builtin_cpu_is("intel");
  target.chunk = Bytes(64 << 20);
  return target;
}

}  // namespace dsc
