#include "compiler/syntax/format.h"

#include <algorithm>
#include <string_view>
#include <vector>

namespace dsc::syntax {
namespace {

bool is_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// A token or a comment, in the order of the text.
struct Piece {
  std::string_view text;
  std::size_t token = 0;      // index in File::tokens; of a comment, that of the next token
  bool comment = false;
  int newlines_before = 0;
};

struct Line {
  std::string text;
  std::string comment;         // that trails it
  std::size_t equals = 0;      // where `=` of an entry of data or train stands, else 0
  bool blank_before = false;
  bool aligned = false;        // goes on in the brackets of the line before, under their first column
};

class Formatter {
 public:
  Formatter(const File& file, std::string_view text) : file_(file), text_(text) {}

  std::string run() {
    gather();
    find_blocks();
    for (std::size_t i = 0; i < pieces_.size(); ++i) place(i);
    finish_line();
    align();
    return joined();
  }

 private:
  std::string_view text(std::size_t token) const {
    const SourceRange r = file_.tokens[token].range;
    return text_.substr(r.begin, r.end - r.begin);
  }
  char first(std::size_t token) const { return text_[file_.tokens[token].range.begin]; }
  bool is_word(std::size_t token) const { return is_word_char(first(token)) && !(first(token) >= '0' && first(token) <= '9'); }

  void gather() {
    std::size_t comment = 0;
    std::uint32_t end = 0;
    const auto push = [&](SourceRange r, std::size_t token, bool is_comment) {
      const std::string_view between = text_.substr(end, r.begin - end);
      pieces_.push_back({text_.substr(r.begin, r.end - r.begin), token, is_comment, static_cast<int>(std::count(between.begin(), between.end(), '\n'))});
      end = r.end;
    };
    for (std::size_t i = 0; i <= file_.tokens.size(); ++i) {
      while (comment < file_.comments.size() && (i == file_.tokens.size() || file_.comments[comment].range.begin < file_.tokens[i].range.begin))
        push(file_.comments[comment++].range, i, true);
      if (i < file_.tokens.size()) push(file_.tokens[i].range, i, false);
    }
  }

  // A brace is open (one item a line) where its text has several lines or more than one item; else it stays on a line.
  void find_blocks() {
    open_.assign(file_.tokens.size(), false);
    entries_.assign(file_.tokens.size(), false);
    std::vector<std::size_t> braces;
    std::vector<int> items(file_.tokens.size(), 0);
    std::size_t item = 0;  // the last declaration
    for (std::size_t i = 0; i < file_.tokens.size(); ++i) {
      const Token& token = file_.tokens[i];
      if (token.begins_item && !braces.empty()) ++items[braces.back()];
      if (token.begins_item && braces.empty()) item = i;
      entries_[i] = token.begins_item && braces.size() == 1 && (text(item) == "data" || text(item) == "train");
      if (first(i) == '{') braces.push_back(i);
      if (first(i) != '}' || braces.empty()) continue;
      const std::size_t begin = braces.back();
      braces.pop_back();
      const std::uint32_t from = file_.tokens[begin].range.end, to = token.range.begin;
      const bool lines = i > begin + 1 && text_.substr(from, to - from).find('\n') != std::string_view::npos;
      open_[begin] = open_[i] = lines || items[begin] > 1 || has_comment(from, to);
    }
  }

  bool has_comment(std::uint32_t from, std::uint32_t to) const {
    return std::any_of(file_.comments.begin(), file_.comments.end(), [&](const Comment& c) { return c.range.begin >= from && c.range.end <= to; });
  }

  // ---- lines

  void place(std::size_t i) {
    const Piece& piece = pieces_[i];
    const std::size_t t = piece.token;
    const bool at_start = lines_.empty() && current_.text.empty();
    if (piece.comment) {
      std::string comment(piece.text);
      while (!comment.empty() && (comment.back() == ' ' || comment.back() == '\t')) comment.pop_back();
      if (piece.newlines_before == 0 && !at_start) {
        current_.comment = comment;
        must_break_ = true;
        return;
      }
      finish_line();
      current_.blank_before = piece.newlines_before > 1 && !just_opened_ && !lines_.empty();
      const bool item = t >= file_.tokens.size() || file_.tokens[t].begins_item || first(t) == '}';
      current_.aligned = !item && !columns_.empty() && columns_.back() > 0;
      current_.text = std::string(current_.aligned ? columns_.back() : indent_of(t, item), ' ') + comment;
      must_break_ = true;
      just_opened_ = false;
      return;
    }
    if (text(t) == "," && t + 1 < file_.tokens.size() && first(t + 1) == '}') return;  // no comma behind the last entry
    const bool closes_block = first(t) == '}' && open_[t];
    if (first(t) == '}') depth_ -= 1;
    const bool item = file_.tokens[t].begins_item && !(piece.newlines_before == 0 && inside_closed_brace(t));
    const bool breaks = must_break_ || item || closes_block || piece.newlines_before > 0;
    if (breaks && !at_start && !joins_previous(t)) {
      finish_line();
      current_.blank_before = piece.newlines_before > 1 && !just_opened_ && !closes_block;
      current_.aligned = !file_.tokens[t].begins_item && !columns_.empty() && columns_.back() > 0;
      const std::size_t indent = indent_of(t, file_.tokens[t].begins_item);
      current_.text = std::string(current_.aligned ? columns_.back() : indent, ' ');
    } else if (t > 0 && !at_start && (text(t - 1) == "," || space_between(t - 1, t))) {
      current_.text += ' ';
    }
    if (text(t) == "=" && t > 0 && entries_[t - 1]) current_.equals = current_.text.size();
    current_.text += piece.text;
    track_brackets(i);
    just_opened_ = false;
    must_break_ = false;
    if (first(t) == '{') {
      depth_ += 1;
      if (open_[t]) must_break_ = just_opened_ = true;
    }
  }

  // The column under which what stands in the innermost bracket goes on; 0 where the bracket ends its line, or is a brace.
  void track_brackets(std::size_t i) {
    const char c = first(pieces_[i].token);
    if (c == '{') columns_.push_back(0);
    if (c == '(' || c == '[') columns_.push_back(i + 1 < pieces_.size() && pieces_[i + 1].newlines_before == 0 && !pieces_[i + 1].comment ? current_.text.size() : 0);
    if ((c == ')' || c == ']' || c == '}') && !columns_.empty()) columns_.pop_back();
  }

  // `{` stands at the end of the line that it belongs to; a closed brace has no line breaks.
  bool joins_previous(std::size_t t) const {
    if (must_break_) return false;
    return first(t) == '{' || (first(t) == '}' && !open_[t]);
  }

  bool inside_closed_brace(std::size_t t) const {
    int depth = 0;
    for (std::size_t i = t; i-- > 0;) {
      if (first(i) == '}') ++depth;
      if (first(i) == '{' && depth-- == 0) return !open_[i];
    }
    return false;
  }

  std::size_t indent_of(std::size_t t, bool item) const {
    std::size_t indent = static_cast<std::size_t>(std::max(0, depth_)) * 2;
    if (item || t >= file_.tokens.size() || first(t) == '}' || t == 0) return indent;
    const bool in_braces = (first(t - 1) == '{' || first(t - 1) == ',') && directly_in_brace(t);
    return in_braces ? indent : indent + 4;
  }

  bool directly_in_brace(std::size_t t) const {
    int depth = 0;
    for (std::size_t i = t; i-- > 0;) {
      const char c = first(i);
      if (c == '}' || c == ')' || c == ']') ++depth;
      if ((c == '{' || c == '(' || c == '[') && depth-- == 0) return c == '{';
    }
    return false;
  }

  void finish_line() {
    if (!current_.text.empty() || !current_.comment.empty()) lines_.push_back(current_);
    current_ = {};
  }

  // ---- spaces

  bool is_unary_minus(std::size_t t) const {
    if (text(t) != "-") return false;
    if (t == 0) return true;
    const char before = first(t - 1);
    if (file_.tokens[t - 1].begins_item && is_word(t - 1)) return true;  // return -x
    return !(is_word_char(before) || before == '"' || before == ')' || before == ']' || before == '}');
  }

  bool opens_call_or_index(std::size_t t) const {  // for `(` or `[` behind a word
    const std::string_view word = text(t - 1);
    if (word == "as" || word == "to") return false;
    if (file_.tokens[t - 1].begins_item) return word == "forward";
    return true;
  }

  bool space_between(std::size_t a, std::size_t b) const {
    const std::string_view left = text(a), right = text(b);
    if (left == "(" || left == "[" || left == "." || right == "." || left == ".." || right == "..") return false;
    if (right == ")" || right == "]" || right == "," || right == ":") return false;
    if (left == "^" || right == "^") return false;
    if (is_unary_minus(a)) return false;
    if ((right == "(" || right == "[") && is_word(a)) return !opens_call_or_index(b);
    return true;
  }

  // ---- alignment of neighbouring lines

  // Lines that go on in brackets neither begin nor end a run.
  template <class Column, class Shift>
  void align_runs(Column column, Shift shift, bool over_aligned) {
    for (std::size_t i = 0; i < lines_.size();) {
      std::size_t end = i, widest = 0;
      for (; end < lines_.size(); ++end) {
        if (end > i && over_aligned && lines_[end].aligned) continue;
        if (column(lines_[end]) == 0 || (end > i && lines_[end].blank_before)) break;
        widest = std::max(widest, column(lines_[end]));
      }
      for (std::size_t k = i; k < end; ++k)
        if (column(lines_[k]) > 0) shift(k, widest - column(lines_[k]));
      i = std::max(end, i + 1);
    }
  }

  void align() {
    align_runs([](const Line& l) { return l.equals; },
               [&](std::size_t i, std::size_t by) {
                 lines_[i].text.insert(lines_[i].equals, by, ' ');
                 for (std::size_t k = i + 1; k < lines_.size() && lines_[k].aligned; ++k) lines_[k].text.insert(0, by, ' ');
               },
               true);
    align_runs([](const Line& l) { return l.comment.empty() ? std::size_t{0} : l.text.size(); },
               [&](std::size_t i, std::size_t by) { lines_[i].text.append(by, ' '); }, false);
  }

  std::string joined() const {
    std::string out;
    for (const Line& line : lines_) {
      if (line.blank_before && !out.empty()) out += '\n';
      out += line.text + (line.comment.empty() ? "" : "  " + line.comment) + "\n";
    }
    return out;
  }

  const File& file_;
  std::string_view text_;
  std::vector<Piece> pieces_;
  std::vector<bool> open_;     // per token: a brace that has one item a line
  std::vector<bool> entries_;  // per token: begins an entry of data or train
  std::vector<Line> lines_;
  Line current_;
  std::vector<std::size_t> columns_;  // per open bracket
  int depth_ = 0;
  bool must_break_ = false;
  bool just_opened_ = false;
};

}  // namespace

std::string format(const File& file, const SourceMap& sources) { return Formatter(file, sources.files()[file.id].text).run(); }

}  // namespace dsc::syntax
