// The safetensors format: named tensors behind a JSON header. The reader treats a file as hostile: every size, offset
// and type is checked before use, and tensors are read with bounds, never mapped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "compiler/support/result.h"
#include "runtime/checkpoint/durable_file.h"

namespace dsc {

struct StoredTensor {
  std::string name;
  std::string type;  // "F32", "BF16", "F16", ...
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0, end = 0;  // bytes in the file, absolute
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (std::int64_t size : shape) n *= size;
    return n;
  }
};

class SafetensorsReader {
 public:
  static Result<SafetensorsReader> open(const std::filesystem::path& path);
  SafetensorsReader(SafetensorsReader&&) noexcept;
  SafetensorsReader& operator=(SafetensorsReader&&) noexcept;
  ~SafetensorsReader();

  const std::vector<StoredTensor>& tensors() const { return tensors_; }  // sorted by name
  const StoredTensor* find(const std::string& name) const;
  const std::string& path() const { return path_; }
  // Elements [first, first + out.size()) as f32; F32, BF16 and F16 can be read.
  Status read(const StoredTensor& tensor, std::int64_t first, std::span<float> out) const;

 private:
  SafetensorsReader() = default;
  std::string path_;
  int descriptor_ = -1;
  std::vector<StoredTensor> tensors_;
};

// Writes f32 tensors in the order given, each appended whole; the file appears at its name only in finish().
class SafetensorsWriter {
 public:
  static Result<SafetensorsWriter> create(const std::filesystem::path& path,
                                          const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& tensors);
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) = delete;
  ~SafetensorsWriter();  // removes what was not finished

  Status append(std::span<const float> values);  // the next values, in order; any split
  Status finish();

 private:
  SafetensorsWriter() = default;
  std::filesystem::path path_, temporary_;
  std::unique_ptr<DurableFile> file_;
  std::int64_t left_ = 0;  // values still to come
};

}  // namespace dsc
