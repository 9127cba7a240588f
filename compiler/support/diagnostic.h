// Diagnostics: what is wrong in a .dsm file, where, why, and the edit that would be valid. Stages add them to a
// Diagnostics list and go on where they can, so one run reports several. Codes are listed in diagnostic_codes.h.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/source.h"

namespace dsc {

enum class Severity { error, warning, note };

struct Note {
  std::string message;
  SourceRange range;
};

struct Diagnostic {
  Code code;
  Severity severity = Severity::error;
  std::string message;      // "axis `heads` (12) does not divide over `tensor` (8)"
  SourceRange range;
  std::string label;        // beside the carets: "12 over 8 leaves 4"; may be empty
  std::vector<Note> notes;  // other places, each with a message
  std::string help;         // the edit that would be valid; may be empty
};

class Diagnostics {
 public:
  // Adds one; the same code at the same range is kept once (a repeated block reports once).
  void add(Diagnostic diagnostic);
  bool has_errors() const;
  const std::vector<Diagnostic>& list() const { return list_; }
  // How often something was added, repetitions included.
  std::int64_t reports() const { return reports_; }

 private:
  std::vector<Diagnostic> list_;
  std::int64_t reports_ = 0;
  std::set<std::tuple<Code, std::uint32_t, std::uint32_t, std::uint32_t>> known_;  // code and range of each
};

// The text of one diagnostic as the user sees it, carets included, ending in a newline.
std::string render(const Diagnostic& diagnostic, const SourceMap& sources);
// All of them, sorted by file and place, a blank line between.
std::string render(const Diagnostics& diagnostics, const SourceMap& sources);

// The candidate nearest to `word` by edit distance (at most a third of its length), or "".
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace dsc
