#include "runtime/metrics/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace dsc {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point a, Clock::time_point b) { return std::chrono::duration<double>(b - a).count(); }

// "12,345" into a buffer of at least 32 bytes.
void commas(std::int64_t number, char* out) {
  char digits[24];
  const int n = std::snprintf(digits, sizeof digits, "%lld", static_cast<long long>(number));
  for (int i = 0; i < n; ++i) {
    if (i > 0 && digits[i - 1] != '-' && (n - i) % 3 == 0) *out++ = ',';
    *out++ = digits[i];
  }
  *out = 0;
}

void duration(double seconds, char* out, std::size_t size) {
  const auto whole = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  if (whole >= 3600) std::snprintf(out, size, "%lld h %02lld min", whole / 3600, whole % 3600 / 60);
  else if (whole >= 60) std::snprintf(out, size, "%lld min %02lld s", whole / 60, whole % 60);
  else std::snprintf(out, size, "%lld s", whole);
}

}  // namespace

Progress::Progress(const TextSink& sink, std::int64_t first_step, std::int64_t last_step)
    : sink_(sink), first_(first_step), last_(last_step), started_(Clock::now()), printed_at_(started_) {}

void Progress::step(const StepMetrics& metrics) {
  if (!sink_.write) return;
  const Clock::time_point now = Clock::now();
  const bool edge = metrics.step == first_ + 1 || metrics.step == last_;
  const double since = seconds_between(printed_at_, now);
  if (sink_.terminal) {
    if (!edge && since < 0.1) return;
  } else if (!edge && (since < 1 || (metrics.step - printed_step_) * 50 < last_ - first_)) {
    return;
  }
  printed_at_ = now;
  printed_step_ = metrics.step;
  char text[512], rate[32], left[48];
  commas(std::isfinite(metrics.tokens_per_second) ? std::llround(metrics.tokens_per_second) : 0, rate);
  const double each = seconds_between(started_, now) / static_cast<double>(std::max<std::int64_t>(metrics.step - first_, 1));
  duration(each * static_cast<double>(last_ - metrics.step), left, sizeof left);
  const int size = std::snprintf(text, sizeof text, "%sstep %lld/%lld  loss %.4f  lr %.3g  grad norm %.4g%s  %s tokens/s  %s left%s",
                                 sink_.terminal ? "\r" : "", static_cast<long long>(metrics.step), static_cast<long long>(last_),
                                 metrics.loss, metrics.lr, metrics.grad_norm, metrics.skipped ? "  skipped" : "", rate, left,
                                 sink_.terminal ? "\x1b[K" : "\n");
  sink_.write({text, static_cast<std::size_t>(size)});
  open_line_ = sink_.terminal;
}

void Progress::clear() {
  if (open_line_) sink_.write("\n");
  open_line_ = false;
}

void Progress::validation(const ValidationMetrics& metrics) {
  if (!sink_.write) return;
  char text[256], tokens[32];
  commas(metrics.val_tokens, tokens);
  const int size = std::snprintf(text, sizeof text, "step %lld  validation loss %.4f over %s tokens\n",
                                 static_cast<long long>(metrics.step), metrics.val_loss, tokens);
  clear();
  sink_.write({text, static_cast<std::size_t>(size)});
}

void Progress::line(const std::string& text) {
  if (!sink_.write) return;
  clear();
  sink_.write(text + "\n");
}

void Progress::finish() {
  if (sink_.write) clear();
}

}  // namespace dsc
