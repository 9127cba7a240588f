// Real models through all stages, under every kind of layout: the verifier, who shares nothing with the stages, agrees.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "compiler/emit/emit.h"
#include "compiler/graph/graph.h"
#include "compiler/memory/memory.h"
#include "compiler/partition/partition.h"
#include "compiler/plan/verify.h"
#include "compiler/schedule/schedule.h"
#include "compiler/sema/check.h"
#include "tests/support/sanitized.h"

namespace dsc {
namespace {

constexpr const char* kGpt2 = R"(
use std.gpt2
data { train = text("x.txt", tokenizer: bytes) validation = split(0.1) sequence = 16 order = sequential }
train {
  model = gpt2(vocab: 67, context: 20, layers: 3, width: 24, heads: 3) steps = 10 batch = 16
  optimizer = adamw(lr: constant(1e-3), weight_decay: 0.1) precision = fp32 clip_norm = 1.0 seed = 1
  checkpoint every 5 to "run/x" keep 1
  evaluate every 5 batches 2
}
layout single { }
)";

constexpr const char* kLlama = R"(
use std.llama
data { train = text("x.txt", tokenizer: bytes) validation = split(0.1) sequence = 16 order = sequential }
train {
  model = llama(vocab: 67, layers: 3, width: 32, heads: 4, kv_heads: 2, hidden: 44) steps = 10 batch = 16
  optimizer = sgd(lr: constant(1e-3), momentum: 0.9, weight_decay: 0.1) precision = fp32 clip_norm = 1.0 seed = 1
  checkpoint every 5 to "run/x" keep 1
  evaluate every 5 batches 2
}
layout single { }
)";

std::optional<CheckedProgram> parse(const std::string& text, SourceMap& sources) {
  const std::uint32_t file = sources.add({"model.dsm", text});
  Diagnostics diagnostics;
  std::optional<CheckedProgram> program = check(file, sources, {}, diagnostics);
  EXPECT_FALSE(diagnostics.has_errors()) << render(diagnostics, sources);
  return program;
}

std::string own_model() {
  std::ifstream in(std::string(DSC_SOURCE_DIR) + "/examples/own_model/model.dsm");
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

struct Limits {
  std::int64_t bucket, prefetch, persist_below, max_live, reuse_distance;
  bool overlap;
};
constexpr Limits kLimits[] = {{5000, 5000, 0, 1'000'000, 0, true}, {1, 0, 100, 0, 0, true}, {1'000'000, 1'000'000, 1000, 1'000'000, 1'000'000, true},
                              {2000, 3000, 30, 6000, 3000, false}};

void set_layout(CheckedProgram& program, std::int64_t ranks, int stage, std::int64_t micro_batches, const Limits& limits) {
  LayoutSpec& layout = program.layout;
  layout = LayoutSpec{};
  layout.name = "test";
  if (ranks > 1) layout.mesh = {{"data", ranks, {}}}, layout.batch_axes = {0};
  // Some over two mesh axes, with contributions that travel as bf16.
  if (ranks == 8 && limits.bucket == 1'000'000) {
    layout.mesh = {{"node", 2, {}}, {"local", 4, {}}}, layout.batch_axes = {0, 1};
    layout.wire_bf16 = true;
  }
  layout.zero_stage = stage;
  layout.micro_batch = program.train.batch / ranks / micro_batches;
  layout.overlap = limits.overlap;
  layout.bucket = Elements(limits.bucket), layout.prefetch = Elements(limits.prefetch);
  layout.persist_below = Elements(limits.persist_below), layout.max_live = Elements(limits.max_live);
  layout.reuse_distance = Elements(limits.reuse_distance);
}

Plan lower(const CheckedProgram& program, const SourceMap& sources, const Graph* step, const Graph* evaluate, const Graph* sample) {
  Plan plan;
  plan.target = reference_target();
  for (const SourceFile& file : sources.files()) plan.sources.push_back({file.name, file.text});
  plan.contract.model = program.model;
  plan.contract.data = program.data;
  plan.contract.train = program.train;
  plan.contract.layout = program.layout;
  const local::Partitioned partitioned = partition({program.model, program.train, program.layout, plan.target, step, evaluate, sample});
  const local::Scheduled scheduled = schedule(partitioned, program.layout);
  Emitted emitted = emit(scheduled, plan_memory(scheduled, plan.target));
  plan.buffers = std::move(emitted.buffers);
  plan.programs = std::move(emitted.programs);
  plan.memory = emitted.memory;
  return plan;
}

void expect_proved(const Plan& plan, const std::string& what) {
  const VerifyReport report = verify(plan);
  std::string text;
  for (std::size_t i = 0; i < report.errors.size() && i < 5; ++i) text += str(report.errors[i], plan) + "\n";
  EXPECT_TRUE(report.ok()) << what << "\n" << text;
  EXPECT_LE(static_cast<double>(plan.memory.packed.value), 1.02 * static_cast<double>(plan.memory.lower_bound.value)) << what;
}

void prove_layouts(const std::string& text) {
  SourceMap sources;
  std::optional<CheckedProgram> program = parse(text, sources);
  ASSERT_TRUE(program.has_value());
  int index = 0;
  for (DType type : {DType::f32, DType::bf16, DType::f16}) {
    program->train.activation = type;
    const Graph step = build_graph(program->model, type, Purpose::train), evaluate = build_graph(program->model, type, Purpose::evaluate);
    for (Reduce reduce : {Reduce::once, Reduce::each}) {
      // f16 is laid out as bf16 is.
      if (type == DType::f16 && reduce == Reduce::each) continue;
      program->train.reduce = reduce;
      for (std::int64_t ranks : {1, 2, 8}) {
        for (int stage = 0; stage <= (ranks == 1 ? 0 : 3); ++stage) {
          for (std::int64_t micro_batches : {1, 2, 4, 8}) {
            if (program->train.batch / ranks % micro_batches != 0 || (type == DType::f16 && micro_batches > 2)) continue;
            for (const Limits& limits : kLimits) {
              // Not a multiple of the number of limits, so that all of them have their turn.
              if (index++ % (2 * dsc_test::kThinned - 1) != 0) continue;
              set_layout(*program, ranks, stage, micro_batches, limits);
              expect_proved(lower(*program, sources, &step, &evaluate, nullptr),
                            std::to_string(ranks) + " ranks, zero " + std::to_string(stage) + ", " + std::to_string(micro_batches) +
                                " micro-batches, " + std::string(name_of(type)) + (reduce == Reduce::once ? ", once" : ", each"));
              if (::testing::Test::HasFailure()) return;
            }
          }
        }
      }
    }
    set_layout(*program, 1, 0, program->train.batch, kLimits[0]);
    const Graph sample = build_graph(program->model, type, Purpose::sample);
    expect_proved(lower(*program, sources, nullptr, nullptr, &sample), "sample");
  }
}

TEST(RealModels, Gpt2IsProvedUnderEveryLayout) { prove_layouts(kGpt2); }
TEST(RealModels, LlamaIsProvedUnderEveryLayout) { prove_layouts(kLlama); }
TEST(RealModels, OwnModelIsProvedUnderEveryLayout) { prove_layouts(own_model()); }

}  // namespace
}  // namespace dsc
