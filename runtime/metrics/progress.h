// What the user sees while a run goes on: on a terminal one line that is rewritten in place, otherwise plain lines (the
// first and last step, and about every fiftieth, at least a second apart). Formatting allocates nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "runtime/metrics/metrics_file.h"

namespace dsc {

// Where lines go. `write` gets whole pieces of text, line ends included.
struct TextSink {
  bool terminal = false;
  std::function<void(std::string_view)> write;
};

class Progress {
 public:
  // Steps first_step + 1 .. last_step are to come.
  Progress(const TextSink& sink, std::int64_t first_step, std::int64_t last_step);

  void step(const StepMetrics& metrics);
  void validation(const ValidationMetrics& metrics);
  // A line that stays, for whatever happens between steps.
  void line(const std::string& text);
  // Leaves the cursor at the beginning of a line.
  void finish();

 private:
  void clear();

  const TextSink& sink_;
  std::int64_t first_, last_, printed_step_ = -1;
  std::chrono::steady_clock::time_point started_, printed_at_;
  bool open_line_ = false;
};

}  // namespace dsc
