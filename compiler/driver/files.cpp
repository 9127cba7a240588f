#include "compiler/driver/files.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "compiler/support/diagnostic_codes.h"

namespace dsc {

Result<std::string> read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    return Error{str(Code::unreadable_file), "cannot read `" + path + "`: it is a folder", "name a file"};
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (in) text << in.rdbuf();
  if (!in) return Error{str(Code::unreadable_file), "cannot read `" + path + "`: " + std::strerror(errno ? errno : EIO), "check the path"};
  return text.str();
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
