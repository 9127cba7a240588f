// metrics.jsonl: one JSON object a line, each written with one system call, so that a run that is killed leaves whole lines.
// In: the figures of a step or of an evaluation. Numbers that are not finite are null.
#pragma once

#include <cstdint>
#include <filesystem>

#include "compiler/support/result.h"

namespace dsc {

struct StepMetrics {
  std::int64_t step = 0;  // from 1
  double loss = 0, lr = 0, grad_norm = 0, loss_scale = 1;
  bool skipped = false;
  std::int64_t tokens = 0;  // so far, in all
  double step_seconds = 0, tokens_per_second = 0;
};

struct ValidationMetrics {
  std::int64_t step = 0;
  double val_loss = 0;
  std::int64_t val_tokens = 0;
};

class MetricsFile {
 public:
  // Keeps the whole lines of steps up to `keep_through` (0: none) of a file that is there already.
  static Result<MetricsFile> open(const std::filesystem::path& path, std::int64_t keep_through);
  MetricsFile(MetricsFile&& other) noexcept;
  MetricsFile& operator=(MetricsFile&&) = delete;
  ~MetricsFile();

  Status write(const StepMetrics& metrics);
  Status write(const ValidationMetrics& metrics);
  Status sync();  // all lines so far are on the disk
  std::int64_t missing() const { return missing_; }  // steps up to `keep_through` that have no line

 private:
  MetricsFile(std::filesystem::path path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  Status append(const char* text, std::size_t size);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t missing_ = 0;
};

}  // namespace dsc
