// Entries of data, train and layouts read as plain values, with a message where they are of another kind or range.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/diagnostic.h"
#include "compiler/syntax/ast.h"

namespace dsc::sema {

class ValueReader {
 public:
  ValueReader(const SourceMap& sources, Diagnostics& diagnostics) : sources_(sources), diagnostics_(diagnostics) {}

  // A whole number from `least` to `most`.
  std::optional<std::int64_t> whole(const syntax::Expr& expr, const std::string& what, std::int64_t least, std::int64_t most = INT64_MAX) const;
  struct Range {
    double least, most;
    bool open_least = false, open_most = false;
    std::string text;  // "above 0", "from 0 to 1"
  };
  std::optional<double> number(const syntax::Expr& expr, const std::string& what, const Range& range) const;
  std::optional<std::string> string(const syntax::Expr& expr, const std::string& what) const;
  // A word or the name of a call, one of `choices`.
  std::optional<std::string> choice(const syntax::Expr& expr, const std::string& what, const std::vector<std::string>& choices) const;
  // As written in the file.
  std::string text(SourceRange range) const;
  Diagnostics& diagnostics() const { return diagnostics_; }

 private:
  const SourceMap& sources_;
  Diagnostics& diagnostics_;
};

}  // namespace dsc::sema
