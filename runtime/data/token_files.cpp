#include "runtime/data/token_files.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/units.h"

namespace dsc {
namespace {

// llm.c's header: 256 little-endian i32: magic, version, number of tokens.
constexpr std::int64_t kHeaderBytes = 1024;
struct HeaderKind {
  std::uint32_t magic, version;
  TokenFormat format;
};
constexpr HeaderKind kHeaders[] = {{20240520, 1, TokenFormat::u16}, {20240801, 7, TokenFormat::u32}};

constexpr const char* kLeaveAlone = "leave data files as they are while a run reads them";

std::int64_t token_bytes(TokenFormat format) {
  return format == TokenFormat::bytes ? 1 : format == TokenFormat::u16 ? 2 : 4;
}

const char* format_name(TokenFormat format) {
  return format == TokenFormat::bytes ? "bytes" : format == TokenFormat::u16 ? "u16" : "u32";
}

std::uint32_t little_endian_32(const std::byte* at) {
  std::uint32_t v = 0;
  for (int i = 3; i >= 0; --i) v = v << 8 | std::to_integer<std::uint32_t>(at[i]);
  return v;
}

Error unreadable(const std::string& path, const std::string& why) {
  return {str(Code::data_unreadable), "cannot read " + path + ": " + why, "check the path and its permissions"};
}

Error shrunk(const TokenFile& file, std::int64_t now) {
  return {str(Code::data_changed),
          file.path + " had " + with_commas(file.bytes) + " bytes when it was opened and now has " + with_commas(now), kLeaveAlone};
}

// The files that `pattern` names: sorted bytewise by path, each real path once. Folders that a pattern matches are left out.
Result<std::vector<std::string>> matches(const std::string& pattern) {
  namespace fs = std::filesystem;
  std::error_code trouble;
  std::vector<std::string> found;
  if (fs::exists(pattern, trouble)) {
    if (fs::is_directory(pattern, trouble)) return unreadable(pattern, "it is a folder");
    found.push_back(pattern);
  } else {
    glob_t result{};
    int rc = ::glob(pattern.c_str(), GLOB_NOSORT, nullptr, &result);
    if (rc == 0)
      for (std::size_t i = 0; i < result.gl_pathc; ++i)
        if (!fs::is_directory(result.gl_pathv[i], trouble)) found.push_back(result.gl_pathv[i]);
    globfree(&result);
    if (rc == GLOB_ABORTED || rc == GLOB_NOSPACE) return unreadable(pattern, "its folder cannot be searched");
  }
  if (found.empty())
    return Error{str(Code::data_no_match), "no file matches " + pattern,
                 "paths in a file are relative to that file, paths on the command line to the working directory"};
  std::sort(found.begin(), found.end());
  std::set<std::string> seen;
  std::vector<std::string> once;
  for (const std::string& path : found) {
    fs::path real = fs::canonical(path, trouble);
    if (seen.insert(trouble ? path : real.string()).second) once.push_back(path);
  }
  return once;
}

// Opens for reading; where the soft limit on open files is in the way, raises it as far as the hard limit allows.
int open_descriptor(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  rlimit limit{};
  if (fd < 0 && errno == EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  }
  return fd;
}

// Exactly `bytes` at `offset` of the file. Reading calls, unlike a mapping, give an error where the file was cut short in
// between or the disk cannot be read.
Status read_exactly(const TokenFile& file, std::int64_t offset, void* into, std::int64_t bytes) {
  char* at = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t got = pread(file.descriptor, at, static_cast<std::size_t>(bytes), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(file.path, std::strerror(errno));
    if (got == 0) return shrunk(file, offset);
    at += got;
    offset += got;
    bytes -= got;
  }
  return {};
}

// Finds llm.c's header and the number of tokens behind it; checks both against the size of the file.
Status measure(TokenFile& file, TokenFormat format) {
  std::int64_t size = token_bytes(format), body = file.bytes;
  if (format != TokenFormat::bytes && file.bytes >= kHeaderBytes) {
    std::byte header[12];
    if (Status status = read_exactly(file, 0, header, sizeof header); !status) return status;
    std::uint32_t magic = little_endian_32(header), version = little_endian_32(header + 4);
    for (const HeaderKind& kind : kHeaders) {
      if (magic != kind.magic || version != kind.version) continue;
      if (kind.format != format)
        return Error{str(Code::data_size),
                     file.path + " has llm.c's header for " + format_name(kind.format) + " tokens and is read as " +
                         format_name(format),
                     std::string("write tokens(..., ") + format_name(kind.format) + ")"};
      file.header_bytes = kHeaderBytes;
      body -= kHeaderBytes;
      std::int64_t stated = little_endian_32(header + 8);
      if (stated * size != body)
        return Error{str(Code::data_size),
                     file.path + ": its header states " + with_commas(stated) + " tokens (" + with_commas(stated * size) +
                         " bytes) and " + with_commas(body) + " bytes follow it",
                     "the file is cut short or was appended to; write it again"};
    }
  }
  if (body % size != 0)
    return Error{str(Code::data_size),
                 file.path + " has " + with_commas(file.bytes) + " bytes, not a multiple of " + std::to_string(size) +
                     ", the size of one " + format_name(format) + " token",
                 "check the token type: u16 or u32"};
  file.tokens = body / size;
  return {};
}

Status open_file(TokenFile& file, TokenFormat format) {
  file.descriptor = open_descriptor(file.path);
  struct stat facts{};
  if (file.descriptor < 0 || fstat(file.descriptor, &facts) != 0) return unreadable(file.path, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) return unreadable(file.path, "it is not a regular file");
  file.bytes = facts.st_size;
  return measure(file, format);
}

template <class Stored>
Stored stored(const std::byte* at) {
  Stored v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

// The index of the first token at or above `limit`, or -1. The common case, none, is a plain maximum that vectorises.
template <class Stored>
std::int64_t first_at_or_above(const std::byte* at, std::int64_t count, std::int64_t limit) {
  constexpr std::int64_t block = 4096;
  for (std::int64_t begin = 0; begin < count; begin += block) {
    std::int64_t end = std::min(count, begin + block);
    Stored most = 0;
    for (std::int64_t i = begin; i < end; ++i) most = std::max(most, stored<Stored>(at + i * sizeof(Stored)));
    if (static_cast<std::int64_t>(most) < limit) continue;
    for (std::int64_t i = begin; i < end; ++i)
      if (static_cast<std::int64_t>(stored<Stored>(at + i * sizeof(Stored))) >= limit) return i;
  }
  return -1;
}

template <class Stored>
std::int64_t widen(const std::byte* at, std::int64_t count, std::int32_t* out) {
  std::int64_t most = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    Stored v = stored<Stored>(at + i * sizeof(Stored));
    most = std::max<std::int64_t>(most, v);
    out[i] = static_cast<std::int32_t>(v);
  }
  return most;
}

Error out_of_range(const TokenFile& file, TokenFormat format, std::int64_t token, std::int64_t value, std::int64_t limit) {
  const char* help = format == TokenFormat::bytes ? "a model of bytes needs a vocabulary of 256"
                                                  : "make the vocabulary larger, or check the token type and the file";
  return {str(Code::data_token_out_of_range),
          file.path + ": token " + with_commas(token) + " (byte offset " + with_commas(file.header_bytes + token * token_bytes(format)) +
              ") is " + with_commas(value) + ", the vocabulary has " + with_commas(limit),
          help};
}

Status check_tokens(const TokenFile& file, TokenFormat format, std::int64_t limit) {
  const std::int64_t size = token_bytes(format);
  if (limit > (std::int64_t{1} << (8 * size)) - 1) return {};
  constexpr std::int64_t kBlock = 1 << 20;
  std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlock, file.tokens * size)));
  for (std::int64_t begin = 0; begin < file.tokens; begin += kBlock / size) {
    const std::int64_t count = std::min(kBlock / size, file.tokens - begin);
    if (Status status = read_exactly(file, file.header_bytes + begin * size, block.data(), count * size); !status) return status;
    std::int64_t bad = -1, value = 0;
    if (format == TokenFormat::bytes) bad = first_at_or_above<std::uint8_t>(block.data(), count, limit);
    if (format == TokenFormat::u16) bad = first_at_or_above<std::uint16_t>(block.data(), count, limit);
    if (format == TokenFormat::u32) bad = first_at_or_above<std::uint32_t>(block.data(), count, limit);
    if (bad < 0) continue;
    for (std::int64_t i = size - 1; i >= 0; --i)
      value = value << 8 | std::to_integer<std::int64_t>(block[static_cast<std::size_t>(bad * size + i)]);
    return out_of_range(file, format, begin + bad, value, limit);
  }
  return {};
}

}  // namespace

Result<TokenFiles> TokenFiles::open(const DataSource& source, std::int64_t vocabulary) {
  Result<std::vector<std::string>> paths = matches(source.path);
  if (!paths) return paths.error();
  TokenFiles result;
  result.format_ = source.format;
  constexpr std::int64_t most = std::int64_t{1} << 31;
  result.limit_ = vocabulary > 0 ? std::min(vocabulary, most) : most;
  for (const std::string& path : *paths) {
    TokenFile& file = result.files_.emplace_back();
    file.path = path;
    if (Status opened = open_file(file, source.format); !opened) return opened.error();
    if (result.files_.size() > 1) {
      const TokenFile& before = result.files_[result.files_.size() - 2];
      file.first_token = before.first_token + before.tokens;
    }
    if (Status good = check_tokens(file, source.format, result.limit_); !good) return good.error();
  }
  if (result.tokens() == 0)
    return Error{str(Code::data_too_short),
                 paths->size() == 1 ? paths->front() + " is empty" : "the files that match " + source.path + " are empty",
                 "name files that hold text or tokens"};
  return result;
}

TokenFiles::TokenFiles(TokenFiles&& other) noexcept
    : files_(std::move(other.files_)), format_(other.format_), limit_(other.limit_) {
  other.files_.clear();
}

TokenFiles& TokenFiles::operator=(TokenFiles&& other) noexcept {
  std::swap(files_, other.files_);
  std::swap(format_, other.format_);
  std::swap(limit_, other.limit_);
  return *this;
}

TokenFiles::~TokenFiles() {
  for (const TokenFile& file : files_)
    if (file.descriptor >= 0) close(file.descriptor);
}

// That a file shrank is said even where the part to be read is still there. A token at or above the limit was not there
// at open: the file was overwritten in place.
Status TokenFiles::read_file(const TokenFile& file, std::int64_t begin, std::int64_t count, std::int32_t* out) const {
  struct stat facts{};
  if (fstat(file.descriptor, &facts) != 0) return unreadable(file.path, std::strerror(errno));
  if (facts.st_size < file.bytes) return shrunk(file, facts.st_size);
  const std::int64_t size = token_bytes(format_);
  std::byte block[4096];
  const std::int64_t most_at_once = static_cast<std::int64_t>(sizeof block) / size;
  std::int64_t most = 0;
  for (std::int64_t done = 0; done < count; done += most_at_once) {
    const std::int64_t now = std::min(most_at_once, count - done);
    if (Status status = read_exactly(file, file.header_bytes + (begin + done) * size, block, now * size); !status) return status;
    if (format_ == TokenFormat::bytes) most = std::max(most, widen<std::uint8_t>(block, now, out + done));
    if (format_ == TokenFormat::u16) most = std::max(most, widen<std::uint16_t>(block, now, out + done));
    if (format_ == TokenFormat::u32) most = std::max(most, widen<std::uint32_t>(block, now, out + done));
  }
  if (most >= limit_)
    return Error{str(Code::data_changed),
                 file.path + " was overwritten: a token between " + with_commas(begin) + " and " +
                     with_commas(begin + count - 1) + " is now " + with_commas(most) + ", the limit is " +
                     with_commas(limit_),
                 kLeaveAlone};
  return {};
}

Status TokenFiles::read(std::int64_t begin, std::int64_t count, std::int32_t* out) const {
  DSC_CHECK(begin >= 0 && count >= 0 && begin <= tokens() - count, "read past the end of the token stream");
  auto after = std::upper_bound(files_.begin(), files_.end(), begin,
                                [](std::int64_t at, const TokenFile& file) { return at < file.first_token; });
  for (auto file = after - 1; count > 0; ++file) {
    std::int64_t within = begin - file->first_token, take = std::min(count, file->tokens - within);
    if (take <= 0) continue;  // an empty file
    if (Status status = read_file(*file, within, take, out); !status) return status;
    begin += take;
    count -= take;
    out += take;
  }
  return {};
}

}  // namespace dsc
