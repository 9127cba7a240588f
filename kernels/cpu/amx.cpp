// A block of 32 x 32 of C lies in four registers. For each 32 of the contraction two registers of A and two of B are loaded, each of
// which is used twice. Blocks go down the rows first: the columns of B stay in the nearest cache. Of three terms six products of the
// nine are taken: each of the others is at most 2^-24 of the whole, what f32 rounds away.
#include "kernels/cpu/amx.h"

#include <algorithm>
#include <cstring>

#include "compiler/support/check.h"

#if defined(__AMX_TILE__) && defined(__AMX_BF16__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dsc::cpu {

using std::int64_t;

#if defined(__AMX_TILE__) && defined(__AMX_BF16__)

namespace {

constexpr int64_t rows_of_register = 16, columns_of_register = 16, step = 32;  // step: of the contraction
constexpr int64_t terms = 3, products = 6, register_bytes = 1024;
constexpr int64_t block_rows = 2 * rows_of_register, block_columns = 2 * columns_of_register;

// Linux: Documentation/arch/x86/xstate.rst. The permission is the process's, for all of its threads.
bool permitted() {
  constexpr long ask = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA
  return syscall(SYS_arch_prctl, ask, tile_data) == 0;
}

struct Operands {
  const char *a, *b;  // at the block's first row, first column
  float* c;
  int64_t a_row, b_row, c_row;  // bytes from row to row; of B, from pair to pair
};

// `count` of 16 rows of 64 bytes, each `bytes` long, with zeros behind and below.
void copy_padded(const char* from, int64_t stride, int64_t count, int64_t bytes, char* to) {
  std::memset(to, 0, 1024);
  for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * 64, from + i * stride, static_cast<std::size_t>(bytes));
}

// C in registers 0 to 3, A in 4 and 5, B in 6 and 7.
template <bool tall, bool wide>
[[gnu::always_inline]] inline void multiply_step(const char* a, int64_t a_row, int64_t a_next, const char* b, int64_t b_row, int64_t b_next) {
  _tile_loadd(6, b, b_row);
  _tile_loadd(4, a, a_row);
  _tile_dpbf16ps(0, 4, 6);
  if constexpr (wide) {
    _tile_loadd(7, b + b_next, b_row);
    _tile_dpbf16ps(1, 4, 7);
  }
  if constexpr (tall) {
    _tile_loadd(5, a + a_next, a_row);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (wide) _tile_dpbf16ps(3, 5, 7);
  }
}

// A step of the terms of a group of A and of one of B. The next step, which lies behind it, is fetched meanwhile.
struct Step {
  const char *a, *b;
  int64_t a_term;  // bytes
  int64_t a_bytes, b_bytes;
};

inline void fetch(const char* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(from + i, _MM_HINT_T0);
}

template <bool tall, bool wide>
[[gnu::always_inline]] inline void multiply_terms(const Step& s) {
  constexpr int64_t next_a = (tall ? 2 : 1) * terms * register_bytes, next_b = (wide ? 2 : 1) * terms * register_bytes;
  const auto rows = [&](int64_t term) {
    _tile_loadd(4, s.a + term * s.a_term, 64);
    if constexpr (tall) _tile_loadd(5, s.a + term * s.a_term + register_bytes, 64);
  };
  const auto columns = [&](int64_t term) {
    _tile_loadd(6, s.b + term * register_bytes, 64);
    if constexpr (wide) _tile_loadd(7, s.b + (terms + term) * register_bytes, 64);
  };
  const auto multiply = [&](int64_t part) {
    _tile_dpbf16ps(0, 4, 6);
    fetch(s.a + s.a_bytes + part * next_a / products, next_a / products);
    if constexpr (wide) _tile_dpbf16ps(1, 4, 7);
    if constexpr (tall) _tile_dpbf16ps(2, 5, 6);
    fetch(s.b + s.b_bytes + part * next_b / products, next_b / products);
    if constexpr (tall && wide) _tile_dpbf16ps(3, 5, 7);
  };
  // One operand changes at a time.
  rows(2), columns(0), multiply(0);
  rows(1), multiply(1);
  columns(1), multiply(2);
  rows(0), multiply(3);
  columns(2), multiply(4);
  columns(0), multiply(5);
}

template <bool tall, bool wide>
[[gnu::always_inline]] inline void load_block(const Operands& o, bool accumulate) {
  char* c = reinterpret_cast<char*>(o.c);
  char* lower = c + rows_of_register * o.c_row;
  if (accumulate) {
    _tile_loadd(0, c, o.c_row);
    if constexpr (wide) _tile_loadd(1, c + 64, o.c_row);
    if constexpr (tall) _tile_loadd(2, lower, o.c_row);
    if constexpr (tall && wide) _tile_loadd(3, lower + 64, o.c_row);
  } else {
    _tile_zero(0);
    if constexpr (wide) _tile_zero(1);
    if constexpr (tall) _tile_zero(2);
    if constexpr (tall && wide) _tile_zero(3);
  }
}

template <bool tall, bool wide>
[[gnu::always_inline]] inline void store_block(const Operands& o) {
  char* c = reinterpret_cast<char*>(o.c);
  char* lower = c + rows_of_register * o.c_row;
  _tile_stored(0, c, o.c_row);
  if constexpr (wide) _tile_stored(1, c + 64, o.c_row);
  if constexpr (tall) _tile_stored(2, lower, o.c_row);
  if constexpr (tall && wide) _tile_stored(3, lower + 64, o.c_row);
}

template <bool tall, bool wide>
void block(const Operands& o, int64_t rows, int64_t columns, int64_t k, bool accumulate) {
  load_block<tall, wide>(o, accumulate);
  const int64_t whole = k / step * step;
  for (int64_t at = 0; at < whole; at += step)
    multiply_step<tall, wide>(o.a + at * 2, o.a_row, rows_of_register * o.a_row, o.b + at / 2 * o.b_row, o.b_row, 64);
  if (whole < k) {
    alignas(64) char a[2 * 1024], b[2 * 1024];
    const int64_t pairs = (k - whole) / 2, upper = std::min(rows, rows_of_register), left = std::min(columns, columns_of_register);
    const char* a_tail = o.a + whole * 2;
    const char* b_tail = o.b + whole / 2 * o.b_row;
    copy_padded(a_tail, o.a_row, upper, pairs * 4, a);
    copy_padded(b_tail, o.b_row, pairs, left * 4, b);
    if constexpr (tall) copy_padded(a_tail + rows_of_register * o.a_row, o.a_row, rows - upper, pairs * 4, a + 1024);
    if constexpr (wide) copy_padded(b_tail + 64, o.b_row, pairs, (columns - left) * 4, b + 1024);
    multiply_step<tall, wide>(a, 64, 1024, b, 64, 1024);
  }
  store_block<tall, wide>(o);
}

template <bool tall, bool wide>
void block_of_terms(const Operands& o, int64_t rows, int64_t columns, int64_t k, bool accumulate) {
  load_block<tall, wide>(o, accumulate);
  Step s{o.a, o.b, rows * 64, rows * 64 * terms, (columns + columns_of_register - 1) / columns_of_register * register_bytes * terms};
  for (int64_t at = 0; at < k; at += step, s.a += s.a_bytes, s.b += s.b_bytes) multiply_terms<tall, wide>(s);
  store_block<tall, wide>(o);
}

}  // namespace

bool has_matrix_registers() {
  static const bool has = permitted();
  return has;
}

MatrixProduct::Sizes MatrixProduct::sizes(int64_t rows, int64_t columns) {
  Sizes sizes;
  const int64_t upper = std::min(rows, rows_of_register), left = std::min(columns, columns_of_register);
  const auto set = [&sizes](int i, int64_t count, int64_t bytes) {
    if (count == 0 || bytes == 0) return;
    sizes.rows[i] = static_cast<std::uint8_t>(count), sizes.bytes[i] = static_cast<std::uint16_t>(bytes);
  };
  for (int i = 0; i < 2; ++i) {
    const int64_t height = i == 0 ? upper : rows - upper, width = i == 0 ? left : columns - left;
    set(2 * i, height, left * 4);
    set(2 * i + 1, height, (columns - left) * 4);
    set(4 + i, height, 64);
    set(6 + i, step / 2, width * 4);
  }
  return sizes;
}

MatrixProduct::MatrixProduct(const MatrixShape& shape) : shape_(shape) {
  DSC_CHECK(shape.k % (shape.bf16x3 ? step : 2) == 0, "a contraction is not of whole pairs, or steps");
  DSC_CHECK(!shape.bf16x3 || shape.n <= block_columns, "a panel is wider than a block");
  for (int fewer_rows = 0; fewer_rows < 2; ++fewer_rows)
    for (int fewer_columns = 0; fewer_columns < 2; ++fewer_columns)
      sizes_[fewer_rows][fewer_columns] = sizes(fewer_rows ? shape.m % block_rows : block_rows, fewer_columns ? shape.n % block_columns : block_columns);
}

template <class Place>
void MatrixProduct::each_block(const Place& place) const {
  const MatrixShape& s = shape_;
  const Sizes* loaded = nullptr;
  for (int64_t j = 0; j < s.n; j += block_columns) {
    const int64_t columns = std::min(block_columns, s.n - j);
    for (int64_t i = 0; i < s.m; i += block_rows) {
      const int64_t rows = std::min(block_rows, s.m - i);
      const Sizes& wanted = sizes_[rows < block_rows][columns < block_columns];
      if (&wanted != loaded) _tile_loadconfig(&wanted);
      loaded = &wanted;
      place(i, j, rows, columns);
    }
  }
  _tile_release();
}

void MatrixProduct::operator()(const void* a, const void* b, float* c) const {
  const MatrixShape& s = shape_;
  Operands o;
  o.c_row = s.ldc * 4;
  if (s.bf16x3) {
    o.b = static_cast<const char*>(b);
    each_block([&](int64_t i, int64_t, int64_t rows, int64_t columns) {
      o.a = static_cast<const char*>(a) + i * s.k * 2 * terms;
      o.c = c + i * s.ldc;
      const bool tall = rows > rows_of_register, wide = columns > columns_of_register;
      const auto multiply = tall ? wide ? block_of_terms<true, true> : block_of_terms<true, false> : wide ? block_of_terms<false, true> : block_of_terms<false, false>;
      multiply(o, rows, columns, s.k, s.accumulate);
    });
    return;
  }
  o.a_row = s.lda * 2, o.b_row = s.ldb * 4;
  each_block([&](int64_t i, int64_t j, int64_t rows, int64_t columns) {
    o.a = static_cast<const char*>(a) + i * o.a_row;
    o.b = static_cast<const char*>(b) + j * 4;
    o.c = c + i * s.ldc + j;
    const bool tall = rows > rows_of_register, wide = columns > columns_of_register;
    const auto multiply = tall ? wide ? block<true, true> : block<true, false> : wide ? block<false, true> : block<false, false>;
    multiply(o, rows, columns, s.k, s.accumulate);
  });
}

#else

bool has_matrix_registers() { return false; }

MatrixProduct::MatrixProduct(const MatrixShape&) { DSC_CHECK(false, "compiled without matrix registers"); }

void MatrixProduct::operator()(const void*, const void*, float*) const {}

#endif

}  // namespace dsc::cpu
