#include "compiler/schedule/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/unit/lowering/toy.h"

namespace dsc::local {
namespace {

bool is_gather(const Scheduled& s, const ScheduledInstruction& i) {
  const auto* collective = std::get_if<Collective>(&i.instruction.op);
  return collective && s.buffers[collective->parts[0].to.buffer.index()].role == BufferRole::gathered;
}

template <class F>
void each_section(const Scheduled& scheduled, F f) {
  for (const ScheduledProgram& program : scheduled.programs) {
    for (const ScheduledSection& section : program.sections) f(section);
  }
}

// Which instructions have ended when each starts, leaving out one wait.
std::set<int> ended_before(const ScheduledSection& section, int instruction, int without) {
  std::set<int> ended;
  std::vector<int> open = {instruction};
  bool start = true;
  while (!open.empty()) {
    const int i = open.back();
    open.pop_back();
    for (int j = i - 1; j >= 0; --j) {
      if (section.instructions[j].instruction.engine != section.instructions[i].instruction.engine) continue;
      if (ended.insert(j).second) open.push_back(j);
      break;
    }
    for (int wait : section.instructions[i].waits) {
      if (start && wait == without) continue;
      if (ended.insert(wait).second) open.push_back(wait);
    }
    start = false;
  }
  return ended;
}

TEST(Schedule, ReadsAreServedByGathersOfTheirParameter) {
  const toy::Toy toy = toy::make({});
  const LayoutSpec layout = toy::layout(4, 3, 2);
  const Partitioned p = toy::partitioned(toy, layout);
  const Scheduled s = schedule(p, layout);
  int gathers = 0;
  each_section(s, [&](const ScheduledSection& section) {
    std::set<std::size_t> here;
    for (const ScheduledInstruction& i : section.instructions) {
      for (const ParameterRead& read : i.instruction.reads) {
        const Buffer& buffer = s.buffers[i.instruction.inputs[read.input].buffer.index()];
        EXPECT_EQ(buffer.role, BufferRole::gathered);
        EXPECT_EQ(buffer.parameter, read.parameter);
        EXPECT_TRUE(here.count(i.instruction.inputs[read.input].buffer.index())) << i.instruction.name;
      }
      if (!is_gather(s, i)) continue;
      ++gathers;
      for (const CollectivePart& part : std::get<Collective>(i.instruction.op).parts) {
        EXPECT_TRUE(here.insert(part.to.buffer.index()).second) << "gathered twice into one buffer";
        EXPECT_EQ(part.piece_elements * 4, s.buffers[part.to.buffer.index()].elements);
      }
    }
  });
  EXPECT_GT(gathers, 0);
}

// Elements gathered at each instruction, with a buffer live from its gather to its last read.
std::vector<std::int64_t> live_gathered(const Scheduled& s, const ScheduledSection& section) {
  std::map<std::size_t, std::pair<int, int>> spans;
  for (int i = 0; i < static_cast<int>(section.instructions.size()); ++i) {
    const Instruction& instruction = section.instructions[i].instruction;
    if (is_gather(s, section.instructions[i])) {
      for (const CollectivePart& part : std::get<Collective>(instruction.op).parts) spans[part.to.buffer.index()] = {i, i};
    }
    for (const ParameterRead& read : instruction.reads) spans[instruction.inputs[read.input].buffer.index()].second = i;
  }
  std::vector<std::int64_t> live(section.instructions.size(), 0);
  for (const auto& [buffer, span] : spans) {
    for (int i = span.first; i <= span.second; ++i) live[static_cast<std::size_t>(i)] += s.buffers[buffer].elements;
  }
  return live;
}

TEST(Schedule, GatheredParametersStayWithinMaxLive) {
  const toy::Toy toy = toy::make({.layers = 5});
  LayoutSpec layout = toy::layout(4, 3, 4);
  const Partitioned p = toy::partitioned(toy, layout);
  // wte alone has 600.
  for (std::int64_t max_live : {0, 600, 700, 840, 1000, 1300, 5000}) {
    for (std::int64_t bucket : {1, 300, 600, 100000}) {
      for (std::int64_t prefetch : {0, 250, 700, 100000}) {
        for (std::int64_t reuse : {0, 100, 500, 2000, 100000}) {
          layout.max_live = Elements(max_live), layout.bucket = Elements(bucket);
          layout.prefetch = Elements(prefetch), layout.reuse_distance = Elements(reuse);
          const Scheduled s = schedule(p, layout);
          each_section(s, [&](const ScheduledSection& section) {
            for (std::int64_t live : live_gathered(s, section)) ASSERT_LE(live, std::max<std::int64_t>(max_live, 600));
          });
        }
      }
    }
  }
}

int gathers_in(const Scheduled& s, const ScheduledSection& section) {
  return static_cast<int>(std::count_if(section.instructions.begin(), section.instructions.end(), [&](const auto& i) { return is_gather(s, i); }));
}

TEST(Schedule, ReuseDistanceSavesTheSecondGather) {
  const toy::Toy toy = toy::make({});
  LayoutSpec layout = toy::layout(4, 3, 4);
  layout.bucket = Elements(1);
  const Partitioned p = toy::partitioned(toy, layout);
  layout.reuse_distance = Elements(0);
  const Scheduled none = schedule(p, layout);
  // Forward: the table, three parameters a block, the table again for the head; backward: three a block. The last `down` of
  // the forward pass and the first of the backward pass have the head between them.
  EXPECT_EQ(gathers_in(none, none.programs[0].sections[0]), 1 + 9 + 1 + 9);
  layout.reuse_distance = Elements(1'000'000);
  const Scheduled all = schedule(p, layout);
  EXPECT_EQ(gathers_in(all, all.programs[0].sections[0]), 10);
  // Not beyond what may be live.
  layout.max_live = Elements(700);
  const Scheduled capped = schedule(p, layout);
  EXPECT_GT(gathers_in(capped, capped.programs[0].sections[0]), 10);
}

TEST(Schedule, PrefetchStandsBeforeTheUseAheadOfIt) {
  const toy::Toy toy = toy::make({});
  LayoutSpec layout = toy::layout(4, 3, 4);
  const Partitioned p = toy::partitioned(toy, layout);
  const auto distance = [&](std::int64_t prefetch, bool overlap) {
    layout.prefetch = Elements(prefetch);
    layout.overlap = overlap;
    const Scheduled s = schedule(p, layout);
    const std::vector<ScheduledInstruction>& list = s.programs[0].sections[0].instructions;
    int compute_between = -1;
    for (const ScheduledInstruction& i : list) {
      if (is_gather(s, i) && compute_between < 0) {
        for (const CollectivePart& part : std::get<Collective>(i.instruction.op).parts) {
          if (s.buffers[part.to.buffer.index()].parameter == ParameterId(5)) compute_between = 0;  // block[1].up
        }
      } else if (compute_between >= 0 && i.instruction.engine == Engine::compute) {
        if (i.instruction.name == "block[1].up") return compute_between;
        ++compute_between;
      }
    }
    return -1;
  };
  EXPECT_EQ(distance(0, true), 1);  // in the bucket of block[1].norm, just before it
  EXPECT_EQ(distance(600, true), 2);  // before block[0].down: only then is there room for the whole bucket
  EXPECT_GE(distance(900, true), 3);
  EXPECT_EQ(distance(600, false), 1);
}

TEST(Schedule, ReductionsFollowTheirLastGradient) {
  const toy::Toy toy = toy::make({});
  for (int stage : {0, 1, 2, 3}) {
    for (std::int64_t bucket : {1, 500, 100000}) {
      LayoutSpec layout = toy::layout(4, stage, 4);
      layout.bucket = Elements(bucket);
      const Scheduled s = schedule(toy::partitioned(toy, layout), layout);
      std::set<std::size_t> reduced;
      int buckets = 0, norms = 0;
      const std::vector<ScheduledInstruction>& list = s.programs[0].sections[0].instructions;
      for (const ScheduledInstruction& i : list) {
        const auto* collective = std::get_if<Collective>(&i.instruction.op);
        if (collective && collective->kind != CollectiveKind::all_gather) {
          ++buckets;
          EXPECT_EQ(collective->kind, stage == 0 ? CollectiveKind::all_reduce : CollectiveKind::reduce_scatter);
          for (const CollectivePart& part : collective->parts) EXPECT_TRUE(reduced.insert(part.from.buffer.index()).second);
        }
        // No gradient is written after it went out.
        for (const Use& use : i.instruction.outputs) {
          if (s.buffers[use.buffer.index()].role == BufferRole::gradient) EXPECT_FALSE(reduced.count(use.buffer.index())) << i.instruction.name;
        }
        norms += i.instruction.name.rfind("squares", 0) == 0;
        if (norms > 0) EXPECT_EQ(reduced.size(), 10u);
      }
      EXPECT_EQ(norms, 10);
      EXPECT_EQ(buckets, bucket == 1 ? 10 : bucket == 100000 ? 1 : 4);
    }
  }
}

TEST(Schedule, Stage1KeepsWholeGradientsButDoesNotHoldThemBack) {
  const toy::Toy toy = toy::make({});
  const LayoutSpec layout = toy::layout(4, 1, 4);
  const Scheduled s = schedule(toy::partitioned(toy, layout), layout);
  const ScheduledSection& section = s.programs[0].sections[0];
  const auto place = [&](const std::string& name) {
    for (int i = 0; i < static_cast<int>(section.instructions.size()); ++i) {
      if (section.instructions[static_cast<std::size_t>(i)].instruction.name.rfind(name, 0) == 0) return i;
    }
    return -1;
  };
  const int reduce = place("reduce"), last = place("embed.dw"), first = place("block[2].down.dw");
  ASSERT_GT(reduce, last);
  ASSERT_GE(first, 0);
  const std::vector<int>& waits = section.instructions[static_cast<std::size_t>(reduce)].waits;
  ASSERT_EQ(waits.size(), 1u);
  EXPECT_LT(waits[0], last);  // it starts long before the place where it stands
}

TEST(Schedule, NoWaitIsImpliedByTheOthers) {
  const toy::Toy toy = toy::make({});
  for (bool overlap : {true, false}) {
    LayoutSpec layout = toy::layout(4, 3, 2);
    layout.overlap = overlap;
    const Scheduled s = schedule(toy::partitioned(toy, layout), layout);
    int waits = 0;
    each_section(s, [&](const ScheduledSection& section) {
      for (int i = 0; i < static_cast<int>(section.instructions.size()); ++i) {
        for (int wait : section.instructions[static_cast<std::size_t>(i)].waits) {
          ++waits;
          ASSERT_LT(wait, i);
          ASSERT_NE(section.instructions[static_cast<std::size_t>(wait)].instruction.engine, section.instructions[static_cast<std::size_t>(i)].instruction.engine);
          EXPECT_FALSE(ended_before(section, i, wait).count(wait)) << section.instructions[static_cast<std::size_t>(i)].instruction.name;
        }
      }
    });
    EXPECT_GT(waits, 0);
  }
}

TEST(Schedule, OverlapOffRunsOneAfterTheOther) {
  const toy::Toy toy = toy::make({});
  LayoutSpec layout = toy::layout(4, 3, 2);
  layout.overlap = false;
  const Scheduled s = schedule(toy::partitioned(toy, layout), layout);
  each_section(s, [&](const ScheduledSection& section) {
    for (int i = 0; i < static_cast<int>(section.instructions.size()); ++i) {
      const std::set<int> ended = ended_before(section, i, -1);
      for (int j = 0; j < i; ++j) {
        const Engine a = section.instructions[static_cast<std::size_t>(i)].instruction.engine, b = section.instructions[static_cast<std::size_t>(j)].instruction.engine;
        if (a == Engine::communication || b == Engine::communication) EXPECT_TRUE(ended.count(j)) << i << " beside " << j;
      }
    }
  });
}

}  // namespace
}  // namespace dsc::local
