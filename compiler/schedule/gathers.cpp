#include "compiler/schedule/gathers.h"

#include <algorithm>
#include <optional>

namespace dsc::local {
namespace {

// One instruction's use of one sharded parameter.
struct Occurrence {
  std::size_t instruction = 0;
  ParameterId parameter{0};
  std::optional<std::size_t> next;  // of the same parameter
  bool kept = false;  // close enough to the one before: the parameter stays gathered in between, if there is room
};

struct Resident {
  bool here = false;
  std::size_t gather = 0;      // the gather that brought it
  std::size_t first = 0;       // the occurrence that it was gathered for
  std::size_t upcoming = 0;    // its next occurrence
  bool used = false;           // since it was gathered
};

class Planner {
 public:
  Planner(const std::vector<Instruction>& instructions, const Partitioned& partitioned, const LayoutSpec& layout)
      : instructions_(instructions), partitioned_(partitioned), layout_(layout), residents_(partitioned.sharded.size()) {
    plan_.served_by.resize(instructions.size());
    list_occurrences();
  }

  GatherPlan run() {
    std::size_t cursor = 0;  // the first occurrence of the instruction at hand
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      std::size_t end = cursor;
      while (end < occurrences_.size() && occurrences_[end].instruction == i) ++end;
      demand(i, cursor, end);
      if (layout_.overlap) prefetch(i, end);
      use(i, cursor, end);
      cursor = end;
    }
    return std::move(plan_);
  }

 private:
  void list_occurrences() {
    std::vector<std::optional<std::size_t>> last(residents_.size());
    std::int64_t total = 0, used_through = 0;
    std::vector<std::int64_t> used_after;   // ... and through it
    for (std::size_t i = 0; i < instructions_.size(); ++i) {
      std::vector<ParameterId> own;
      for (const ParameterRead& read : instructions_[i].reads) {
        if (std::find(own.begin(), own.end(), read.parameter) == own.end()) own.push_back(read.parameter);
      }
      used_through = total;
      for (ParameterId id : own) used_through += elements(id);
      for (ParameterId id : own) {
        const std::size_t index = occurrences_.size();
        Occurrence occurrence{i, id, std::nullopt, false};
        if (std::optional<std::size_t> previous = last[id.index()]) {
          occurrences_[*previous].next = index;
          occurrence.kept = total - used_after[*previous] <= layout_.reuse_distance.value;
        }
        last[id.index()] = index;
        used_after.push_back(used_through);
        occurrences_.push_back(occurrence);
      }
      total = used_through;
    }
  }

  std::int64_t elements(ParameterId id) const { return partitioned_.sharded[id.index()]->whole_elements; }
  const Instruction& instruction_of(std::size_t occurrence) const { return instructions_[occurrences_[occurrence].instruction]; }

  // What the instruction at hand needs and does not have, with what else of its segment fits the bucket.
  void demand(std::size_t i, std::size_t begin, std::size_t end) {
    std::vector<std::size_t> wanted;
    std::int64_t size = 0;
    for (std::size_t o = begin; o < end; ++o) {
      if (residents_[occurrences_[o].parameter.index()].here) continue;
      wanted.push_back(o);
      size += elements(occurrences_[o].parameter);
    }
    if (wanted.empty()) return;
    make_room(i, size);
    extend(wanted, size, end, layout_.bucket.value, layout_.max_live.value - live_);
    issue(i, wanted);
  }

  // Drops parameters that only wait for a later use, the latest first.
  void make_room(std::size_t i, std::int64_t size) {
    while (live_ + size > layout_.max_live.value) {
      Resident* latest = nullptr;
      std::size_t which = 0;
      for (std::size_t p = 0; p < residents_.size(); ++p) {
        Resident& resident = residents_[p];
        if (!resident.here || !resident.used || occurrences_[resident.upcoming].instruction <= i) continue;
        if (latest == nullptr || resident.upcoming > latest->upcoming) latest = &resident, which = p;
      }
      if (latest == nullptr) return;
      latest->here = false;
      live_ -= elements(ParameterId(which));
      // It is to be gathered again before anything that is used after it.
      ahead_cursor_ = std::min(ahead_cursor_, latest->upcoming);
    }
  }

  // Adds the next parameters in order of use, of the same segment and pass, up to the limits.
  void extend(std::vector<std::size_t>& wanted, std::int64_t& size, std::size_t from, std::int64_t bucket, std::int64_t room) const {
    const Instruction& first = instruction_of(wanted.front());
    for (std::size_t o = from; o < occurrences_.size(); ++o) {
      const Instruction& instruction = instruction_of(o);
      if (instruction.segment != first.segment || instruction.backward != first.backward) return;
      const ParameterId id = occurrences_[o].parameter;
      const bool listed = std::any_of(wanted.begin(), wanted.end(), [&](std::size_t w) { return occurrences_[w].parameter == id; });
      if (listed || residents_[id.index()].here) continue;
      const std::int64_t more = size + elements(id);
      if (more > bucket || more > room) return;
      wanted.push_back(o);
      size = more;
    }
  }

  void prefetch(std::size_t i, std::size_t end) {
    ahead_cursor_ = std::max(ahead_cursor_, end);
    for (; ahead_cursor_ < occurrences_.size(); ++ahead_cursor_) {
      const Occurrence& next = occurrences_[ahead_cursor_];
      const Resident& resident = residents_[next.parameter.index()];
      if (resident.here) {
        if (ahead_cursor_ == resident.first || next.kept) continue;
        return;  // here for an earlier use, and not kept until this one
      }
      const std::int64_t room = std::min(layout_.prefetch.value - ahead_, layout_.max_live.value - live_);
      std::vector<std::size_t> wanted = {ahead_cursor_};
      std::int64_t size = elements(next.parameter);
      // A whole bucket or nothing, so that a little room does not become many little gathers.
      extend(wanted, size, ahead_cursor_ + 1, layout_.bucket.value, ahead_ == 0 ? room : layout_.bucket.value);
      if (size > room) return;
      issue(i, wanted);
    }
  }

  void issue(std::size_t i, const std::vector<std::size_t>& wanted) {
    Gather gather;
    gather.before = i;
    gather.backward = instruction_of(wanted.front()).backward;
    for (std::size_t o : wanted) {
      const ParameterId id = occurrences_[o].parameter;
      gather.parameters.push_back(id);
      residents_[id.index()] = {true, plan_.gathers.size(), o, o, false};
      live_ += elements(id);
      ahead_ += elements(id);
    }
    plan_.gathers.push_back(std::move(gather));
  }

  void use(std::size_t i, std::size_t begin, std::size_t end) {
    for (const ParameterRead& read : instructions_[i].reads) plan_.served_by[i].push_back(residents_[read.parameter.index()].gather);
    for (std::size_t o = begin; o < end; ++o) {
      Resident& resident = residents_[occurrences_[o].parameter.index()];
      if (!resident.used) ahead_ -= elements(occurrences_[o].parameter);
      resident.used = true;
      const std::optional<std::size_t> next = occurrences_[o].next;
      if (next && occurrences_[*next].kept) {
        resident.upcoming = *next;
      } else {
        resident.here = false;
        live_ -= elements(occurrences_[o].parameter);
      }
    }
  }

  const std::vector<Instruction>& instructions_;
  const Partitioned& partitioned_;
  const LayoutSpec& layout_;
  std::vector<Occurrence> occurrences_;  // in the order of the instructions
  std::vector<Resident> residents_;      // by ParameterId
  std::int64_t live_ = 0;                // elements gathered and not released
  std::int64_t ahead_ = 0;               // of those, elements not used yet
  std::size_t ahead_cursor_ = 0;
  GatherPlan plan_;
};

}  // namespace

GatherPlan plan_gathers(const std::vector<Instruction>& instructions, const Partitioned& partitioned, const LayoutSpec& layout) {
  return Planner(instructions, partitioned, layout).run();
}

}  // namespace dsc::local
