// One data source opened: the glob's files in order, validated, as one stream of tokens.
// Every token is below the bound when open returns; reads check again that no file shrank or changed since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "compiler/support/result.h"
#include "compiler/support/training.h"

namespace dsc {

struct TokenFile {
  std::string path;                  // as matched
  std::int64_t bytes = 0;            // when opened
  std::int64_t header_bytes = 0;     // llm.c's header, else 0
  std::int64_t first_token = 0;      // its place in the stream
  std::int64_t tokens = 0;
  int descriptor = -1;
};

class TokenFiles {
 public:
  // `vocabulary` bounds the token values; 0: nothing does (they must still fit an i32).
  static Result<TokenFiles> open(const DataSource& source, std::int64_t vocabulary);
  TokenFiles() = default;
  TokenFiles(TokenFiles&&) noexcept;
  TokenFiles& operator=(TokenFiles&&) noexcept;
  ~TokenFiles();

  std::int64_t tokens() const { return files_.empty() ? 0 : files_.back().first_token + files_.back().tokens; }
  const std::vector<TokenFile>& files() const { return files_; }
  // Tokens [begin, begin + count) into `out`. Allocates nothing unless it fails.
  Status read(std::int64_t begin, std::int64_t count, std::int32_t* out) const;

 private:
  Status read_file(const TokenFile& file, std::int64_t begin, std::int64_t count, std::int32_t* out) const;

  std::vector<TokenFile> files_;
  TokenFormat format_ = TokenFormat::bytes;
  std::int64_t limit_ = 0;  // token values are below it
};

}  // namespace dsc
