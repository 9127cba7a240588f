// A file that is on the disk when close() has returned success; and the folder operations that make a new name durable.
// Every error says what could not be written and why, with the code that the caller gives.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/result.h"

namespace dsc {

// "cannot write PATH: No space left on device".
Error cannot_write(Code code, const std::filesystem::path& path, int error_number);

class DurableFile {
 public:
  static Result<DurableFile> create(const std::filesystem::path& path, Code code);
  DurableFile(DurableFile&& other) noexcept;
  DurableFile& operator=(DurableFile&&) = delete;
  ~DurableFile();

  Status write(const void* data, std::size_t bytes);
  Status close();  // fsync and close

 private:
  DurableFile(std::filesystem::path path, int descriptor, Code code);
  std::filesystem::path path_;
  int descriptor_;
  Code code_;
};

// mkdir -p, then fsync of each folder that got a new entry.
Status make_folder(const std::filesystem::path& path, Code code);
Status sync_folder(const std::filesystem::path& path, Code code);
// rename(from, to), replacing a file, then fsync of the folder.
Status rename_durably(const std::filesystem::path& from, const std::filesystem::path& to, Code code);

}  // namespace dsc
