// Philox4x32-10 (Salmon et al. 2011): counter-based random numbers, so that a number depends on what it is for (seed,
// stream, path, logical element, epoch) and never on the rank or the order in which numbers are drawn.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dsc {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr PhiloxCounter philox(PhiloxCounter c, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    std::uint64_t a = std::uint64_t{0xD2511F53} * c[0], b = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<std::uint32_t>(b),
         static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return c;
}

// What numbers are drawn for; streams of one seed never meet.
enum class RandomStream : std::uint32_t { weights = 1, data_order = 2, dropout = 3, sample = 4 };

constexpr PhiloxKey stream_key(std::uint64_t seed, RandomStream stream) {
  PhiloxCounter k = philox({static_cast<std::uint32_t>(stream), 0, 0, 0},
                           {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  return {k[0], k[1]};
}

// FNV-1a: the 64 bits that stand for a path in a counter.
constexpr std::uint64_t path_hash(std::string_view path) {
  std::uint64_t h = 0xcbf29ce484222325ull;
  for (char c : path) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return h;
}

}  // namespace dsc
