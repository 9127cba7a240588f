// The rule of support/performed.h, derived here from the model alone.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "compiler/graph/build.h"
#include "compiler/graph/nodes.h"
#include "tests/support/model_builder.h"

namespace dsc::testing {
namespace {

bool differentiable(const Op& op, std::size_t operand) {
  if (op.type == ValueType::integer || op.type == ValueType::boolean) return false;
  if (op.kind == OpKind::stop_gradient || op.kind == OpKind::to_real) return false;
  if (op.kind == OpKind::select) return operand > 0;
  if (op.kind == OpKind::lookup || op.kind == OpKind::cross_entropy) return operand == 0;
  return true;
}

using Key = std::tuple<Pass, std::size_t, int>;

void check(const Model& model, Purpose purpose, bool fuse) {
  Graph graph = build_graph(model, DType::bf16, purpose, FusionOptions{fuse});
  const std::size_t n = model.ops.size();
  std::vector<bool> needed(n), below(n), above(n);
  needed[(purpose == Purpose::sample ? *model.logits : model.loss).index()] = true;
  above[model.loss.index()] = true;
  for (std::size_t i = n; i-- > 0;)
    for (std::size_t j = 0; j < model.ops[i].operands.size(); ++j) {
      const std::size_t x = model.ops[i].operands[j].index();
      if (needed[i]) needed[x] = true;
      if (above[i] && differentiable(model.ops[i], j)) above[x] = true;
    }
  for (std::size_t i = 0; i < n; ++i) {
    below[i] = model.ops[i].kind == OpKind::parameter;
    for (std::size_t j = 0; j < model.ops[i].operands.size(); ++j)
      if (differentiable(model.ops[i], j) && below[model.ops[i].operands[j].index()]) below[i] = true;
  }
  auto wants = [&](std::size_t i) { return purpose == Purpose::train && needed[i] && below[i] && above[i]; };

  std::map<Key, int> expected;
  std::map<std::size_t, std::set<int>> segments;
  for (std::size_t i = 0; i < n; ++i) {
    const Op& op = model.ops[i];
    if (needed[i] && op.kind > OpKind::constant) expected[{Pass::forward, i, 0}] = 1;
    if (!wants(i)) continue;
    if (op.kind != OpKind::parameter) expected[{Pass::total, i, 0}] = 1;
    for (std::size_t j = 0; j < op.operands.size(); ++j) {
      const std::size_t x = op.operands[j].index();
      if (!differentiable(op, j) || !wants(x)) continue;
      expected[{Pass::gradient, i, static_cast<int>(j)}] = 1;
      if (model.ops[x].kind == OpKind::parameter) segments[x].insert(op.segment);
    }
  }
  for (const auto& [op, list] : segments) expected[{Pass::total, op, 0}] = static_cast<int>(list.size());

  std::map<Key, int> found;
  std::map<Key, std::pair<std::size_t, std::size_t>> first;  // step, place within it
  for (std::size_t s = 0; s < graph.steps.size(); ++s)
    for (std::size_t k = 0; k < graph.steps[s].performs.size(); ++k) {
      const Performed& p = graph.steps[s].performs[k];
      if (p.pass == Pass::recompute) {
        EXPECT_TRUE(needed[p.op.index()]);
        continue;
      }
      const Key key{p.pass, p.op.index(), p.operand};
      ++found[key];
      // A parameter has several totals: the last counts.
      if (model.op(p.op).kind == OpKind::parameter) first[key] = {s, k};
      else first.try_emplace(key, s, k);
    }
  for (const auto& [key, count] : expected)
    EXPECT_EQ(found[key], count) << "pass " << static_cast<int>(std::get<0>(key)) << " of " << name_of(model.ops[std::get<1>(key)].kind)
                                 << " o" << std::get<1>(key) << "." << std::get<2>(key);
  for (const auto& [key, count] : found)
    EXPECT_TRUE(count == 0 || expected.count(key)) << "pass " << static_cast<int>(std::get<0>(key)) << " of o" << std::get<1>(key);

  // Order.
  auto before = [&](const Key& a, const Key& b) {
    if (first.count(a) && first.count(b)) {
      EXPECT_LT(first[a], first[b]) << "o" << std::get<1>(a) << " and o" << std::get<1>(b) << " pass " << static_cast<int>(std::get<0>(b));
    }
  };
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < model.ops[i].operands.size(); ++j) {
      const std::size_t x = model.ops[i].operands[j].index();
      const int operand = static_cast<int>(j);
      before({Pass::forward, x, 0}, {Pass::forward, i, 0});
      before({Pass::total, i, 0}, {Pass::gradient, i, operand});
      before({Pass::gradient, i, operand}, {Pass::total, x, 0});
    }
}

TEST(Performs, EveryOpOnceInEveryPass) {
  for (const Model& model : {tiny_gpt2(2), tiny_llama(2), tiny_mixer(2)})
    for (Purpose purpose : {Purpose::train, Purpose::evaluate, Purpose::sample})
      for (bool fuse : {true, false}) check(model, purpose, fuse);
}

}  // namespace
}  // namespace dsc::testing
