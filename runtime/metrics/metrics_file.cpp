#include "runtime/metrics/metrics_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

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

// The number after "step": at the line's beginning, or -1 where the line is not whole.
std::int64_t step_of(const std::string& line) {
  constexpr std::string_view prefix = "{\"step\": ";
  if (line.compare(0, prefix.size(), prefix) != 0 || line.back() != '}') return -1;
  std::int64_t step = -1;
  std::from_chars(line.data() + prefix.size(), line.data() + line.size(), step);
  return step;
}

}  // namespace

Result<MetricsFile> MetricsFile::open(const std::filesystem::path& path, std::int64_t keep_through) {
  std::string kept;
  if (keep_through > 0) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      const std::int64_t step = step_of(line);
      if (step >= 0 && step <= keep_through) kept += line + "\n";
    }
  }
  const std::filesystem::path partial = path.string() + ".partial";
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return not_writable(path, errno);
  MetricsFile file(path, descriptor);
  if (Status status = file.append(kept.data(), kept.size()); !status) return status.error();
  if (::rename(partial.c_str(), path.c_str()) != 0) return not_writable(path, errno);
  return file;
}

MetricsFile::MetricsFile(MetricsFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

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
