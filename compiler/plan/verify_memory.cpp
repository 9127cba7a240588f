// Lifetimes from first write to last access in each program's order, and what follows from them: no two live buffers share
// a byte, every read has a write before it, the lower bound, the peak, gathered parameters released in time.
#include <algorithm>
#include <map>
#include <set>

#include "compiler/plan/verify_context.h"

namespace dsc::verifying {
namespace {

using Kind = VerifyErrorKind;

struct Lifetime {
  std::int64_t first = -1, last = -1;  // positions in the program, inclusive; -1: not used
  int sections = 0;                    // in how many it is used
  int section = -1;                    // the last of these
};

// Positions count instructions over all sections of the program.
std::vector<Lifetime> lifetimes(const Context& context, std::size_t p, std::int64_t& length) {
  const Program& program = context.plan.programs[p];
  std::vector<Lifetime> lives(context.plan.buffers.size());
  std::int64_t start = 0;
  for (std::size_t s = 0; s < context.facts[p].size(); ++s) {
    std::int64_t size = static_cast<std::int64_t>(context.facts[p][s].size());
    for (std::int64_t i = 0; i < size; ++i) {
      for (const Access& access : context.facts[p][s][i].accesses) {
        Lifetime& life = lives[access.buffer.index()];
        bool first_in_section = life.section != static_cast<int>(s);
        if (life.first < 0) life.first = access.read ? 0 : start + i;  // a first read: what was there when the program began
        life.last = std::max(life.last, start + i);
        if (first_in_section) {
          life.section = static_cast<int>(s);
          ++life.sections;
          // Read before it is written in an iteration: carried from one iteration to the next.
          if (access.read && program.sections[s].iterations > 1) {
            life.first = std::min(life.first, start);
            life.last = std::max(life.last, start + size - 1);
          }
        }
      }
    }
    start += size;
  }
  length = start;
  for (std::size_t b = 0; b < lives.size(); ++b) {
    const Buffer& buffer = context.plan.buffers[b];
    if (buffer.persistent) {
      lives[b].first = 0;
      lives[b].last = std::max<std::int64_t>(0, length - 1);
    } else if (lives[b].first >= 0 && is_result(context, program, buffer)) {
      lives[b].last = length - 1;
    }
  }
  return lives;
}

void check_overlaps(const Context& context, std::size_t p, const std::vector<Lifetime>& lives) {
  struct Event { std::int64_t position; bool start; std::size_t buffer; };
  std::vector<Event> events;
  for (std::size_t b = 0; b < lives.size(); ++b) {
    if (lives[b].first < 0 || context.plan.buffers[b].bytes.value == 0) continue;
    events.push_back({lives[b].first, true, b});
    events.push_back({lives[b].last + 1, false, b});
  }
  std::sort(events.begin(), events.end(), [](const Event& x, const Event& y) {
    return std::tuple(x.position, x.start, x.buffer) < std::tuple(y.position, y.start, y.buffer);
  });
  std::map<std::int64_t, std::size_t> live;  // by offset
  std::vector<bool> in(lives.size(), false);
  for (const Event& event : events) {
    const Buffer& buffer = context.plan.buffers[event.buffer];
    std::int64_t begin = buffer.offset.value, end = begin + buffer.bytes.value;
    if (!event.start) {
      if (in[event.buffer]) live.erase(begin);
      continue;
    }
    auto next = live.lower_bound(begin);
    std::optional<std::size_t> other;
    if (next != live.end() && next->first < end) other = next->second;
    if (next != live.begin()) {
      const Buffer& before = context.plan.buffers[std::prev(next)->second];
      if (before.offset.value + before.bytes.value > begin) other = std::prev(next)->second;
    }
    if (other) {
      context.fail(Kind::overlapping_lifetimes, {static_cast<int>(p), -1, -1},
                   buffer.name + " and " + context.plan.buffers[*other].name + " are live together and share bytes from " +
                       std::to_string(std::max(begin, context.plan.buffers[*other].offset.value)), BufferId(event.buffer));
    } else {
      live.emplace(begin, event.buffer);
      in[event.buffer] = true;
    }
  }
}

std::int64_t greatest_live_sum(const Context& context, const std::vector<Lifetime>& lives, std::int64_t length) {
  std::vector<std::int64_t> delta(static_cast<std::size_t>(length) + 2, 0);
  for (std::size_t b = 0; b < lives.size(); ++b) {
    if (lives[b].first < 0) continue;
    std::int64_t bytes = align_up(context.plan.buffers[b].bytes, context.plan.target.alignment).value;
    delta[lives[b].first] += bytes;
    delta[lives[b].last + 1] -= bytes;
  }
  std::int64_t sum = 0, greatest = 0;
  for (std::int64_t d : delta) greatest = std::max(greatest, sum += d);
  return greatest;
}

// ZeRO-3: what is gathered at any place is within max_live, or is what one instruction needs; and none outlives its section.
void check_gathered(const Context& context, std::size_t p, const std::vector<Lifetime>& lives) {
  struct Event { std::int64_t position; bool start; std::size_t buffer; };
  std::vector<Event> events;
  auto elements = [&](std::size_t b) {
    const Buffer& buffer = context.plan.buffers[b];
    return buffer.parameter ? element_count(context.model, *buffer.parameter) : buffer.elements;
  };
  for (std::size_t b = 0; b < lives.size(); ++b) {
    if (context.plan.buffers[b].role != BufferRole::gathered || lives[b].first < 0) continue;
    if (lives[b].sections > 1)
      context.fail(Kind::gathered_not_released, {static_cast<int>(p), -1, -1}, "is used in " + std::to_string(lives[b].sections) + " sections: it is to be gathered in each", BufferId(b));
    events.push_back({lives[b].first, true, b});
    events.push_back({lives[b].last + 1, false, b});
  }
  if (events.empty()) return;
  std::sort(events.begin(), events.end(), [](const Event& x, const Event& y) { return std::tuple(x.position, x.start, x.buffer) < std::tuple(y.position, y.start, y.buffer); });
  // What each instruction touches of it.
  std::map<std::size_t, std::vector<std::set<std::size_t>>> users;
  for (const auto& section : context.facts[p])
    for (const InstructionFacts& facts : section) {
      std::set<std::size_t> touched;
      for (const Access& access : facts.accesses)
        if (context.buffer(access.buffer).role == BufferRole::gathered) touched.insert(access.buffer.index());
      for (std::size_t b : touched) users[b].push_back(touched);
    }
  std::set<std::size_t> live;
  __int128 sum = 0;
  for (const Event& event : events) {
    if (!event.start) {
      live.erase(event.buffer);
      sum -= elements(event.buffer);
      continue;
    }
    live.insert(event.buffer);
    sum += elements(event.buffer);
    if (sum <= context.contract.layout.max_live.value) continue;
    bool needed_at_once = false;
    for (const std::set<std::size_t>& touched : users[event.buffer])
      needed_at_once = needed_at_once || std::includes(touched.begin(), touched.end(), live.begin(), live.end());
    if (!needed_at_once)
      context.fail(Kind::gathered_not_released, {static_cast<int>(p), -1, -1}, std::to_string(static_cast<std::int64_t>(sum)) + " elements are gathered at once, max_live is " +
                   std::to_string(context.contract.layout.max_live.value), BufferId(event.buffer));
  }
}

// The bytes of a buffer that have been written.
class Written {
 public:
  void add(const Access& access) {
    if (access.stride != 0) {
      own_.insert({access.begin, access.stride, access.width});
      return;
    }
    auto it = runs_.upper_bound(access.begin);
    std::int64_t begin = access.begin, end = access.end;
    if (it != runs_.begin() && std::prev(it)->second >= begin) --it;
    while (it != runs_.end() && it->first <= end) {
      begin = std::min(begin, it->first);
      end = std::max(end, it->second);
      it = runs_.erase(it);
    }
    runs_[begin] = end;
  }
  bool covers(const Access& access) const {
    if (access.stride != 0 && own_.count({access.begin, access.stride, access.width})) return true;
    auto it = runs_.upper_bound(access.begin);
    return it != runs_.begin() && std::prev(it)->second >= access.end;
  }

 private:
  std::map<std::int64_t, std::int64_t> runs_;                               // begin -> end, apart from each other
  std::set<std::tuple<std::int64_t, std::int64_t, std::int64_t>> own_;      // strided: this rank's part
};

void check_reads(const Context& context, std::size_t p) {
  std::vector<Written> written(context.plan.buffers.size());
  bool sample = context.plan.programs[p].name == "sample";
  for (std::size_t b = 0; b < written.size(); ++b) {
    const Buffer& buffer = context.plan.buffers[b];
    if (!buffer.persistent && !(sample && buffer.role == BufferRole::tokens)) continue;
    Access all{.buffer = BufferId(b), .end = buffer.bytes.value};
    written[b].add(all);
  }
  for (std::size_t s = 0; s < context.facts[p].size(); ++s)
    for (std::size_t i = 0; i < context.facts[p][s].size(); ++i) {
      for (const Access& access : context.facts[p][s][i].accesses)
        if (access.read && !access.table && !written[access.buffer.index()].covers(access))
          context.fail(Kind::read_before_write, {static_cast<int>(p), static_cast<int>(s), static_cast<int>(i)},
                       "reads bytes " + std::to_string(access.begin) + " to " + std::to_string(access.end) + " of " + context.name(access.buffer) +
                           ", which nothing has written", access.buffer);
      for (const Access& access : context.facts[p][s][i].accesses)
        if (access.defines) written[access.buffer.index()].add(access);
    }
}

void check_summary(const Context& context, std::int64_t lower_bound) {
  const MemorySummary& memory = context.plan.memory;
  std::int64_t packed = 0, persistent = 0;
  for (const Buffer& buffer : context.plan.buffers) {
    packed = std::max(packed, buffer.offset.value + buffer.bytes.value);
    if (buffer.persistent && buffer.role != BufferRole::state) persistent += buffer.bytes.value;
  }
  context.report.peak = align_up(Bytes(packed), context.plan.target.alignment);
  context.report.lower_bound = Bytes(lower_bound);
  auto same = [&](const char* what, Bytes stated, std::int64_t found) {
    if (stated.value != found)
      context.fail(Kind::memory_summary, {}, std::string(what) + " is stated as " + std::to_string(stated.value) + " bytes and is " + std::to_string(found));
  };
  if (memory.packed.value != align_up(Bytes(packed), context.plan.target.alignment).value) same("the highest byte in use", memory.packed, packed);
  same("the arena in whole pages", memory.device_arena, align_up(memory.packed, context.plan.target.page).value);
  same("the lower bound", memory.lower_bound, lower_bound);
  same("what persists", memory.persistent, persistent);
  same("the host arena", memory.host_arena, 0);
  same("the storage file", memory.storage, 0);
}

}  // namespace

void check_memory_use(Context& context) {
  std::int64_t lower_bound = 0;
  for (std::size_t p = 0; p < context.plan.programs.size(); ++p) {
    std::int64_t length = 0;
    std::vector<Lifetime> lives = lifetimes(context, p, length);
    check_overlaps(context, p, lives);
    check_gathered(context, p, lives);
    check_reads(context, p);
    lower_bound = std::max(lower_bound, greatest_live_sum(context, lives, length));
  }
  check_summary(context, lower_bound);
}

}  // namespace dsc::verifying
