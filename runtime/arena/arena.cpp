#include "runtime/arena/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "compiler/support/diagnostic_codes.h"

namespace dsc {
namespace {

// Transparent huge pages need their alignment; a reservation this much larger can always be aligned.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

Error mapping_error(Bytes bytes, const std::string& owner, int number) {
  return Error{str(Code::memory_not_mapped),
               "cannot map " + owner + " (" + with_commas(bytes.value) + " bytes): " + std::strerror(number),
               "free memory, use fewer ranks on this machine, or a layout that needs less (`dsc explain FILE --all`)"};
}

// Makes every page resident now, so that a machine that is too small says so before the first step.
int make_resident(std::byte* base, std::size_t bytes, std::size_t page) {
#ifdef MADV_POPULATE_WRITE
  if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
#endif
  for (std::size_t at = 0; at < bytes; at += page) const_cast<volatile std::byte*>(base)[at] = std::byte{0};
  return 0;
}

}  // namespace

Result<Arena> Arena::map(Bytes bytes, const std::string& owner) {
  Arena arena;
  arena.mapped_ = bytes;
  if (bytes.value == 0) return arena;
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t size = static_cast<std::size_t>(bytes.value);
  if (bytes.value < 0 || size % page != 0) return mapping_error(bytes, owner, EINVAL);
  // Reserve with guards and room to align, then map exactly `size` accessible bytes inside.
  const std::size_t reserve = size + 2 * page + (size >= kHugePage ? kHugePage : 0);
  if (reserve < size) return mapping_error(bytes, owner, ENOMEM);
  void* region = mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return mapping_error(bytes, owner, errno);
  arena.region_ = static_cast<std::byte*>(region);
  arena.region_bytes_ = reserve;
  std::byte* base = arena.region_ + page;
  if (size >= kHugePage) {
    const auto address = reinterpret_cast<std::uintptr_t>(base);
    base += (kHugePage - address % kHugePage) % kHugePage;
  }
  void* inside = mmap(base, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (inside == MAP_FAILED) return mapping_error(bytes, owner, errno);
  arena.base_ = static_cast<std::byte*>(inside);
#ifdef MADV_HUGEPAGE
  // Best effort: without huge pages the arena works the same, a little slower.
  if (size >= kHugePage) madvise(inside, size, MADV_HUGEPAGE);
#endif
  const int failed = make_resident(arena.base_, size, page);
  if (failed != 0) return mapping_error(bytes, owner, failed);
  return arena;
}

Arena::Arena(Arena&& other) noexcept { *this = std::move(other); }

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(region_, other.region_);
  std::swap(region_bytes_, other.region_bytes_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Arena::~Arena() {
  if (region_ != nullptr) munmap(region_, region_bytes_);
}

}  // namespace dsc
