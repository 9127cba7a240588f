#include "runtime/metrics/metrics_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compiler/support/diagnostic_codes.h"

namespace dsc {
namespace {

Error not_writable(const std::filesystem::path& path, int number) {
  return {str(Code::run_not_writable), "cannot write " + path.string() + ": " + std::strerror(number),
          "make room or choose another directory with --out; what was written before stays valid"};
}

// A line of at most kLine bytes, built without allocating.
class Line {
 public:
  void text(std::string_view part) {
    std::memcpy(at_, part.data(), part.size());
    at_ += part.size();
  }
  template <class Number>
  void field(std::string_view name, Number value) {
    text(at_ == bytes_ ? "{\"" : ", \"");
    text(name);
    text("\": ");
    if constexpr (std::is_same_v<Number, bool>) {
      text(value ? "true" : "false");
    } else {
      if constexpr (std::is_floating_point_v<Number>) {
        if (!std::isfinite(value)) return text("null");
      }
      at_ = std::to_chars(at_, bytes_ + kLine, value).ptr;
    }
  }
  void end() { text("}\n"); }
  const char* data() const { return bytes_; }
  std::size_t size() const { return static_cast<std::size_t>(at_ - bytes_); }

 private:
  static constexpr std::size_t kLine = 1024;
  char bytes_[kLine];
  char* at_ = bytes_;
};

struct WholeLine {
  std::string text;
  std::int64_t step = 0;
  bool trained = false;  // a training step's, not a validation's
};

// The lines of a file that can be read as figures of a step; none where there is no file.
Result<std::vector<WholeLine>> whole_lines(const std::filesystem::path& path) {
  std::vector<WholeLine> lines;
  errno = 0;
  std::ifstream in(path);
  if (!in && errno == ENOENT) return lines;
  for (std::string line; std::getline(in, line);) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
    const auto step = entry.is_object() ? entry.find("step") : entry.end();
    if (step == entry.end() || !step->is_number_integer() || entry.contains("loss") == entry.contains("val_loss")) continue;
    lines.push_back({line, step->get<std::int64_t>(), entry.contains("loss")});
  }
  // What cannot be read now must not be replaced by what could.
  if (!in.eof() || in.bad())
    return Error{str(Code::run_not_writable), "cannot read " + path.string() + ": " + std::strerror(errno ? errno : EIO),
                 "check the file; without it (remove it) the run goes on, its earlier figures lost"};
  return lines;
}

// Those in order up to a step, and how many training steps they hold. A step's number may be damaged too: one that runs
// ahead of the line behind it is left out.
std::pair<std::string, std::int64_t> lines_through(const std::vector<WholeLine>& lines, std::int64_t keep_through) {
  std::string text;
  std::int64_t newest = 0, steps = 0;
  for (auto line = lines.begin(); line != lines.end(); ++line) {
    if (line->step > keep_through || line->step < newest + (line->trained ? 1 : 0)) continue;
    const auto next = std::find_if(line + 1, lines.end(), [](const WholeLine& later) { return later.trained; });
    if (line->step > newest + 1 && next != lines.end() && next->step <= line->step) continue;
    newest = line->step;
    steps += line->trained ? 1 : 0;
    text += line->text + "\n";
  }
  return {std::move(text), steps};
}

int opened(const std::filesystem::path& path) {
  int descriptor = -1;
  do descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

}  // namespace

Result<MetricsFile> MetricsFile::open(const std::filesystem::path& path, std::int64_t keep_through) {
  const Result<std::vector<WholeLine>> lines = whole_lines(path);
  if (!lines) return lines.error();
  const auto [kept, steps] = lines_through(*lines, keep_through);
  const std::filesystem::path partial = path.string() + ".partial";
  const int descriptor = opened(partial);
  if (descriptor < 0) return not_writable(path, errno);
  MetricsFile file(path, descriptor);
  file.missing_ = keep_through - steps;
  if (Status status = file.append(kept.data(), kept.size()); !status) return status.error();
  if (Status status = file.sync(); !status) return status.error();
  if (::rename(partial.c_str(), path.c_str()) != 0) return not_writable(path, errno);
  return file;
}

MetricsFile::MetricsFile(MetricsFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), missing_(other.missing_) {}

MetricsFile::~MetricsFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Status MetricsFile::append(const char* text, std::size_t size) {
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return not_writable(path_, written < 0 ? errno : ENOSPC);
    text += written;
    size -= static_cast<std::size_t>(written);
  }
  return {};
}

Status MetricsFile::sync() {
  while (::fsync(descriptor_) != 0)
    // Not every file can be synced: /dev/stdout and the like say EINVAL.
    if (errno != EINTR) return errno == EINVAL ? Status() : not_writable(path_, errno);
  return {};
}

Status MetricsFile::write(const StepMetrics& metrics) {
  Line line;
  line.field("step", metrics.step);
  line.field("loss", metrics.loss);
  line.field("lr", metrics.lr);
  line.field("grad_norm", metrics.grad_norm);
  line.field("loss_scale", metrics.loss_scale);
  line.field("skipped", metrics.skipped);
  line.field("tokens", metrics.tokens);
  line.field("step_seconds", metrics.step_seconds);
  line.field("tokens_per_second", metrics.tokens_per_second);
  line.end();
  return append(line.data(), line.size());
}

Status MetricsFile::write(const ValidationMetrics& metrics) {
  Line line;
  line.field("step", metrics.step);
  line.field("val_loss", metrics.val_loss);
  line.field("val_tokens", metrics.val_tokens);
  line.end();
  return append(line.data(), line.size());
}

}  // namespace dsc
