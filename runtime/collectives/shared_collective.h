// A collective among ranks of one process: every member's buffers are at hand, so data moves once, straight between the
// arenas. In: the plan's spec and the members in order. Out: work cut into tiles that any worker may run once all members
// have arrived; a phase begins when the one before has ended, and no member may go on before the last phase has ended.
// Folds are in member order (innermost mesh axis first), in the element type; with wire_bf16 each contribution is rounded first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "compiler/plan/plan.h"

namespace dsc {

struct CollectiveMember {
  std::byte* arena = nullptr;
  std::int64_t data_rank = 0;
};

class SharedCollective {
 public:
  // `axis_sizes`: of spec.mesh_axes, innermost last; their product is members.size().
  SharedCollective(const CollectiveSpec& spec, const Plan& plan, const std::vector<std::int64_t>& axis_sizes,
                   const std::vector<CollectiveMember>& members);

  int phases() const { return kind_ == CollectiveKind::all_reduce ? 2 : 1; }
  std::int64_t tiles(int phase) const;
  void run(int phase, std::int64_t tile) const;
  // Bytes that all members together read and write in one run.
  std::int64_t bytes() const;

 private:
  struct Part {
    std::int64_t piece_elements = 0;
    DType type = DType::f32;
    std::size_t first_place = 0;  // into places_: one per member
  };
  struct Place {
    std::byte* from;
    std::byte* to;
  };
  // Elements [begin, end) of every piece of one part; a tile is a run of these for one member.
  struct Span {
    std::size_t part;
    std::int64_t begin, end;
  };

  std::size_t members() const { return members_; }
  const Place& place(const Part& part, std::size_t member) const { return places_[part.first_place + member]; }
  void cut();
  void gather(const Part& part, std::size_t owner, std::int64_t begin, std::int64_t end, bool reduced) const;
  void reduce(const Part& part, std::size_t member, std::int64_t begin, std::int64_t end) const;

  CollectiveKind kind_;
  bool wire_bf16_;
  std::size_t members_;
  std::vector<std::int64_t> axis_sizes_;
  std::vector<Part> parts_;
  std::vector<Place> places_;
  std::vector<Span> spans_;
  std::vector<std::size_t> tile_spans_;  // tile t of a member runs spans [tile_spans_[t], tile_spans_[t + 1])
};

}  // namespace dsc
