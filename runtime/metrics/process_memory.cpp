#include "runtime/metrics/process_memory.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

namespace dsc {
namespace {

// "VmHWM:     1234 kB" -> bytes, where the line begins with `name`.
bool kilobytes(const std::string& line, const char* name, std::int64_t& bytes) {
  const std::string prefix = std::string(name) + ":";
  if (line.compare(0, prefix.size(), prefix) != 0) return false;
  long long value = 0;
  if (std::sscanf(line.c_str() + prefix.size(), "%lld", &value) != 1) return false;
  bytes = value * 1024;
  return true;
}

}  // namespace

Bytes process_peak() {
  std::ifstream status("/proc/self/status");
  std::int64_t bytes = 0;
  for (std::string line; std::getline(status, line);)
    if (kilobytes(line, "VmHWM", bytes)) return Bytes(bytes);
  return Bytes(0);
}

ResidentRest resident_rest(const std::vector<AddressRange>& arenas) {
  ResidentRest rest;
  std::error_code none;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", none).string();
  std::ifstream smaps("/proc/self/smaps");
  Bytes* kind = nullptr;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long long begin = 0, end = 0;
    char permissions[8] = "";
    int name_at = 0;
    // A mapping's first line: "begin-end rwxp offset device inode   path".
    if (std::sscanf(line.c_str(), "%llx-%llx %7s %*s %*s %*s %n", &begin, &end, permissions, &name_at) == 3) {
      const std::string name = name_at > 0 && static_cast<std::size_t>(name_at) < line.size() ? line.substr(name_at) : "";
      bool arena = false;
      for (const AddressRange& range : arenas) {
        const auto base = reinterpret_cast<unsigned long long>(range.begin);
        arena = arena || (begin < base + static_cast<unsigned long long>(range.bytes.value) && end > base);
      }
      const bool image = name == program || name.find(".so") != std::string::npos || permissions[2] == 'x';
      if (arena) kind = nullptr;
      else if (name == "[stack]") kind = &rest.stacks;
      else if (name.empty() || name[0] == '[') kind = &rest.heap;
      else kind = image ? &rest.image : &rest.data;
      continue;
    }
    std::int64_t bytes = 0;
    if (kind != nullptr && kilobytes(line, "Rss", bytes)) *kind += Bytes(bytes);
  }
  return rest;
}

}  // namespace dsc
