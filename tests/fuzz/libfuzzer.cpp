// The entry that libFuzzer looks for.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/entry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dsc::fuzz::accepts({reinterpret_cast<const char*>(data), size});
  return 0;
}
