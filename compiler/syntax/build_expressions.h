// The part of building a tree that all declarations share: ranges, names, errors, expressions. Only for the sources of
// compiler/syntax.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/syntax/build.h"

namespace dsc::syntax {

class ExpressionBuilder {
 public:
  using P = grammar::DsmParser;

  explicit ExpressionBuilder(const BuildInput& input) : in_(input) {}

  SourceRange range(antlr4::Token* from, antlr4::Token* to) const;
  SourceRange range(antlr4::ParserRuleContext* c) const { return range(c->getStart(), c->getStop()); }
  SourceRange range(antlr4::tree::TerminalNode* node) const { return range(node->getSymbol(), node->getSymbol()); }
  std::string text(SourceRange r) const { return std::string(in_.text.substr(r.begin, r.end - r.begin)); }
  Name name(antlr4::ParserRuleContext* c) const;
  template <class Context>
  std::vector<Name> names(const std::vector<Context*>& contexts) const {
    std::vector<Name> list;
    for (Context* c : contexts) list.push_back(name(c));
    return list;
  }
  std::optional<Name> name_if(antlr4::ParserRuleContext* c) const { return c == nullptr ? std::nullopt : std::optional(name(c)); }
  void error(Code code, SourceRange place, std::string message, std::string label, std::string help, std::vector<Note> notes = {});
  // Each name once; `what` says of what.
  void check_once(const std::vector<Name>& list, const std::string& what);
  void check_once(const std::vector<Entry>& entries, const std::string& what);
  Expr make(ExprKind kind, SourceRange r) const;
  Expr two(ExprKind kind, const std::string& op, Expr a, Expr b) const;
  Expr expr(P::ExprContext* c);
  Expr sum(P::SumContext* c);
  Expr product(P::ProductContext* c);
  Expr unary(P::UnaryContext* c);
  Expr power(P::PowerContext* c);
  Expr primary(P::PrimaryContext* c);
  Expr tuple(P::TupleContext* c);
  Expr list(P::ListContext* c);
  std::vector<Entry> object(P::ObjectContext* c);
  Expr number(P::NumberContext* c);
  std::string unescaped(const std::string& quoted) const;
  Expr string(antlr4::tree::TerminalNode* node) const;
  Expr lone_name(const Name& n) const;
  Segment segment(P::SegmentContext* c);
  // A path's text has no spaces (getText joins tokens), so that equal paths have equal texts.
  Expr path(P::PathContext* c);
  Expr call(antlr4::ParserRuleContext* whole, P::PathContext* callee, P::ArgumentsContext* arguments);
  Expr path_or_call(P::PathOrCallContext* c);
  Expr argument_value(P::ArgumentValueContext* c);

 protected:
  const BuildInput& in_;

 private:
  int errors_ = 0;
};

}  // namespace dsc::syntax
