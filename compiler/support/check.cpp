#include "compiler/support/check.h"

#include <cstdio>
#include <cstdlib>

namespace dsc {

void check_failed(const char* file, int line, const char* condition, const std::string& detail) {
  std::fprintf(stderr, "dsc: internal error at %s:%d: %s (%s)\n", file, line, detail.c_str(), condition);
  std::abort();
}

}  // namespace dsc
