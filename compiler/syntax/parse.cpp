#include "compiler/syntax/parse.h"

#include <memory>
#include <string>
#include <vector>

#include "DsmLexer.h"
#include "DsmParser.h"
#include "antlr4-runtime.h"
#include "compiler/syntax/build.h"
#include "compiler/syntax/lexed.h"
#include "compiler/syntax/syntax_errors.h"

namespace dsc::syntax {
namespace {

using antlr4::Token;
using grammar::DsmLexer;
using grammar::DsmParser;

// ANTLR counts characters. In a copy with one ASCII character for every byte its places are bytes, as everywhere else;
// texts are always taken from the original.
std::string ascii_copy(std::string_view text) {
  std::string copy(text);
  for (char& c : copy)
    if (static_cast<unsigned char>(c) >= 0x80) c = '\x01';
  if (text.starts_with("\xEF\xBB\xBF")) copy.replace(0, 3, "   ");
  return copy;
}

TokenClass class_of(std::size_t type) {
  switch (type) {
    case DsmLexer::ID: return TokenClass::word;
    case DsmLexer::UNIT: return TokenClass::unit;
    case DsmLexer::INT: return TokenClass::integer;
    case DsmLexer::REAL: return TokenClass::real;
    case DsmLexer::STRING: return TokenClass::string;
    case DsmLexer::COMMENT: return TokenClass::comment;
    case DsmLexer::BAD_NUMBER: return TokenClass::bad_number;
    case DsmLexer::BAD_STRING: return TokenClass::bad_string;
    case DsmLexer::BAD_COMMENT: return TokenClass::bad_comment;
    case DsmLexer::UNKNOWN: return TokenClass::unknown;
    default: return type <= DsmLexer::K_DROP ? TokenClass::word : TokenClass::symbol;
  }
}

// One text on its way through lexer, checks and parser; it owns what the parser's tree points into.
class Session {
 public:
  Session(std::uint32_t file, std::string_view text, Diagnostics& diagnostics)
      : file_(file), text_(text), diagnostics_(diagnostics), characters_(ascii_copy(text)), lexer_(&characters_) {}

  // Lexes and checks; false where a diagnostic was added.
  bool lex() {
    lexer_.removeErrorListeners();
    std::vector<std::unique_ptr<Token>> tokens;
    std::vector<LexToken> code;
    while (true) {
      tokens.push_back(lexer_.nextToken());
      const Token& token = *tokens.back();
      if (token.getType() == Token::EOF) break;
      const LexToken lexed{class_of(token.getType()), static_cast<std::uint32_t>(token.getStartIndex()),
                           static_cast<std::uint32_t>(token.getStopIndex() + 1)};
      all_.push_back(lexed);
      if (lexed.kind != TokenClass::comment) code.push_back(lexed);
      if (all_.size() > kMaxTokens) break;
    }
    if (all_.size() > kMaxTokens) code = all_;
    if (!check_tokens(code, file_, text_, diagnostics_)) return false;
    place_tokens();
    source_ = std::make_unique<antlr4::ListTokenSource>(std::move(tokens));
    stream_ = std::make_unique<antlr4::CommonTokenStream>(source_.get());
    parser_ = std::make_unique<DsmParser>(stream_.get());
    parser_->removeErrorListeners();
    parser_->setErrorHandler(std::make_shared<ErrorStrategy>(file_, text_, places_, diagnostics_));
    return true;
  }

  DsmParser& parser() { return *parser_; }
  const std::vector<LexToken>& tokens() const { return all_; }
  const std::vector<TokenPlace>& places() const { return places_; }

 private:
  void place_tokens() {
    int depth = 0;
    std::size_t line_from = 0;
    for (const LexToken& token : all_) {
      const std::string_view between = text_.substr(line_from, token.begin - line_from);
      const bool begins_line = line_from == 0 || between.find('\n') != std::string_view::npos;
      const char c = token.kind == TokenClass::symbol ? text_[token.begin] : ' ';
      if (c == ')' || c == ']' || c == '}') --depth;
      places_.push_back({depth, begins_line});
      if (c == '(' || c == '[' || c == '{') ++depth;
      line_from = token.end;
    }
  }

  std::uint32_t file_;
  std::string_view text_;
  Diagnostics& diagnostics_;
  antlr4::ANTLRInputStream characters_;
  DsmLexer lexer_;
  std::vector<LexToken> all_;
  std::vector<TokenPlace> places_;
  std::unique_ptr<antlr4::ListTokenSource> source_;
  std::unique_ptr<antlr4::CommonTokenStream> stream_;
  std::unique_ptr<DsmParser> parser_;
};

void move_range(SourceRange& range, std::uint32_t by) {
  range.begin += by;
  range.end += by;
}

void move_ranges(Expr& expr, std::uint32_t by) {
  move_range(expr.range, by);
  move_range(expr.callee, by);
  for (Expr& child : expr.children) move_ranges(child, by);
  for (Argument& argument : expr.args) {
    move_range(argument.range, by);
    if (argument.name) move_range(argument.name->range, by);
    move_ranges(argument.value, by);
  }
  for (Segment& segment : expr.segments) {
    move_range(segment.range, by);
    move_range(segment.name.range, by);
    if (segment.axis) move_range(segment.axis->range, by);
    for (Expr& bound : segment.bounds) move_ranges(bound, by);
  }
}

// Errors inside the braces of a stored name are reported by the caller, at the name.
std::optional<Expr> parse_index(std::uint32_t file, std::string_view text, std::uint32_t begin, std::uint32_t end) {
  Diagnostics errors;
  const std::string_view part = text.substr(begin, end - begin);
  Session session(file, part, errors);
  if (!session.lex()) return std::nullopt;
  DsmParser::LoneIndexContext* tree = session.parser().loneIndex();
  if (errors.has_errors()) return std::nullopt;
  Expr index = build_index(tree->sum(), {file, part, errors, {}});
  if (errors.has_errors()) return std::nullopt;
  move_ranges(index, begin);
  return index;
}

BuildInput build_input(std::uint32_t file, std::string_view text, Diagnostics& diagnostics) {
  return {file, text, diagnostics,
          [file, text](std::uint32_t begin, std::uint32_t end) { return parse_index(file, text, begin, end); }};
}

void keep_surface(File& file, const Session& session, std::string_view text, const std::vector<std::uint32_t>& item_begins) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < session.tokens().size(); ++i) {
    const LexToken& token = session.tokens()[i];
    const SourceRange range{file.id, token.begin, token.end};
    if (token.kind == TokenClass::comment) {
      file.comments.push_back({std::string(text.substr(token.begin, token.end - token.begin)), range, session.places()[i].begins_line});
      continue;
    }
    while (next < item_begins.size() && item_begins[next] < token.begin) ++next;
    file.tokens.push_back({range, session.places()[i].depth, next < item_begins.size() && item_begins[next] == token.begin});
  }
}

std::optional<File> parse_file(std::uint32_t file_id, const SourceFile& source, Diagnostics& errors) {
  if (!check_bytes(file_id, source.name, source.text, errors)) return std::nullopt;
  Session session(file_id, source.text, errors);
  if (!session.lex()) return std::nullopt;
  DsmParser::FileContext* tree = session.parser().file();
  if (errors.has_errors()) return std::nullopt;
  std::vector<std::uint32_t> item_begins;
  File file = build_file(tree, build_input(file_id, source.text, errors), item_begins);
  if (errors.has_errors()) return std::nullopt;
  keep_surface(file, session, source.text, item_begins);
  return file;
}

std::optional<Expr> parse_expression(std::uint32_t file_id, const SourceFile& source, Diagnostics& errors) {
  if (!check_bytes(file_id, source.name, source.text, errors)) return std::nullopt;
  Session session(file_id, source.text, errors);
  if (!session.lex()) return std::nullopt;
  DsmParser::LoneValueContext* tree = session.parser().loneValue();
  if (errors.has_errors()) return std::nullopt;
  Expr value = build_value(tree->expr(), build_input(file_id, source.text, errors));
  if (errors.has_errors()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<File> parse(std::uint32_t file_id, const SourceMap& sources, Diagnostics& diagnostics) {
  Diagnostics errors;
  std::optional<File> file = parse_file(file_id, sources.files()[file_id], errors);
  for (const Diagnostic& error : errors.list()) diagnostics.add(error);
  return file;
}

std::optional<Expr> parse_value(std::uint32_t file_id, const SourceMap& sources, Diagnostics& diagnostics) {
  Diagnostics errors;
  std::optional<Expr> value = parse_expression(file_id, sources.files()[file_id], errors);
  for (const Diagnostic& error : errors.list()) diagnostics.add(error);
  return value;
}

}  // namespace dsc::syntax
