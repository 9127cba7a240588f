#include "runtime/checkpoint/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace dsc {
namespace {

int opened(const std::filesystem::path& path, int flags) {
  int fd = -1;
  do fd = ::open(path.c_str(), flags, 0666);
  while (fd < 0 && errno == EINTR);
  return fd;
}

// 0, or what failed.
int sync(int fd) {
  while (::fsync(fd) != 0)
    if (errno != EINTR) return errno;
  return 0;
}

}  // namespace

Error cannot_write(Code code, const std::filesystem::path& path, int error_number) {
  return {str(code), "cannot write " + path.string() + ": " + std::strerror(error_number),
          error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG
              ? "make room, or name another folder"
              : "check the path and its permissions, or name another folder"};
}

DurableFile::DurableFile(std::filesystem::path path, int descriptor, Code code)
    : path_(std::move(path)), descriptor_(descriptor), code_(code) {}

DurableFile::DurableFile(DurableFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), code_(other.code_) {}

DurableFile::~DurableFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<DurableFile> DurableFile::create(const std::filesystem::path& path, Code code) {
  int fd = opened(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return cannot_write(code, path, errno);
  return DurableFile(path, fd, code);
}

Status DurableFile::write(const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    ssize_t put = ::write(descriptor_, at, std::min<std::size_t>(bytes, 1 << 26));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return cannot_write(code_, path_, put < 0 ? errno : ENOSPC);
    at += put;
    bytes -= static_cast<std::size_t>(put);
  }
  return {};
}

Status DurableFile::close() {
  int fd = std::exchange(descriptor_, -1);
  int failed = sync(fd);
  // An interrupted close has closed all the same.
  if (::close(fd) != 0 && failed == 0 && errno != EINTR) failed = errno;
  if (failed != 0) return cannot_write(code_, path_, failed);
  return {};
}

Status sync_folder(const std::filesystem::path& path, Code code) {
  int fd = opened(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return cannot_write(code, path, errno);
  // Some file systems cannot sync a folder and say EINVAL; there is nothing more to be done then.
  int failed = sync(fd);
  ::close(fd);
  if (failed != 0 && failed != EINVAL) return cannot_write(code, path, failed);
  return {};
}

Status make_folder(const std::filesystem::path& path, Code code) {
  std::error_code trouble;
  if (path.empty() || std::filesystem::is_directory(path, trouble)) return {};
  std::filesystem::path parent = path.parent_path();
  if (Status status = make_folder(parent, code); !status) return status;
  if (::mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) return cannot_write(code, path, errno);
  if (!std::filesystem::is_directory(path, trouble)) return cannot_write(code, path, ENOTDIR);
  return sync_folder(parent.empty() ? "." : parent, code);
}

Status rename_durably(const std::filesystem::path& from, const std::filesystem::path& to, Code code) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return cannot_write(code, to, errno);
  std::filesystem::path parent = to.parent_path();
  return sync_folder(parent.empty() ? "." : parent, code);
}

}  // namespace dsc
