// Source texts and places in them. A SourceMap owns every file that a compilation reads; a SourceRange is a half-open
// byte range of one of them, cheap to copy into every structure downstream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dsc {

struct SourceRange {
  std::uint32_t file = 0;   // index in SourceMap
  std::uint32_t begin = 0;  // byte offset of the first character
  std::uint32_t end = 0;    // byte offset past the last character
};

struct SourceFile {
  std::string name;  // as shown to the user: the path as given, or "std/gpt2.dsm"
  std::string text;
};

struct SourcePlace {
  int line = 1;    // from 1
  int column = 1;  // from 1, in bytes
};

class SourceMap {
 public:
  std::uint32_t add(SourceFile file);
  const std::vector<SourceFile>& files() const { return files_; }
  SourcePlace place(std::uint32_t file, std::uint32_t offset) const;
  // "model.dsm:41:9"
  std::string str(SourceRange range) const;
  // The whole line that holds `offset`, without its newline.
  std::string line_text(std::uint32_t file, std::uint32_t offset) const;

 private:
  std::vector<SourceFile> files_;
  std::vector<std::vector<std::uint32_t>> line_starts_;  // per file
};

}  // namespace dsc
