#include "runtime/data/fingerprint.h"

#include <llvm/ADT/StringExtras.h>
#include <llvm/Support/SHA256.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "compiler/support/diagnostic_codes.h"

namespace dsc {

Result<std::string> sha256_of(const TokenFile& file) {
  llvm::SHA256 hash;
  std::vector<std::uint8_t> block(1 << 20);
  std::int64_t at = 0;
  while (at < file.bytes) {
    // No more than it had when it was opened, should it be growing.
    const auto want = std::min(block.size(), static_cast<std::size_t>(file.bytes - at));
    ssize_t got = pread(file.descriptor, block.data(), want, at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return Error{str(Code::data_unreadable), "cannot read " + file.path + ": " + std::strerror(errno), ""};
    if (got == 0)
      return Error{str(Code::data_changed),
                   file.path + " had " + std::to_string(file.bytes) + " bytes when it was opened and now has " +
                       std::to_string(at),
                   "leave data files as they are while a run reads them"};
    hash.update(llvm::ArrayRef<std::uint8_t>(block.data(), static_cast<std::size_t>(got)));
    at += got;
  }
  return llvm::toHex(hash.final(), true);
}

std::string sha256_of(const std::string& text) {
  llvm::SHA256 hash;
  hash.update(llvm::StringRef(text));
  return llvm::toHex(hash.final(), true);
}

}  // namespace dsc
