#include "compiler/support/source.h"

#include <algorithm>

namespace dsc {

std::uint32_t SourceMap::add(SourceFile file) {
  std::vector<std::uint32_t> starts = {0};
  for (std::size_t i = 0; i < file.text.size(); ++i)
    if (file.text[i] == '\n') starts.push_back(static_cast<std::uint32_t>(i + 1));
  files_.push_back(std::move(file));
  line_starts_.push_back(std::move(starts));
  return static_cast<std::uint32_t>(files_.size() - 1);
}

SourcePlace SourceMap::place(std::uint32_t file, std::uint32_t offset) const {
  const auto& starts = line_starts_[file];
  auto next = std::upper_bound(starts.begin(), starts.end(), offset);
  int line = static_cast<int>(next - starts.begin());
  return {line, static_cast<int>(offset - starts[line - 1]) + 1};
}

std::string SourceMap::str(SourceRange range) const {
  if (range.file >= files_.size()) return "<unknown>";
  SourcePlace at = place(range.file, range.begin);
  return files_[range.file].name + ":" + std::to_string(at.line) + ":" + std::to_string(at.column);
}

std::string SourceMap::line_text(std::uint32_t file, std::uint32_t offset) const {
  const std::string& text = files_[file].text;
  std::size_t begin = line_starts_[file][place(file, offset).line - 1];
  std::size_t end = text.find('\n', begin);
  return text.substr(begin, end == std::string::npos ? std::string::npos : end - begin);
}

}  // namespace dsc
