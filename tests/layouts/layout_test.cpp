// A layout never changes the result: at a fixed data degree, micro-batch size, `reduce` and `wire`, every ZeRO stage,
// bucket, prefetch, persist_below, max_live and reuse_distance, with any number of threads, gives the same losses, gradient
// norms and final weights and moments, bit for bit; and what `explain` says of memory is what the run maps.
#include <gtest/gtest.h>

#include "tests/support/run_dsc.h"
#include "tests/support/sanitized.h"

namespace {

using namespace dsc_test;
using nlohmann::json;

struct Case {
  std::string model, precision;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " in " << c.precision; }
};

struct Setting {
  std::string reduce, wire;
  int ranks, micro_batches;
};

constexpr int kBatch = 8;

const char* model_text(const std::string& model) {
  if (model == "gpt2") return "gpt2(vocab: 256, context: 32, layers: 2, width: 40, heads: 4)";
  if (model == "llama") return "llama(vocab: 256, layers: 2, width: 32, heads: 4, kv_heads: 2, hidden: 72)";
  return "mixer(vocab: 256, context: 32, layers: 2, width: 24, heads: 2)";
}

// Rules of the layouts that must agree; the first is the reference.
std::vector<std::pair<std::string, std::string>> variants() {
  return {
      {"zero0", "zero 0 over data"},
      {"zero1", "zero 1 over data"},
      {"zero2", "zero 2 over data"},
      {"zero3", "zero 3 over data { persist_below: 0 }"},
      {"zero1_small", "zero 1 over data { bucket: 100 }"},
      {"zero2_small", "zero 2 over data { bucket: 1 }"},
      {"zero3_persist", "zero 3 over data { persist_below: 1000 }"},
      {"zero3_bucket", "zero 3 over data { bucket: 100, prefetch: 0, persist_below: 0 }"},
      {"zero3_prefetch", "zero 3 over data { bucket: 8 KiB, prefetch: 100000, persist_below: 0, max_live: 20000 }"},
      {"zero3_reuse", "zero 3 over data { persist_below: 0, reuse_distance: 1000000, max_live: 1000000 }"},
      {"zero3_serial", "overlap off zero 3 over data { persist_below: 0 }"},
  };
}

std::string program_text(const Case& c, const Setting& s) {
  std::string precision = c.precision == "fp16" ? "fp16(loss_scale: dynamic(init: 2^10, window: 2, hysteresis: 1, min: 1))" : c.precision;
  std::string use = c.model == "own" ? "use \"own_model.dsm\"" : "use std." + c.model;
  std::string text = use + "\ndata {\n  train = text(\"/usr/share/common-licenses/GPL-3\", tokenizer: bytes)\n  sequence = 32\n  order = shuffled\n}\n" +
      "train {\n  model = " + model_text(c.model) + "\n  steps = 4\n  batch = " + std::to_string(kBatch) +
      "\n  optimizer = adamw(lr: linear(peak: 3e-3, warmup: 1), weight_decay: 0.1)\n  precision = " + precision +
      "\n  reduce = " + s.reduce + "\n  clip_norm = 1.0\n  seed = 5\n}\n";
  for (const auto& [name, rules] : variants())
    text += "layout " + name + " {\n  mesh (data: " + std::to_string(s.ranks) + ")\n  split batch over data\n  micro_batch " +
            std::to_string(kBatch / s.ranks / s.micro_batches) + "\n  " + rules + "\n" + (s.wire == "bf16" ? "  wire bf16\n" : "") + "}\n";
  return text;
}

struct Outcome {
  std::vector<std::string> numbers;  // loss and norm of each step, as written
  std::string state;
};

// One run, with its memory compared with what `explain` promised.
Outcome run(const ScratchFolder& folder, const std::string& layout, int threads) {
  std::string out = layout + "-" + std::to_string(threads);
  Finished trained = run_dsc("train m.dsm --device cpu --layout " + layout + " --threads " + std::to_string(threads) + " --out " + out, folder.path());
  EXPECT_EQ(trained.status, 0) << trained.output;
  if (trained.status != 0) return {};
  Outcome outcome;
  for (const json& step : step_metrics(folder.path() / out)) outcome.numbers.push_back(step["loss"].dump() + " " + step["grad_norm"].dump() + " " + step["loss_scale"].dump());
  outcome.state = final_state(folder.path() / out);
  EXPECT_EQ(outcome.numbers.size(), 4u);
  EXPECT_FALSE(outcome.state.empty());
  return outcome;
}

void expect_memory_as_explained(const ScratchFolder& folder, const std::string& layout) {
  Finished explained = run_dsc("explain m.dsm --json --layout " + layout, folder.path());
  ASSERT_EQ(explained.status, 0) << explained.output;
  json told = json::parse(explained.output);
  json mapped = json::parse(read_file(folder.path() / (layout + "-2") / "run.json"))["ranks"];
  json plan = json::parse(read_file(folder.path() / (layout + "-2") / "plan.json"));
  for (const json& rank_class : told["rank_classes"]) {
    std::int64_t sum = 0;
    for (const auto& [name, bytes] : rank_class["by_class"].items()) sum += bytes.get<std::int64_t>();
    EXPECT_EQ(sum, rank_class["device_arena_bytes"].get<std::int64_t>()) << layout;
    for (const json& rank : rank_class["ranks"])
      for (const char* key : {"device_arena_bytes", "host_arena_bytes", "storage_bytes"})
        EXPECT_EQ(rank_class[key], mapped.at(rank.get<std::size_t>())[key]) << layout << " " << key;
  }
  // What is resident beside the arenas is listed: image, mapped data, stacks and the heap after start-up.
  json run = json::parse(read_file(folder.path() / (layout + "-2") / "run.json"));
  double peak = run["process_peak_bytes"], rest = peak;
  for (const json& rank : mapped) rest -= rank["device_arena_bytes"].get<double>();
  for (const auto& [name, bytes] : run["outside_arenas"].items()) rest -= bytes.get<double>();
  if (!kSanitized)  // their shadow of memory is resident too
    EXPECT_LE(rest, 0.05 * peak) << layout << ": resident bytes that nothing accounts for";
  double packed = plan["memory"]["packed"].get<double>(), bound = plan["memory"]["lower_bound"].get<double>();
  EXPECT_LE(packed, 1.02 * bound) << layout;
}

class Layouts : public testing::TestWithParam<Case> {};

TEST_P(Layouts, GiveTheSameBits) {
  const Case& c = GetParam();
  std::vector<Setting> settings;
  for (const char* reduce : {"once", "each"})
    for (const char* wire : {"f32", "bf16"})
      for (int m : {1, 2, 4}) settings.push_back({reduce, wire, 2, m});
  settings.push_back({"once", "f32", 4, 1});
  settings.push_back({"each", "f32", 8, 1});
  // Under a sanitizer a few of the runs, others in each case.
  const int every = kSanitized ? 67 : 1;
  int index = 0;
  for (char letter : c.model + c.precision) index += letter;
  for (const Setting& s : settings) {
    std::vector<std::pair<std::string, int>> runs;  // layout and threads
    for (const auto& [name, rules] : variants())
      for (int threads : {2, 3})
        if (index++ % every == 0) runs.emplace_back(name, threads);
    if (runs.empty()) continue;
    SCOPED_TRACE(c.model + " " + c.precision + " reduce " + s.reduce + " wire " + s.wire + " ranks " + std::to_string(s.ranks) + " micro-batches " + std::to_string(s.micro_batches));
    ScratchFolder folder;
    write_file(folder.path() / "own_model.dsm", read_file(std::filesystem::path(DSC_SOURCE_DIR) / "tests/layouts/own_model.dsm"));
    write_file(folder.path() / "m.dsm", program_text(c, s));
    Outcome reference = run(folder, "zero0", 1);
    if (HasFailure()) return;
    for (const auto& [name, threads] : runs) {
      Outcome outcome = run(folder, name, threads);
      EXPECT_EQ(outcome.numbers, reference.numbers) << name << " on " << threads << " threads";
      EXPECT_TRUE(outcome.state == reference.state) << name << " on " << threads << " threads: the final state differs";
      if (threads == 2) expect_memory_as_explained(folder, name);
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Layouts,
                         testing::Values(Case{"gpt2", "fp32"}, Case{"gpt2", "bf16"}, Case{"gpt2", "fp16"}, Case{"llama", "fp32"},
                                         Case{"llama", "bf16"}, Case{"llama", "fp16"}, Case{"own", "fp32"}, Case{"own", "bf16"},
                                         Case{"own", "fp16"}),
                         [](const auto& info) { return info.param.model + "_" + info.param.precision; });

// Across data degrees the order of additions changes: losses agree within 1e-5 relative after 20 steps of falling loss.
TEST(DataDegrees, AgreeInFp32) {
  ScratchFolder folder;
  std::string text = read_file(std::filesystem::path(DSC_SOURCE_DIR) / "tests/parity/gpt2.dsm");
  text.resize(text.find("layout single"));
  for (int d : {1, 2, 4, 8})
    text += "layout d" + std::to_string(d) + " {\n  mesh (data: " + std::to_string(d) + ")\n  split batch over data\n}\n";
  write_file(folder.path() / "m.dsm", text);
  std::vector<double> reference;
  for (int d : {1, 2, 4, 8}) {
    std::string name = "d" + std::to_string(d);
    Finished trained = run_dsc("train m.dsm --device cpu --layout " + name + " --out " + name, folder.path());
    ASSERT_EQ(trained.status, 0) << trained.output;
    std::vector<json> steps = step_metrics(folder.path() / name);
    ASSERT_EQ(steps.size(), 20u);
    double first = steps.front()["loss"], last = steps.back()["loss"];
    EXPECT_GT(first - last, 0.5);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      double loss = steps[i]["loss"];
      if (d == 1) reference.push_back(loss);
      else EXPECT_NEAR(loss / reference[i], 1, 1e-5) << "step " << i + 1 << " on " << d << " ranks";
    }
  }
}

// ZeRO-3 on 8 ranks keeps an eighth, and little more.
TEST(Memory, ZeRO3OnEightRanksKeepsAnEighth) {
  ScratchFolder folder;
  std::string text = read_file(std::filesystem::path(DSC_SOURCE_DIR) / "tests/parity/gpt2.dsm");
  text.resize(text.find("layout single"));
  for (const char* precision : {"fp32", "bf16", "fp16(loss_scale: 1024)"}) {
    std::string file = text;
    file.replace(file.find("precision = fp32"), 16, std::string("precision = ") + precision);
    for (int stage : {0, 3})
      file += "layout z" + std::to_string(stage) + " {\n  mesh (data: 8)\n  split batch over data\n  zero " + std::to_string(stage) + " over data" + (stage == 3 ? " { persist_below: 0 }" : "") + "\n}\n";
    write_file(folder.path() / "m.dsm", file);
    double bytes[2];
    for (int i : {0, 1}) {
      Finished explained = run_dsc("explain m.dsm --json --layout z" + std::to_string(3 * i), folder.path());
      ASSERT_EQ(explained.status, 0) << explained.output;
      bytes[i] = json::parse(explained.output)["rank_classes"][0]["persistent_bytes"];
    }
    EXPECT_LE(bytes[1], 0.135 * bytes[0]) << precision;
    EXPECT_GE(bytes[1], 0.125 * bytes[0]) << precision;
  }
}

}  // namespace
