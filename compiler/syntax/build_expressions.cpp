#include "compiler/syntax/build_expressions.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace dsc::syntax {
namespace {

using antlr4::ParserRuleContext;
using P = grammar::DsmParser;

struct UnitSize {
  const char* name;
  QuantityKind kind;
  double size;
};

constexpr UnitSize kUnits[] = {
    {"KiB", QuantityKind::bytes, 1024.0},         {"MiB", QuantityKind::bytes, 1048576.0},
    {"GiB", QuantityKind::bytes, 1073741824.0},   {"TiB", QuantityKind::bytes, 1099511627776.0},
    {"GB/s", QuantityKind::rate, 1e9},            {"us", QuantityKind::time, 1e-6},
    {"ms", QuantityKind::time, 1e-3},
};

}  // namespace

SourceRange ExpressionBuilder::range(antlr4::Token* from, antlr4::Token* to) const {
  return {in_.file, static_cast<std::uint32_t>(from->getStartIndex()), static_cast<std::uint32_t>(to->getStopIndex() + 1)};
}

Name ExpressionBuilder::name(ParserRuleContext* c) const {
  const SourceRange r = range(c);
  return {text(r), r};
}

void ExpressionBuilder::error(Code code, SourceRange place, std::string message, std::string label, std::string help, std::vector<Note> notes) {
  if (++errors_ > 20) return;
  in_.diagnostics.add({code, Severity::error, std::move(message), place, std::move(label), std::move(notes), std::move(help)});
}

void ExpressionBuilder::check_once(const std::vector<Name>& list, const std::string& what) {
  std::vector<const Name*> sorted;
  for (const Name& n : list) sorted.push_back(&n);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Name* a, const Name* b) { return a->text < b->text; });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i]->text == sorted[i - 1]->text)
      error(Code::name_repeated, sorted[i]->range, "`" + sorted[i]->text + "` is given twice in " + what, "", "remove one of the two",
            {{"first given here", sorted[i - 1]->range}});
}

void ExpressionBuilder::check_once(const std::vector<Entry>& entries, const std::string& what) {
  std::vector<Name> list;
  for (const Entry& entry : entries) {
    list.push_back(entry.name);
    list.insert(list.end(), entry.alternatives.begin(), entry.alternatives.end());
  }
  check_once(list, what);
}

Expr ExpressionBuilder::make(ExprKind kind, SourceRange r) const {
  Expr e;
  e.kind = kind;
  e.range = e.callee = r;
  return e;
}

Expr ExpressionBuilder::two(ExprKind kind, const std::string& op, Expr a, Expr b) const {
  Expr e = make(kind, {in_.file, a.range.begin, b.range.end});
  e.text = op;
  e.children.push_back(std::move(a));
  e.children.push_back(std::move(b));
  return e;
}

Expr ExpressionBuilder::expr(P::ExprContext* c) {
  Expr left = sum(c->sum(0));
  if (c->comparison() == nullptr) return left;
  return two(ExprKind::compare, c->comparison()->getText(), std::move(left), sum(c->sum(1)));
}

Expr ExpressionBuilder::sum(P::SumContext* c) {
  Expr left = product(c->product(0));
  for (std::size_t i = 1; i < c->product().size(); ++i)
    left = two(ExprKind::binary, c->children[2 * i - 1]->getText(), std::move(left), product(c->product(i)));
  return left;
}

Expr ExpressionBuilder::product(P::ProductContext* c) {
  Expr left = unary(c->unary(0));
  for (std::size_t i = 1; i < c->unary().size(); ++i)
    left = two(ExprKind::binary, c->children[2 * i - 1]->getText(), std::move(left), unary(c->unary(i)));
  return left;
}

Expr ExpressionBuilder::unary(P::UnaryContext* c) {
  if (c->unary() == nullptr) return power(c->power());
  Expr e = make(ExprKind::unary, range(c));
  e.text = "-";
  e.children.push_back(unary(c->unary()));
  return e;
}

Expr ExpressionBuilder::power(P::PowerContext* c) {
  Expr base = primary(c->primary());
  if (c->unary() == nullptr) return base;
  return two(ExprKind::binary, "^", std::move(base), unary(c->unary()));
}

Expr ExpressionBuilder::primary(P::PrimaryContext* c) {
  if (c->number() != nullptr) return number(c->number());
  if (c->STRING() != nullptr) return string(c->STRING());
  if (c->pathOrCall() != nullptr) return path_or_call(c->pathOrCall());
  if (c->group() != nullptr) {
    Expr e = make(ExprKind::group, range(c));
    for (P::WordContext* word : c->group()->word()) e.children.push_back(lone_name(name(word)));
    return e;
  }
  if (c->tuple() != nullptr) return tuple(c->tuple());
  if (c->list() != nullptr) return list(c->list());
  Expr e = make(ExprKind::object, range(c));
  e.entries = object(c->object());
  return e;
}

Expr ExpressionBuilder::tuple(P::TupleContext* c) {
  if (c->expr().size() == 1) {
    Expr e = expr(c->expr(0));
    e.range = range(c);
    e.parenthesized = true;
    return e;
  }
  Expr e = make(ExprKind::tuple, range(c));
  for (P::ExprContext* child : c->expr()) e.children.push_back(expr(child));
  return e;
}

Expr ExpressionBuilder::list(P::ListContext* c) {
  Expr e = make(ExprKind::list, range(c));
  for (P::ExprContext* child : c->expr()) e.children.push_back(expr(child));
  return e;
}

std::vector<Entry> ExpressionBuilder::object(P::ObjectContext* c) {
  std::vector<Entry> entries;
  if (c == nullptr) return entries;
  for (P::ObjectEntryContext* e : c->objectEntry()) entries.push_back({name(e->word()), {}, expr(e->expr()), range(e)});
  check_once(entries, "these braces");
  return entries;
}

Expr ExpressionBuilder::number(P::NumberContext* c) {
  Expr e = make(c->INT() != nullptr ? ExprKind::integer : ExprKind::real, range(c));
  const std::string digits = c->getStart()->getText();
  std::from_chars(digits.data(), digits.data() + digits.size(), e.number);
  if (c->INT() != nullptr) std::from_chars(digits.data(), digits.data() + digits.size(), e.integer);
  if (c->UNIT() == nullptr) return e;
  const std::string unit = c->UNIT()->getText();
  const UnitSize& size = *std::find_if(std::begin(kUnits), std::end(kUnits), [&](const UnitSize& u) { return unit == u.name; });
  const bool whole = e.kind == ExprKind::integer;
  const std::int64_t count = e.integer;
  e.kind = ExprKind::quantity;
  e.unit = unit;
  e.quantity = size.kind;
  e.number *= size.size;
  e.text = digits + " " + unit;
  if (size.kind != QuantityKind::bytes) return e;
  const auto factor = static_cast<std::int64_t>(size.size);
  if (e.number >= 9.2e18 || (whole && count > std::numeric_limits<std::int64_t>::max() / factor)) {
    error(Code::number_out_of_range, e.range, "this number of bytes is too large", "above 9223372036854775807 bytes", "byte counts have 64 bits");
    return e;
  }
  e.integer = whole ? count * factor : static_cast<std::int64_t>(e.number);
  if (static_cast<double>(e.integer) != e.number && !whole)
    error(Code::malformed_number, e.range, "`" + e.text + "` is not a whole number of bytes", "", "write it in a smaller unit");
  return e;
}

std::string ExpressionBuilder::unescaped(const std::string& quoted) const {
  std::string value;
  for (std::size_t i = 1; i + 1 < quoted.size(); ++i) {
    if (quoted[i] != '\\') {
      value += quoted[i];
      continue;
    }
    const char c = quoted[++i];
    value += c == 'n' ? '\n' : c == 't' ? '\t' : c;
  }
  return value;
}

Expr ExpressionBuilder::string(antlr4::tree::TerminalNode* node) const {
  Expr e = make(ExprKind::string, range(node));
  e.text = unescaped(text(e.range));
  return e;
}

Expr ExpressionBuilder::lone_name(const Name& n) const {
  ExprKind kind = ExprKind::name;
  if (n.text == "true") kind = ExprKind::yes;
  if (n.text == "false") kind = ExprKind::no;
  if (n.text == "null") kind = ExprKind::null;
  if (n.text == "auto") kind = ExprKind::automatic;
  Expr e = make(kind, n.range);
  e.text = n.text;
  if (kind == ExprKind::name) e.segments.push_back({n, IndexKind::none, std::nullopt, {}, n.range});
  return e;
}

Segment ExpressionBuilder::segment(P::SegmentContext* c) {
  Segment s{name(c->word()), IndexKind::none, std::nullopt, {}, range(c)};
  P::SubscriptContext* index = c->subscript();
  if (index == nullptr) return s;
  if (index->STAR() != nullptr) {
    s.index = IndexKind::star;
    return s;
  }
  for (P::SumContext* bound : index->sum()) s.bounds.push_back(sum(bound));
  s.axis = name_if(index->word());
  if (s.axis) s.index = IndexKind::axis;
  else if (s.bounds.size() == 2) s.index = IndexKind::range;
  else s.index = s.bounds[0].kind == ExprKind::integer ? IndexKind::integer : IndexKind::expression;
  return s;
}

Expr ExpressionBuilder::path(P::PathContext* c) {
  if (c->segment().size() == 1 && c->segment(0)->subscript() == nullptr) return lone_name(name(c->segment(0)->word()));
  Expr e = make(ExprKind::path, range(c));
  for (P::SegmentContext* s : c->segment()) e.segments.push_back(segment(s));
  e.text = c->getText();
  return e;
}

Expr ExpressionBuilder::call(ParserRuleContext* whole, P::PathContext* callee, P::ArgumentsContext* arguments) {
  Expr e = make(ExprKind::call, range(whole));
  e.callee = range(callee);
  e.text = callee->getText();
  for (P::SegmentContext* s : callee->segment()) e.segments.push_back(segment(s));
  std::vector<Name> given;
  for (P::ArgumentContext* a : arguments->argument()) {
    Argument argument{name_if(a->word()), argument_value(a->argumentValue()), range(a)};
    if (argument.name) given.push_back(*argument.name);
    else if (!given.empty())
      error(Code::positional_after_named, argument.range, "an argument without a name stands behind `" + given.back().text + ":`", "",
            "put the arguments without names first, or name this one");
    e.args.push_back(std::move(argument));
  }
  check_once(given, "the arguments of `" + e.text + "`");
  return e;
}

Expr ExpressionBuilder::path_or_call(P::PathOrCallContext* c) {
  return c->arguments() == nullptr ? path(c->path()) : call(c, c->path(), c->arguments());
}

Expr ExpressionBuilder::argument_value(P::ArgumentValueContext* c) {
  Expr e = expr(c->expr(0));
  if (c->expr().size() == 2) e = two(ExprKind::arrow, "->", std::move(e), expr(c->expr(1)));
  if (c->list() == nullptr) return e;
  return two(ExprKind::shaped, "as", std::move(e), list(c->list()));
}

Expr build_value(P::ExprContext* tree, const BuildInput& input) { return ExpressionBuilder(input).expr(tree); }

Expr build_index(P::SumContext* tree, const BuildInput& input) { return ExpressionBuilder(input).sum(tree); }

}  // namespace dsc::syntax
