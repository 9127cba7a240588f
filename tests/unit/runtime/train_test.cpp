// Whole runs in one process: what they leave behind, that steps allocate nothing, and how they end when something fails.
#include <gtest/gtest.h>

#include <csignal>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <stdexcept>

#include "compiler/driver/pipeline.h"
#include "kernels/ops.h"
#include "runtime/run.h"
#include "tests/support/run_dsc.h"
#include "tests/unit/runtime/counted_heap.h"

namespace {
using namespace dsc;
using namespace dsc_test;
using nlohmann::json;

const char* const kProgram = R"(use std.gpt2
data {
  train      = text("text.txt", tokenizer: bytes)
  validation = split(0.1)
  sequence   = 16
  order      = sequential
}
train {
  model     = gpt2(vocab: 128, context: 16, layers: 2, width: 32, heads: 2)
  steps     = 12
  batch     = 8
  optimizer = adamw(lr: constant(3e-3), weight_decay: 0.1)
  precision = fp32
  clip_norm = 1.0
  seed      = 3
  checkpoint every 4 to "run"
  evaluate every 6 batches 100
}
layout zero0 { mesh (data: auto) split batch over data zero 0 over data micro_batch 2 }
layout zero3 { mesh (data: auto) split batch over data zero 3 over data { persist_below: 0 } micro_batch 2 }
)";

class Train : public ::testing::Test {
 protected:
  Train() {
    std::string text;
    for (int i = 0; i < 120; ++i) text += "the quick brown fox number " + std::to_string(i * i) + " jumps\n";
    write_file(folder_.path() / "text.txt", text);
    write_file(folder_.path() / "model.dsm", kProgram);
  }

  Plan plan(const std::string& layout, std::int64_t ranks, std::vector<std::pair<std::string, std::string>> sets = {}) {
    CheckOptions options;
    options.layout = layout;
    options.gpus = ranks;
    options.sets = std::move(sets);
    options.folder = folder_.path().string();
    Result<Checked> checked = check_file((folder_.path() / "model.dsm").string(), options);
    EXPECT_TRUE(checked && checked->program) << (checked ? render(checked->diagnostics, checked->sources) : checked.error().message);
    Result<Plan> plan = compile(*checked->program, checked->sources, options, cpu_target());
    EXPECT_TRUE(plan) << (plan ? "" : plan.error().message);
    return std::move(*plan);
  }

  TrainOptions options(const std::string& out) {
    TrainOptions options;
    options.out = folder_.path() / out;
    options.sink.write = [this](std::string_view text) { said_ += text; };
    return options;
  }

  // step, loss, norm and validation figures: what must not depend on how a run was cut.
  std::string figures(const std::string& out) const {
    std::string text;
    std::istringstream lines(read_file(folder_.path() / out / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      json entry = json::parse(line);
      entry.erase("step_seconds");
      entry.erase("tokens_per_second");
      text += entry.dump() + "\n";
    }
    return text;
  }

  ScratchFolder folder_;
  std::string said_;
};

TEST_F(Train, leaves_a_run_directory) {
  const Plan p = plan("zero3", 2);
  const Result<TrainOutcome> outcome = train(p, options("a"));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_EQ(outcome->last_step, 12);
  EXPECT_LT(*outcome->last_loss, *outcome->first_loss - 0.5);
  const auto steps = step_metrics(folder_.path() / "a");
  ASSERT_EQ(steps.size(), 12u);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i]["step"], i + 1);
    EXPECT_EQ(steps[i]["tokens"], (i + 1) * 8 * 16);
    EXPECT_EQ(steps[i]["lr"], 3e-3);
    EXPECT_EQ(steps[i]["loss_scale"], 1);
    EXPECT_EQ(steps[i]["skipped"], false);
    EXPECT_GT(steps[i]["tokens_per_second"], 0);
  }
  const json run = json::parse(read_file(folder_.path() / "a" / "run.json"));
  ASSERT_EQ(run["ranks"].size(), 2u);
  for (const json& rank : run["ranks"]) {
    EXPECT_EQ(rank["device_arena_bytes"], p.memory.device_arena.value);
    EXPECT_EQ(rank["host_arena_bytes"], p.memory.host_arena.value);
    EXPECT_EQ(rank["storage_bytes"], p.memory.storage.value);
  }
  EXPECT_GT(run["process_peak_bytes"], 2 * p.memory.device_arena.value);
  EXPECT_EQ(run["plan_hash"], p.hash);
  for (const char* step : {"step-00000004", "step-00000008", "step-00000012"})
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / "a" / "checkpoints" / step)) << step;
  EXPECT_EQ(said_.find("step 1/12  loss "), 0u) << said_;
  EXPECT_NE(said_.find("step 12/12  loss "), std::string::npos) << said_;
}

TEST_F(Train, validation_counts_every_target_once) {
  // 120 lines make W windows of 16; the last ceil(W / 10) are for validation, all of them within 100 batches.
  const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(folder_.path() / "text.txt"));
  const std::int64_t windows = ((bytes - 1) / 16 + 9) / 10;
  ASSERT_NE(windows % 8, 0) << "the last batch should not be whole";
  std::vector<json> found;
  for (std::int64_t ranks : {1, 2, 4}) {
    const std::string out = "v" + std::to_string(ranks);
    ASSERT_TRUE(train(plan("zero0", ranks), options(out)));
    std::istringstream lines(read_file(folder_.path() / out / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);)
      if (json entry = json::parse(line); entry.contains("val_loss")) found.push_back(entry);
  }
  ASSERT_EQ(found.size(), 6u);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i]["step"], i % 2 == 0 ? 6 : 12);
    EXPECT_EQ(found[i]["val_tokens"], windows * 16);
    EXPECT_NEAR(found[i]["val_loss"].get<double>(), found[i % 2]["val_loss"].get<double>(), 1e-5);
  }
  EXPECT_LT(found[1]["val_loss"], found[0]["val_loss"]);
}

TEST_F(Train, a_step_allocates_nothing) {
  if (!kHeapIsCounted) GTEST_SKIP() << "the sanitizer owns the allocator";
  for (const char* precision : {"fp32", "bf16"}) {
    for (std::int64_t ranks : {1, 4}) {
      const Plan p = plan("zero3", ranks, {{"train.precision", precision}});
      TrainOptions how = options(std::string(precision) + std::to_string(ranks));
      how.threads = 2;
      how.sink.write = nullptr;
      std::atomic<int> step{0};
      std::atomic<std::int64_t> calls_at_start{0}, late_calls{0}, live_at_2{0}, live_at_end{0};
      how.before_tile = [&](const Instruction& instruction, std::int64_t rank) {
        const auto* kernel = std::get_if<KernelSpec>(&instruction.op);
        if (rank == 0 && kernel != nullptr && std::holds_alternative<BeginStepSpec>(*kernel)) {
          ++step;
          calls_at_start = heap_count().calls;
          if (step == 3) live_at_2 = heap_count().live_bytes;
          if (step == 12) live_at_end = heap_count().live_bytes;
        } else if (step >= 2 && kernel != nullptr && std::holds_alternative<UpdateSpec>(*kernel)) {
          late_calls += heap_count().calls - calls_at_start;  // the end of the step
        }
      };
      ASSERT_TRUE(train(p, how));
      EXPECT_EQ(step, 12);
      EXPECT_EQ(late_calls, 0);
      EXPECT_EQ(live_at_2, live_at_end);  // over evaluations and checkpoints too
    }
  }
}

TEST_F(Train, a_used_directory_is_not_overwritten) {
  const Plan p = plan("zero0", 1);
  TrainOptions how = options("a");
  how.steps = 1;
  ASSERT_TRUE(train(p, how));
  const std::string before = figures("a");
  const Result<TrainOutcome> again = train(p, how);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "DSM0951");
  EXPECT_EQ(figures("a"), before);
}

TEST_F(Train, steps_0_writes_the_initial_checkpoint) {
  TrainOptions how = options("a");
  how.steps = 0;
  ASSERT_TRUE(train(plan("zero3", 4), how));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "a" / "checkpoints" / "step-00000000" / "manifest.json"));
  EXPECT_EQ(read_file(folder_.path() / "a" / "metrics.jsonl"), "");
}

TEST_F(Train, a_run_cut_anywhere_gives_the_same_figures) {
  ASSERT_TRUE(train(plan("zero0", 2), options("whole")));
  for (std::int64_t cut : {0, 4, 5, 6, 11}) {
    const std::string out = "cut" + std::to_string(cut);
    TrainOptions how = options(out);
    how.steps = cut;
    ASSERT_TRUE(train(plan("zero3", 2), how));
    how.steps.reset();
    how.resume = true;
    const Result<TrainOutcome> rest = train(plan("zero0", 2), how);
    ASSERT_TRUE(rest) << rest.error().message;
    EXPECT_EQ(rest->first_step, cut);
    EXPECT_EQ(figures(out), figures("whole"));
    EXPECT_EQ(final_state(folder_.path() / out), final_state(folder_.path() / "whole"));
  }
  TrainOptions fresh = options("fresh");
  fresh.resume = true;
  ASSERT_TRUE(train(plan("zero0", 2), fresh));
  EXPECT_EQ(figures("fresh"), figures("whole"));
  EXPECT_NE(said_.find("starting at step 0"), std::string::npos);
}

TEST_F(Train, a_rank_that_fails_loses_nothing_saved) {
  ASSERT_TRUE(train(plan("zero3", 4), options("whole")));
  for (int fail_at : {1, 3, 7}) {
    const std::string out = "fault" + std::to_string(fail_at);
    TrainOptions how = options(out);
    std::atomic<int> step{0};
    how.before_tile = [&](const Instruction& instruction, std::int64_t rank) {
      const auto* kernel = std::get_if<KernelSpec>(&instruction.op);
      if (kernel != nullptr && std::holds_alternative<BeginStepSpec>(*kernel) && rank == 1) ++step;
      if (step == fail_at && rank == 1 && kernel != nullptr && std::holds_alternative<AddLossSpec>(*kernel))
        throw std::runtime_error("lost");
    };
    const Result<TrainOutcome> failed = train(plan("zero3", 4), how);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code, "DSM0955");
    EXPECT_EQ("error[" + failed.error().code + "]: " + failed.error().message + "\nhelp: " + failed.error().help + "\n",
              read_file(std::filesystem::path(DSC_SOURCE_DIR) / "tests/golden/runtime/step_failed.expected"));
    EXPECT_EQ(step_metrics(folder_.path() / out).size(), static_cast<std::size_t>(fail_at - 1));
    TrainOptions rest = options(out);
    rest.resume = true;
    ASSERT_TRUE(train(plan("zero3", 4), rest));
    EXPECT_EQ(figures(out), figures("whole"));
  }
}

TEST_F(Train, a_signal_ends_the_run_after_the_step_with_a_checkpoint) {
  ASSERT_TRUE(train(plan("zero0", 2), options("whole")));
  for (int number : {SIGINT, SIGTERM}) {
    const std::string out = "signal" + std::to_string(number);
    TrainOptions how = options(out);
    std::atomic<int> step{0};
    how.before_tile = [&](const Instruction& instruction, std::int64_t rank) {
      const auto* kernel = std::get_if<KernelSpec>(&instruction.op);
      if (kernel != nullptr && std::holds_alternative<BeginStepSpec>(*kernel) && rank == 0 && ++step == 3) ::kill(getpid(), number);
    };
    const Result<TrainOutcome> stopped = train(plan("zero0", 2), how);
    ASSERT_TRUE(stopped);
    EXPECT_EQ(stopped->signal, number);
    EXPECT_EQ(stopped->last_step, 3);
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / out / "checkpoints" / "step-00000003" / "manifest.json"));
    TrainOptions rest = options(out);
    rest.resume = true;
    ASSERT_TRUE(train(plan("zero0", 2), rest));
    EXPECT_EQ(figures(out), figures("whole"));
  }
}

TEST_F(Train, a_loss_that_is_not_finite_stops_the_run_before_its_update) {
  const Result<TrainOutcome> outcome = train(plan("zero3", 2, {{"train.optimizer", "sgd(lr: constant(1e30))"}}), options("a"));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, "DSM0953");
  const auto steps = step_metrics(folder_.path() / "a");
  ASSERT_GE(steps.size(), 2u);
  EXPECT_TRUE(steps.back()["loss"].is_null() || steps.back()["grad_norm"].is_null());
  EXPECT_EQ(outcome.error().message.find("step " + std::to_string(steps.size()) + ": "), 0u) << outcome.error().message;
  ASSERT_TRUE(train(plan("zero3", 2, {{"train.optimizer", "sgd(lr: constant(1e30))"}, {"train.on_nonfinite", "skip"}}), options("b")));
  EXPECT_EQ(step_metrics(folder_.path() / "b").back()["skipped"], true);
}

TEST_F(Train, a_loss_scale_at_its_minimum_is_an_error) {
  const Result<TrainOutcome> outcome =
      train(plan("zero3", 2, {{"train.precision", "fp16(loss_scale: dynamic(init: 16777216, hysteresis: 1, min: 16777216))"}}), options("a"));
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, "DSM0954");
}

TEST_F(Train, samples_are_those_of_the_seed) {
  const Plan p = plan("zero3", 2);
  ASSERT_TRUE(train(p, options("a")));
  Result<Plan> sampling = compile_sample(p, cpu_target());
  ASSERT_TRUE(sampling);
  SampleOptions how;
  how.prompt = "the quick";
  how.tokens = 40;
  how.seed = 1;
  const Result<Sampled> one = sample(*sampling, folder_.path() / "a", how);
  how.threads = 3;
  const Result<Sampled> same = sample(*sampling, folder_.path() / "a", how);
  how.seed = 2;
  const Result<Sampled> other = sample(*sampling, folder_.path() / "a", how);
  ASSERT_TRUE(one && same && other);
  EXPECT_EQ(one->text.size(), 40u);  // longer than the context: older tokens slid out
  EXPECT_EQ(one->text, same->text);
  EXPECT_NE(one->text, other->text);
  how.temperature = 0;
  const Result<Sampled> likeliest = sample(*sampling, folder_.path() / "a", how);
  how.seed = 9;
  EXPECT_EQ(likeliest->text, sample(*sampling, folder_.path() / "a", how)->text);
  how.prompt = "na\xc3\xafve";
  const Result<Sampled> refused = sample(*sampling, folder_.path() / "a", how);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, "DSM0956");
  EXPECT_EQ(refused.error().message, "byte 195 in the prompt is no token of the model, whose vocabulary has 128 entries");
}

}  // namespace
