#include "runtime/collectives/shared_collective.h"

#include <algorithm>
#include <cstring>

#include <emmintrin.h>

#include "compiler/support/check.h"
#include "runtime/arena/ranks.h"
#include "runtime/arena/round.h"

namespace dsc {
namespace {

// What one tile touches in all members together: large enough to hide its start, small enough to balance.
constexpr std::int64_t kTileBytes = 256 << 10;
// Elements copied or folded at once: they stay in the first-level cache.
constexpr std::int64_t kBlock = 1024;
constexpr std::int64_t kTogether = 32;
constexpr std::int64_t kAhead = 8 * kTogether;  // elements: so far ahead is fetched

std::byte* address(const BufferUse& use, const Plan& plan, const CollectiveMember& member, std::int64_t bytes) {
  const Buffer& buffer = plan.buffer(use.buffer);
  const std::int64_t at = use.offset.value + member.data_rank * use.rank_stride.value;
  DSC_CHECK(at >= 0 && bytes >= 0 && at + bytes <= buffer.bytes.value &&
                buffer.offset.value + buffer.bytes.value <= plan.memory.device_arena.value,
            "a collective reaches outside " + buffer.name);
  return member.arena + buffer.offset.value + at;
}

// A copy past the caches: a gathered whole is larger than they are, and would be read before it is written.
void stream(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(to) % 16 != 0) {
    std::memcpy(to, from, bytes);
    return;
  }
  std::size_t at = 0;
  for (; at + 64 <= bytes; at += 64) {
    __m128i line[4];
    for (int i = 0; i < 4; ++i) line[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + at) + i);
    for (int i = 0; i < 4; ++i) _mm_stream_si128(reinterpret_cast<__m128i*>(to + at) + i, line[i]);
  }
  std::memcpy(to + at, from + at, bytes - at);
}

template <class T, bool rounded>
T contribution(T value) {
  if constexpr (rounded) return from_bf16(to_bf16(value));
  else return value;
}

// sum[i] = what all members contribute, in order. The sums stay in registers, and all members are read side by side: each is fetched
// ahead, for the hardware follows so many streams late.
template <class T, bool rounded>
[[gnu::always_inline]] inline void add_up(const T* const* from, std::int64_t members, std::int64_t offset, std::int64_t count, T* sum) {
  T part[kTogether];
  constexpr std::int64_t line = 64 / sizeof(T);
  for (std::int64_t member = 0; member < members; ++member)
    for (std::int64_t i = 0; i < kTogether; i += line) __builtin_prefetch(from[member] + offset + kAhead + i);
  for (std::int64_t i = 0; i < count; ++i) part[i] = contribution<T, rounded>(from[0][offset + i]);
  for (std::int64_t member = 1; member < members; ++member)
    for (std::int64_t i = 0; i < count; ++i) part[i] += contribution<T, rounded>(from[member][offset + i]);
  for (std::int64_t i = 0; i < count; ++i) sum[i] = part[i];
}

// The fold over the members that share the coordinates above `axis`; `first` is the first of them. Innermost first: each
// axis adds up, in order, what the axes inside it gave.
template <class T, bool rounded>
void fold(const std::int64_t* sizes, std::size_t axes, std::size_t axis, std::int64_t first, const T* const* from,
          std::int64_t offset, std::int64_t count, T* sum) {
  if (axis + 1 >= axes) {
    const std::int64_t members = axes == 0 ? 1 : sizes[axis];
    std::int64_t at = 0;
    for (; at + kTogether <= count; at += kTogether) add_up<T, rounded>(from + first, members, offset + at, kTogether, sum + at);
    add_up<T, rounded>(from + first, members, offset + at, count - at, sum + at);
    return;
  }
  std::int64_t inside = 1;
  for (std::size_t inner = axis + 1; inner < axes; ++inner) inside *= sizes[inner];
  fold<T, rounded>(sizes, axes, axis + 1, first, from, offset, count, sum);
  T part[kBlock];
  for (std::int64_t i = 1; i < sizes[axis]; ++i) {
    fold<T, rounded>(sizes, axes, axis + 1, first + i * inside, from, offset, count, part);
    for (std::int64_t j = 0; j < count; ++j) sum[j] += part[j];
  }
}

template <class T, bool rounded>
void reduce_range(const std::vector<std::int64_t>& sizes, const T* const* from, T* to, std::int64_t begin, std::int64_t end) {
  T sum[kBlock];
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t count = std::min(kBlock, end - at);
    fold<T, rounded>(sizes.data(), sizes.size(), 0, 0, from, at, count, sum);
    std::memcpy(to + at, sum, static_cast<std::size_t>(count) * sizeof(T));
  }
}

}  // namespace

SharedCollective::SharedCollective(const CollectiveSpec& spec, const Plan& plan, const std::vector<std::int64_t>& axis_sizes,
                                   const std::vector<CollectiveMember>& members)
    : kind_(spec.kind), wire_bf16_(spec.wire_bf16), members_(members.size()), axis_sizes_(axis_sizes) {
  DSC_CHECK(members_ <= 4096, "a collective of more than 4096 members in one process");
  for (const CollectivePart& part : spec.parts) {
    DSC_CHECK(kind_ == CollectiveKind::all_gather || part.type == DType::f32 || (part.type == DType::f64 && !wire_bf16_),
              "a reduction of a type that has none");
    const std::int64_t piece = part.piece_elements * size_of(part.type);
    const auto all = static_cast<std::int64_t>(members_) * piece;
    parts_.push_back({part.piece_elements, part.type, places_.size()});
    for (const CollectiveMember& member : members) {
      places_.push_back({address(part.from, plan, member, kind_ == CollectiveKind::all_gather ? piece : all),
                         address(part.to, plan, member, kind_ == CollectiveKind::reduce_scatter ? piece : all)});
    }
  }
  cut();
}

void SharedCollective::cut() {
  const std::int64_t limit = std::max<std::int64_t>(kTileBytes / static_cast<std::int64_t>(members_), 4096);
  std::int64_t in_tile = limit;  // the first span begins a tile
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const std::int64_t size = size_of(parts_[p].type);
    for (std::int64_t at = 0; at < parts_[p].piece_elements;) {
      if (in_tile >= limit) {
        tile_spans_.push_back(spans_.size());
        in_tile = 0;
      }
      // Whole cache lines, so that two workers never write one.
      std::int64_t count = std::max<std::int64_t>((limit - in_tile) / size / 64 * 64, 64);
      count = std::min(count, parts_[p].piece_elements - at);
      spans_.push_back({p, at, at + count});
      at += count;
      in_tile += count * size;
    }
  }
  tile_spans_.push_back(spans_.size());
}

std::int64_t SharedCollective::tiles(int) const {
  return static_cast<std::int64_t>(members_ * (tile_spans_.size() - 1));
}

void SharedCollective::run(int phase, std::int64_t tile) const {
  const auto per_member = static_cast<std::int64_t>(tile_spans_.size() - 1);
  const auto member = static_cast<std::size_t>(tile / per_member), own = static_cast<std::size_t>(tile % per_member);
  for (std::size_t s = tile_spans_[own]; s < tile_spans_[own + 1]; ++s) {
    const Span& span = spans_[s];
    const Part& part = parts_[span.part];
    if (kind_ == CollectiveKind::all_gather) gather(part, member, span.begin, span.end, false);
    else if (phase == 1) gather(part, member, span.begin, span.end, true);
    else reduce(part, member, span.begin, span.end);
  }
}

// Copies elements [begin, end) of the owner's piece, or (`reduced`) of its place in the owner's whole buffer, into all members' whole
// buffers: what is read once stays in the first-level cache for the other members.
void SharedCollective::gather(const Part& part, std::size_t owner, std::int64_t begin, std::int64_t end, bool reduced) const {
  const std::int64_t size = size_of(part.type), offset = static_cast<std::int64_t>(owner) * part.piece_elements * size;
  const std::byte* from = reduced ? place(part, owner).to + offset : place(part, owner).from;
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const auto bytes = static_cast<std::size_t>((std::min(end, at + kBlock) - at) * size);
    for (std::size_t member = 0; member < members_; ++member) {
      std::byte* to = place(part, member).to + offset + at * size;
      if (to != from + at * size) stream(to, from + at * size, bytes);
    }
  }
  _mm_sfence();
}

// Folds elements [begin, end) of the member's own piece from all members.
void SharedCollective::reduce(const Part& part, std::size_t member, std::int64_t begin, std::int64_t end) const {
  const std::int64_t piece = part.piece_elements * size_of(part.type), offset = static_cast<std::int64_t>(member) * piece;
  const bool in_place = kind_ == CollectiveKind::all_reduce;
  std::byte* to = place(part, member).to + (in_place ? offset : 0);
  const void* from[4096];
  for (std::size_t m = 0; m < members_; ++m) from[m] = place(part, m).from + offset;
  if (part.type == DType::f64) {
    reduce_range<double, false>(axis_sizes_, reinterpret_cast<const double* const*>(from), reinterpret_cast<double*>(to), begin, end);
  } else if (wire_bf16_) {
    reduce_range<float, true>(axis_sizes_, reinterpret_cast<const float* const*>(from), reinterpret_cast<float*>(to), begin, end);
  } else {
    reduce_range<float, false>(axis_sizes_, reinterpret_cast<const float* const*>(from), reinterpret_cast<float*>(to), begin, end);
  }
}

std::int64_t SharedCollective::bytes() const {
  std::int64_t total = 0;
  const auto n = static_cast<std::int64_t>(members_);
  for (const Part& part : parts_) {
    const std::int64_t piece = part.piece_elements * size_of(part.type);
    if (kind_ != CollectiveKind::all_gather) total += n * (n + 1) * piece;  // n pieces read, one written, by each
    if (kind_ != CollectiveKind::reduce_scatter) total += 2 * n * (n - 1) * piece;
  }
  return total;
}

}  // namespace dsc
