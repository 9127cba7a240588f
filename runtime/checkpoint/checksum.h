// XXH64 (Collet), seed 0: 64 bits over bytes in memory, as fast as memory and equal on every machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dsc {

std::uint64_t checksum(const void* data, std::size_t bytes);

}  // namespace dsc
