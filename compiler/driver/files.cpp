#include "compiler/driver/files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/syntax/parse.h"

namespace dsc {

Result<std::string> read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return Error{str(Code::unreadable_file), "cannot read `" + path + "`: it is a folder", "name a file"};
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  // One byte more than a file may have: the parser says that it is too long.
  std::string text(syntax::kMaxFileBytes + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (!in && !in.eof())) return Error{str(Code::unreadable_file), "cannot read `" + path + "`: " + std::strerror(errno ? errno : EIO), "check the path"};
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

CheckOptions check_options(const CommandLine& line) {
  CheckOptions options;
  options.sets = line.sets;
  options.gpus = line.gpus;
  options.layout = line.layout;
  options.folder = std::filesystem::path(line.arguments.front()).parent_path().string();
  return options;
}

Result<Target> target_named(const std::string& name) {
  Target target = named_target(name);
  if (target.name.empty())
    return Error{str(Code::unknown_target), "`" + name + "` is not a device that dsc knows", "name one of h100, h200, a100, cpu"};
  return target;
}

}  // namespace dsc
