#include "tests/unit/sema/golden_runner.h"

#include <fstream>
#include <iterator>
#include <sstream>

namespace dsc::test {

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

namespace {

CheckOptions flags_of(const std::string& text) {
  CheckOptions options;
  const std::string mark = "// flags: ";
  if (!text.starts_with(mark)) return options;
  std::istringstream words(text.substr(mark.size(), text.find('\n') - mark.size()));
  std::string flag, value;
  while (words >> flag >> value) {
    if (flag == "--gpus") options.gpus = std::stoll(value);
    if (flag == "--layout") options.layout = value;
    if (flag == "--set") options.sets.emplace_back(value.substr(0, value.find('=')), value.substr(value.find('=') + 1));
  }
  return options;
}

}  // namespace

Checked check_text(const std::string& name, const std::string& text, const std::string& folder) {
  Checked checked;
  CheckOptions options = flags_of(text);
  options.folder = folder;
  const std::uint32_t file = checked.sources.add({name, text});
  checked.program = check(file, checked.sources, options, checked.diagnostics);
  return checked;
}

}  // namespace dsc::test
