// The SHA-256 of a file, streamed.
#pragma once

#include <string>

#include "compiler/support/result.h"
#include "runtime/data/token_files.h"

namespace dsc {

// Lower-case hex of the whole file, header included.
Result<std::string> sha256_of(const TokenFile& file);
// Lower-case hex of a text.
std::string sha256_of(const std::string& text);

}  // namespace dsc
