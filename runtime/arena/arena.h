// One rank's memory: a single mapping of exactly the bytes that the plan says, zeroed, resident from the start, with an
// inaccessible guard page on either side. Failure to map or to make it resident is an error value.
#pragma once

#include <cstddef>
#include <string>

#include "compiler/support/result.h"
#include "compiler/support/units.h"

namespace dsc {

class Arena {
 public:
  // `bytes` is a multiple of the page size, 0 included; `owner` ("rank 3's device arena") is for the error message.
  static Result<Arena> map(Bytes bytes, const std::string& owner);

  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  std::byte* base() const { return base_; }
  // What the mapping call was asked for and gave, guard pages apart.
  Bytes mapped() const { return mapped_; }

 private:
  Arena() = default;
  std::byte* base_ = nullptr;    // after the leading guard page
  std::byte* region_ = nullptr;  // the reservation, guards included
  std::size_t region_bytes_ = 0;
  Bytes mapped_{0};
};

}  // namespace dsc
