#include "runtime/checkpoint/checksum.h"

#include <bit>
#include <cstring>
#include <initializer_list>

namespace dsc {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::uint64_t k1 = 0x9E3779B185EBCA87u, k2 = 0xC2B2AE3D27D4EB4Fu, k3 = 0x165667B19E3779F9u,
                        k4 = 0x85EBCA77C2B2AE63u, k5 = 0x27D4EB2F165667C5u;

template <class T>
T load(const unsigned char* at) {
  T v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

std::uint64_t mix(std::uint64_t lane, std::uint64_t word) { return std::rotl(lane + word * k2, 31) * k1; }

}  // namespace

std::uint64_t checksum(const void* data, std::size_t bytes) {
  const unsigned char* at = static_cast<const unsigned char*>(data);
  const unsigned char* end = at + bytes;
  std::uint64_t h = k5;
  if (bytes >= 32) {
    std::uint64_t a = k1 + k2, b = k2, c = 0, d = -k1;
    for (; end - at >= 32; at += 32) {
      a = mix(a, load<std::uint64_t>(at));
      b = mix(b, load<std::uint64_t>(at + 8));
      c = mix(c, load<std::uint64_t>(at + 16));
      d = mix(d, load<std::uint64_t>(at + 24));
    }
    h = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
    for (std::uint64_t lane : {a, b, c, d}) h = (h ^ mix(0, lane)) * k1 + k4;
  }
  h += bytes;
  for (; end - at >= 8; at += 8) h = std::rotl(h ^ mix(0, load<std::uint64_t>(at)), 27) * k1 + k4;
  if (end - at >= 4) {
    h = std::rotl(h ^ load<std::uint32_t>(at) * k1, 23) * k2 + k3;
    at += 4;
  }
  for (; at < end; ++at) h = std::rotl(h ^ *at * k5, 11) * k1;
  h = (h ^ h >> 33) * k2;
  h = (h ^ h >> 29) * k3;
  return h ^ h >> 32;
}

}  // namespace dsc
