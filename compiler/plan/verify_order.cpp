// Happens-before within one iteration of a section: engine order and waits. All engines join at the end of an iteration, so
// nothing is left to order between iterations. Every pair of conflicting accesses must be ordered; no wait may be implied.
//
// Other ranks touch this rank's memory only during a collective that this rank is in: no member starts before all have
// started and none ends before all have read. So a collective's own accesses stand for theirs.
#include <algorithm>
#include <array>
#include <map>

#include "compiler/plan/verify_context.h"

namespace dsc::verifying {
namespace {

using Kind = VerifyErrorKind;
constexpr int kEngines = 3;
using Clock = std::array<int, kEngines>;  // per engine: the last instruction that has ended; -1: none

struct SectionOrder {
  std::vector<Clock> before;  // per instruction: what has ended when it starts

  // Whether `earlier`, of engine e, has ended when `later` starts.
  bool ordered(int earlier, int engine, int later) const { return before[later][engine] >= earlier; }
};

SectionOrder order_of(const Context& context, Context::At at, const Section& section) {
  SectionOrder order;
  order.before.resize(section.instructions.size());
  std::array<int, kEngines> last = {-1, -1, -1};
  auto join = [&](Clock& clock, int instruction) {
    int engine = static_cast<int>(section.instructions[instruction].engine);
    for (int e = 0; e < kEngines; ++e) clock[e] = std::max(clock[e], order.before[instruction][e]);
    clock[engine] = std::max(clock[engine], instruction);
  };
  for (int i = 0; i < static_cast<int>(section.instructions.size()); ++i) {
    at.instruction = i;
    const Instruction& instruction = section.instructions[i];
    int engine = static_cast<int>(instruction.engine);
    Clock own = {-1, -1, -1};
    if (last[engine] >= 0) join(own, last[engine]);
    std::array<int, kEngines> waits = {-1, -1, -1};  // the latest of each engine: an earlier one is implied
    for (int wait : instruction.waits) {
      if (wait >= i || section.instructions[wait].engine == instruction.engine) {
        context.fail(Kind::bad_wait, at, "waits for instruction " + std::to_string(wait) + (wait >= i ? ", which is not before it" : " of its own engine"));
        continue;
      }
      int& latest = waits[static_cast<int>(section.instructions[wait].engine)];
      if (latest >= 0) context.fail(Kind::redundant_wait, at, "waits for " + std::to_string(std::min(latest, wait)) + " and, on the same engine, for " + std::to_string(std::max(latest, wait)));
      latest = std::max(latest, wait);
    }
    Clock all = own;
    for (int e = 0; e < kEngines; ++e) {
      if (waits[e] < 0) continue;
      Clock others = own;
      for (int f = 0; f < kEngines; ++f)
        if (f != e && waits[f] >= 0) join(others, waits[f]);
      if (others[e] >= waits[e]) context.fail(Kind::redundant_wait, at, "the wait for " + std::to_string(waits[e]) + " is implied by the others and by engine order");
      join(all, waits[e]);
    }
    order.before[i] = all;
    last[engine] = i;
  }
  return order;
}

// The last accesses to a run of bytes: the last write, and per engine the last read since.
struct Last {
  int write = -1;
  std::array<int, kEngines> read = {-1, -1, -1};
};

class ByteRuns {
 public:
  // Calls f(Last&) for the runs that make up [begin, end).
  template <class F>
  void visit(std::int64_t begin, std::int64_t end, F f) {
    split(begin);
    split(end);
    for (auto it = runs_.lower_bound(begin); it != runs_.end() && it->first < end; ++it) f(it->second);
  }
  void assign(std::int64_t begin, std::int64_t end, Last last) {
    auto from = runs_.lower_bound(begin), to = runs_.lower_bound(end);
    runs_.erase(from, to);
    runs_[begin] = last;
  }
  ByteRuns() { runs_[0] = {}; }

 private:
  void split(std::int64_t at) {
    auto it = std::prev(runs_.upper_bound(at));
    if (it->first != at) runs_.emplace_hint(std::next(it), at, it->second);
  }
  std::map<std::int64_t, Last> runs_;  // by first byte, up to the next run
};

void check_races(const Context& context, Context::At at, const Section& section, const std::vector<InstructionFacts>& facts, const SectionOrder& order) {
  ByteRuns bytes;
  auto engine_of = [&](int instruction) { return static_cast<int>(section.instructions[instruction].engine); };
  for (int i = 0; i < static_cast<int>(facts.size()); ++i) {
    at.instruction = i;
    int reported = -1;
    auto need = [&](int earlier, const Access& access) {
      if (earlier < 0 || earlier == i || earlier == reported || engine_of(earlier) == engine_of(i) || order.ordered(earlier, engine_of(earlier), i)) return;
      reported = earlier;
      context.fail(Kind::race, at, "touches " + context.name(access.buffer) + " while instruction " + std::to_string(earlier) + " (" +
                                       section.instructions[earlier].name + ") on the " + name_of(section.instructions[earlier].engine) +
                                       " engine may still use its bytes", access.buffer);
    };
    // Reads first, so that an instruction's own write does not hide them.
    for (bool write : {false, true}) {
      for (const Access& access : facts[i].accesses) {
        if (access.begin == access.end || (write ? !access.write : !access.read)) continue;
        std::int64_t begin = context.buffer(access.buffer).offset.value + access.begin, end = begin + access.end - access.begin;
        bytes.visit(begin, end, [&](Last& last) {
          need(last.write, access);
          if (write) {
            for (int read : last.read) need(read, access);
          } else {
            last.read[engine_of(i)] = i;
          }
        });
        if (write) bytes.assign(begin, end, Last{.write = i});
      }
    }
  }
}

}  // namespace

void check_order(Context& context) {
  for (std::size_t p = 0; p < context.facts.size(); ++p)
    for (std::size_t s = 0; s < context.facts[p].size(); ++s) {
      const Section& section = context.plan.programs[p].sections[s];
      Context::At at{static_cast<int>(p), static_cast<int>(s), -1};
      SectionOrder order = order_of(context, at, section);
      check_races(context, at, section, context.facts[p][s], order);
    }
}

}  // namespace dsc::verifying
