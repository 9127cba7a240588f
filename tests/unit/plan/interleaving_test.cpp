// The verdict on races against every interleaving: tiny sections over two engines are run in all orders that engines and
// waits allow, on a memory that records for every read who wrote what it read and for every write whose it overwrote. The
// verifier reports a race exactly if two orders differ.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>
#include <set>

#include "compiler/plan/verify.h"
#include "compiler/support/kernel_workspace.h"
#include "tests/unit/plan/tiny_plan.h"

namespace dsc::testing {
namespace {

struct Step {
  bool storage = false;         // else compute
  int read = -1, write = 0;     // blocks of the arena
  std::vector<int> waits;
};

// What a run observed: per step the writer of what it read and of what it overwrote.
std::set<std::vector<int>> outcomes(const std::vector<Step>& steps, int blocks) {
  std::set<std::vector<int>> found;
  int n = static_cast<int>(steps.size());
  std::vector<bool> started(n, false), ended(n, false);
  std::vector<int> observed(n, -1), overwrote(n, -1);
  // A step reads when it starts and writes when it ends; another may run in between.
  std::vector<int> memory(blocks, -1);
  std::function<void(int)> run = [&](int left) {
    if (left == 0) {
      std::vector<int> outcome = observed;
      outcome.insert(outcome.end(), overwrote.begin(), overwrote.end());
      found.insert(outcome);
      return;
    }
    for (int i = 0; i < n; ++i) {
      if (ended[i]) continue;
      if (!started[i]) {
        bool ready = true;
        for (int j = 0; j < i; ++j) ready = ready && (steps[j].storage != steps[i].storage || ended[j]);
        for (int wait : steps[i].waits) ready = ready && ended[wait];
        if (!ready) continue;
        started[i] = true;
        int before = observed[i];
        if (steps[i].read >= 0) observed[i] = memory[steps[i].read];
        run(left);
        observed[i] = before;
        started[i] = false;
      } else {
        int before = memory[steps[i].write], seen = observed[i];
        // The read lasts until the end: what is there now is what it may have seen of a write in between.
        if (steps[i].read >= 0 && memory[steps[i].read] != observed[i]) observed[i] = -2 - memory[steps[i].read];
        overwrote[i] = before;
        memory[steps[i].write] = i;
        ended[i] = true;
        run(left - 1);
        ended[i] = false;
        memory[steps[i].write] = before;
        observed[i] = seen;
      }
    }
  };
  run(n);
  return found;
}

Plan plan_of(const std::vector<Step>& steps, int blocks) {
  Plan plan = tiny_plan({});
  plan.programs.clear();
  plan.buffers.clear();
  for (int b = 0; b < blocks; ++b) {
    Buffer buffer;
    buffer.type = DType::i32;
    buffer.elements = 16;
    buffer.bytes = Bytes(64);
    buffer.offset = Bytes(64 * b);
    plan.buffers.push_back(buffer);
  }
  Section section{"only", 0, 1, {}};
  for (const Step& step : steps) {
    Instruction instruction;
    instruction.engine = step.storage ? Engine::storage : Engine::compute;
    auto use = [&](int block) { return BufferUse{BufferId(static_cast<std::size_t>(block)), Bytes(0), Bytes(0), Bytes(64)}; };
    MapSpec map;
    map.inner = {16};
    if (step.read >= 0) {
      map.inputs = {{DType::i32, {1}, 0, {}}};
      instruction.inputs = {use(step.read)};
    }
    map.outputs = {{DType::i32, {1}, 0, false}};
    map.program = {1, {step.read >= 0 ? MapInstruction{MapOpcode::load, 0, -1, -1, -1, 0} : MapInstruction{MapOpcode::constant, 0}, {MapOpcode::store, -1, 0, -1, -1, 0}}};
    instruction.op = KernelSpec(map);
    instruction.outputs = {use(step.write)};
    instruction.waits = step.waits;
    section.instructions.push_back(instruction);
  }
  plan.programs.push_back({"step", {section}});
  settle(plan);
  return plan;
}

TEST(Interleaving, RaceIsReportedExactlyWhereOrdersDiffer) {
  std::mt19937 random(20);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int races = 0, ordered = 0;
  for (int trial = 0; trial < 1500; ++trial) {
    int n = 3 + below(3), blocks = 2 + below(3);
    std::vector<Step> steps;
    for (int i = 0; i < n; ++i) {
      Step step;
      step.storage = below(2) == 1;
      step.write = below(blocks);
      do step.read = below(blocks + 1) - 1; while (step.read == step.write);
      for (int j = 0; j < i; ++j)
        if (steps[j].storage != step.storage && below(2) == 0) step.waits.push_back(j);
      steps.push_back(step);
    }
    VerifyReport report = verify(plan_of(steps, blocks));
    bool race = false;
    for (const VerifyError& error : report.errors) race = race || error.kind == VerifyErrorKind::race;
    bool differs = outcomes(steps, blocks).size() > 1;
    ASSERT_EQ(race, differs) << "trial " << trial;
    ++(race ? races : ordered);
  }
  EXPECT_GT(races, 200);
  EXPECT_GT(ordered, 200);
}

// A wait is redundant exactly if the orders without it are the same set of pairs "ended before started".
TEST(Interleaving, WaitIsRedundantExactlyWhereItOrdersNothingNew) {
  std::mt19937 random(21);
  auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int redundant = 0, needed = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    int n = 3 + below(4);
    std::vector<Step> steps;
    for (int i = 0; i < n; ++i) {
      Step step;
      step.storage = below(2) == 1;
      for (int j = 0; j < i; ++j)
        if (steps[j].storage != step.storage && below(3) == 0) step.waits.push_back(j);
      steps.push_back(step);
    }
    auto closure = [&](const std::vector<Step>& s) {
      std::vector<std::set<int>> before(s.size());
      for (std::size_t i = 0; i < s.size(); ++i) {
        auto after = [&](int j) { before[i].insert(j); before[i].insert(before[j].begin(), before[j].end()); };
        for (std::size_t j = 0; j < i; ++j) if (s[j].storage == s[i].storage) after(static_cast<int>(j));
        for (int wait : s[i].waits) after(wait);
      }
      return before;
    };
    bool any = false;
    for (std::size_t i = 0; i < steps.size(); ++i)
      for (std::size_t w = 0; w < steps[i].waits.size(); ++w) {
        std::vector<Step> without = steps;
        without[i].waits.erase(without[i].waits.begin() + static_cast<long>(w));
        any = any || closure(without) == closure(steps);
      }
    VerifyReport report = verify(plan_of(steps, 2));
    bool reported = false;
    for (const VerifyError& error : report.errors) reported = reported || error.kind == VerifyErrorKind::redundant_wait;
    ASSERT_EQ(reported, any) << "trial " << trial;
    ++(any ? redundant : needed);
  }
  EXPECT_GT(redundant, 100);
  EXPECT_GT(needed, 100);
}

}  // namespace
}  // namespace dsc::testing
