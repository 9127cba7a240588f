#include "compiler/support/diagnostic.h"

#include <algorithm>
#include <tuple>

#include "compiler/support/check.h"

namespace dsc {
namespace {

const char* word(Severity severity) {
  switch (severity) {
    case Severity::error: return "error";
    case Severity::warning: return "warning";
    case Severity::note: return "note";
  }
  return "";
}

// At most this much of a source line is shown, around the place.
constexpr std::size_t kWidth = 160;

// The line of `range` with carets below it, and the label beside them.
std::string excerpt(SourceRange range, const std::string& label, const SourceMap& sources, std::size_t gutter) {
  SourcePlace at = sources.place(range.file, range.begin);
  std::string line = sources.line_text(range.file, range.begin);
  std::string number = std::to_string(at.line);
  std::size_t column = std::min<std::size_t>(at.column - 1, line.size());
  if (line.size() > kWidth) {
    std::size_t cut = column > kWidth / 2 ? column - kWidth / 2 : 0;
    line = line.substr(cut, kWidth);
    column -= cut;
  }
  std::size_t carets = std::max<std::size_t>(1, std::min<std::size_t>(range.end - range.begin, line.size() - std::min(line.size(), column)));
  std::string pad;
  for (std::size_t i = 0; i < column; ++i) pad += line[i] == '\t' ? '\t' : ' ';
  std::string blank(gutter, ' ');
  std::string text = blank + " |\n";
  text += number + " | " + line + "\n";
  text += blank + " | " + pad + std::string(carets, '^') + (label.empty() ? "" : " " + label) + "\n";
  return text;
}

// Letters added, removed, replaced, or two neighbours exchanged.
int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> before, above, row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before = std::move(above);
    above = row;
    row[0] = static_cast<int>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

void Diagnostics::add(Diagnostic diagnostic) {
  ++reports_;
  const SourceRange& range = diagnostic.range;
  if (!known_.emplace(diagnostic.code, range.file, range.begin, range.end).second) return;
  list_.push_back(std::move(diagnostic));
}

bool Diagnostics::has_errors() const {
  return std::any_of(list_.begin(), list_.end(), [](const Diagnostic& d) { return d.severity == Severity::error; });
}

std::string render(const Diagnostic& diagnostic, const SourceMap& sources) {
  std::string text = std::string(word(diagnostic.severity)) + "[" + str(diagnostic.code) + "]: " + diagnostic.message + "\n";
  bool has_place = diagnostic.range.file < sources.files().size() && diagnostic.range.end > 0;
  if (has_place) {
    SourcePlace at = sources.place(diagnostic.range.file, diagnostic.range.begin);
    std::size_t gutter = std::to_string(at.line).size();
    text += std::string(gutter, ' ') + "--> " + sources.str(diagnostic.range) + "\n";
    text += excerpt(diagnostic.range, diagnostic.label, sources, gutter);
  }
  for (const Note& note : diagnostic.notes) {
    text += "note: " + note.message + "\n";
    if (note.range.end > 0) text += "  --> " + sources.str(note.range) + "\n";
  }
  if (!diagnostic.help.empty()) text += "help: " + diagnostic.help + "\n";
  return text;
}

std::string render(const Diagnostics& diagnostics, const SourceMap& sources) {
  std::vector<const Diagnostic*> sorted;
  for (const Diagnostic& d : diagnostics.list()) sorted.push_back(&d);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Diagnostic* a, const Diagnostic* b) {
    return std::tuple(a->range.file, a->range.begin, a->code) < std::tuple(b->range.file, b->range.begin, b->code);
  });
  std::string text;
  for (const Diagnostic* d : sorted) text += (text.empty() ? "" : "\n") + render(*d, sources);
  return text;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  constexpr std::size_t longest = 100;  // the time is the product of both lengths
  std::string best;
  if (word.size() > longest) return best;
  int limit = std::max<int>(1, static_cast<int>(word.size()) / 3);
  for (const std::string& candidate : candidates) {
    if (candidate.size() > word.size() + static_cast<std::size_t>(limit) || word.size() > candidate.size() + static_cast<std::size_t>(limit)) continue;
    int distance = edit_distance(word, candidate);
    if (distance > limit || (distance == limit && !best.empty())) continue;
    best = candidate;
    limit = distance;
  }
  return best;
}

}  // namespace dsc
