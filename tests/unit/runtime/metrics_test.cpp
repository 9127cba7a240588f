// metrics.jsonl and what the user sees.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/metrics/metrics_file.h"
#include "runtime/metrics/process_memory.h"
#include "runtime/metrics/progress.h"
#include "tests/unit/runtime/counted_heap.h"

namespace {
using namespace dsc;

class Metrics : public ::testing::Test {
 protected:
  Metrics() : path_(std::filesystem::temp_directory_path() / ("dsc-metrics-" + std::to_string(getpid()) + ".jsonl")) {}
  ~Metrics() override { std::filesystem::remove(path_); }
  std::string text() const {
    std::ostringstream out;
    out << std::ifstream(path_).rdbuf();
    return out.str();
  }
  std::filesystem::path path_;
};

StepMetrics step(std::int64_t number) {
  StepMetrics metrics;
  metrics.step = number;
  metrics.loss = 2.5;
  metrics.lr = 0.001;
  metrics.grad_norm = 0.1;
  metrics.loss_scale = 65536;
  metrics.tokens = number * 1024;
  metrics.step_seconds = 0.5;
  metrics.tokens_per_second = 2048;
  return metrics;
}

TEST_F(Metrics, lines_as_documented) {
  Result<MetricsFile> file = MetricsFile::open(path_, 0);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write(step(1)));
  StepMetrics bad = step(2);
  bad.loss = NAN;
  bad.grad_norm = INFINITY;
  bad.skipped = true;
  ASSERT_TRUE(file->write(bad));
  ASSERT_TRUE(file->write(ValidationMetrics{2, 2.25, 4096}));
  EXPECT_EQ(text(),
            "{\"step\": 1, \"loss\": 2.5, \"lr\": 0.001, \"grad_norm\": 0.1, \"loss_scale\": 65536, \"skipped\": false, "
            "\"tokens\": 1024, \"step_seconds\": 0.5, \"tokens_per_second\": 2048}\n"
            "{\"step\": 2, \"loss\": null, \"lr\": 0.001, \"grad_norm\": null, \"loss_scale\": 65536, \"skipped\": true, "
            "\"tokens\": 2048, \"step_seconds\": 0.5, \"tokens_per_second\": 2048}\n"
            "{\"step\": 2, \"val_loss\": 2.25, \"val_tokens\": 4096}\n");
}

TEST_F(Metrics, a_resumed_run_keeps_the_steps_up_to_its_checkpoint) {
  {
    Result<MetricsFile> file = MetricsFile::open(path_, 0);
    for (int i = 1; i <= 4; ++i) ASSERT_TRUE(file->write(step(i)));
    ASSERT_TRUE(file->write(ValidationMetrics{2, 2.25, 4096}));
  }
  std::ofstream(path_, std::ios::app) << "{\"step\": 2, \"lo";  // a torn line
  {
    Result<MetricsFile> file = MetricsFile::open(path_, 2);
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write(step(3)));
  }
  std::istringstream lines(text());
  std::vector<std::string> starts;
  for (std::string line; std::getline(lines, line);) starts.push_back(line.substr(0, 18));
  EXPECT_EQ(starts, (std::vector<std::string>{"{\"step\": 1, \"loss\"", "{\"step\": 2, \"loss\"", "{\"step\": 2, \"val_l", "{\"step\": 3, \"loss\""}));
  {
    Result<MetricsFile> file = MetricsFile::open(path_, 0);
    ASSERT_TRUE(file);
  }
  EXPECT_EQ(text(), "");
}

// Six steps and a validation, a line damaged: what is left, as steps, and how many are missed.
TEST_F(Metrics, damaged_lines_are_left_out_and_counted) {
  const auto kept = [&](std::size_t line, const std::string& from, const std::string& to) {
    {
      Result<MetricsFile> file = MetricsFile::open(path_, 0);
      for (int i = 1; i <= 6; ++i) {
        EXPECT_TRUE(file->write(step(i)));
        EXPECT_TRUE(i != 3 || file->write(ValidationMetrics{3, 2.25, 4096}));
      }
    }
    std::istringstream lines(text());
    std::string all;
    for (std::string one; std::getline(lines, one); --line) {
      if (line == 0) one.replace(one.find(from), from.size(), to);
      all += one + "\n";
    }
    std::ofstream(path_, std::ios::trunc) << all;
    Result<MetricsFile> file = MetricsFile::open(path_, 5);
    std::string steps;
    std::istringstream left(text());
    for (std::string one; std::getline(left, one);) steps += one.substr(9, 1) + (one.find("val_loss") == std::string::npos ? " " : "v ");
    return steps + "missing " + std::to_string(file->missing());
  };
  EXPECT_EQ(kept(9, "", ""), "1 2 3 3v 4 5 missing 0");
  EXPECT_EQ(kept(1, "\"loss\"", "\"liss\""), "1 3 3v 4 5 missing 1");
  EXPECT_EQ(kept(1, "}", ""), "1 3 3v 4 5 missing 1");
  EXPECT_EQ(kept(1, "\"step\": 2", "\"step\": 4"), "1 3 3v 4 5 missing 1");
  EXPECT_EQ(kept(1, "\"step\": 2", "\"step\": 1"), "1 3 3v 4 5 missing 1");
  EXPECT_EQ(kept(5, "\"step\": 5", "\"step\": 1"), "1 2 3 3v 4 missing 1");
  EXPECT_EQ(kept(3, "val_loss", "val_lpss"), "1 2 3 4 5 missing 0");
}

TEST_F(Metrics, an_unwritable_place_is_an_error) {
  Result<MetricsFile> file = MetricsFile::open("/proc/metrics.jsonl", 0);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, "DSM0952");
}

TEST(Progress, plain_lines_are_first_and_last) {
  std::string out;
  TextSink sink{false, [&](std::string_view text) { out += text; }};
  Progress progress(sink, 0, 3);
  for (int i = 1; i <= 3; ++i) progress.step(step(i));
  progress.validation({3, 2.25, 4096});
  progress.finish();
  EXPECT_EQ(out,
            "step 1/3  loss 2.5000  lr 0.001  grad norm 0.1  2,048 tokens/s  0 s left\n"
            "step 3/3  loss 2.5000  lr 0.001  grad norm 0.1  2,048 tokens/s  0 s left\n"
            "step 3  validation loss 2.2500 over 4,096 tokens\n");
}

TEST(Progress, a_terminals_line_is_rewritten) {
  std::string out;
  TextSink sink{true, [&](std::string_view text) { out += text; }};
  Progress progress(sink, 0, 2);
  progress.step(step(1));
  StepMetrics skipped = step(2);
  skipped.skipped = true;
  progress.step(skipped);
  progress.line("done");
  progress.finish();
  EXPECT_EQ(out,
            "\rstep 1/2  loss 2.5000  lr 0.001  grad norm 0.1  2,048 tokens/s  0 s left\x1b[K"
            "\rstep 2/2  loss 2.5000  lr 0.001  grad norm 0.1  skipped  2,048 tokens/s  0 s left\x1b[K\ndone\n");
}

TEST(ProcessMemory, tells_arenas_from_the_rest) {
  if (!dsc_test::kHeapIsCounted) GTEST_SKIP() << "a sanitizer's memory hides the rest";
  const std::size_t size = 32 << 20;
  std::vector<std::byte> memory(size, std::byte{1});  // large enough for a mapping of its own
  const ResidentRest with = resident_rest({}), without = resident_rest({{memory.data(), Bytes(static_cast<std::int64_t>(size))}});
  EXPECT_GT(process_peak().value, static_cast<std::int64_t>(size));
  EXPECT_GE(with.heap.value - without.heap.value, static_cast<std::int64_t>(size));
  EXPECT_GT(without.image.value, 0);
  EXPECT_GT(without.stacks.value, 0);
}

}  // namespace
