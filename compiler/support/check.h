// Checks that also run in release builds. A failed check is a bug in dsc, never a user's mistake: it prints where
// and what, then aborts.
#pragma once

#include <string>

namespace dsc {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, const std::string& detail);

}  // namespace dsc

#define DSC_CHECK(condition, detail)                                                   \
  do {                                                                                 \
    if (!(condition)) ::dsc::check_failed(__FILE__, __LINE__, #condition, (detail));   \
  } while (false)
