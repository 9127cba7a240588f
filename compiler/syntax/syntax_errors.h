// Reports the parser's errors in the user's terms and goes on behind them: at the next item that begins a line at the
// depth of the one that failed. Only for the sources of compiler/syntax.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "DsmParser.h"
#include "antlr4-runtime.h"
#include "compiler/support/diagnostic.h"

namespace dsc::syntax {

// For each token of the stream: how many brackets are open around it, and whether it is the first of its line.
struct TokenPlace {
  int depth = 0;
  bool begins_line = false;
};

class ErrorStrategy : public antlr4::DefaultErrorStrategy {
 public:
  ErrorStrategy(std::uint32_t file, std::string_view text, std::vector<TokenPlace> places, Diagnostics& diagnostics)
      : file_(file), text_(text), places_(std::move(places)), diagnostics_(diagnostics) {}

  void recover(antlr4::Parser* parser, std::exception_ptr error) override;
  antlr4::Token* recoverInline(antlr4::Parser* parser) override;
  void sync(antlr4::Parser* parser) override;

 protected:
  void reportNoViableAlternative(antlr4::Parser* parser, const antlr4::NoViableAltException& error) override;
  void reportInputMismatch(antlr4::Parser* parser, const antlr4::InputMismatchException& error) override;

 private:
  void report(antlr4::Parser* parser, antlr4::Token* found, const std::vector<std::string>& expected);
  void report_item(antlr4::Parser* parser, antlr4::Token* found);
  void skip_to_item(antlr4::Parser* parser, std::size_t from, int depth);
  std::string shown(antlr4::Token* token) const;
  void add(Code code, antlr4::Token* found, std::string message, std::string label, std::string help);

  std::uint32_t file_;
  std::string_view text_;
  std::vector<TokenPlace> places_;
  Diagnostics& diagnostics_;
  int errors_ = 0;
};

}  // namespace dsc::syntax
