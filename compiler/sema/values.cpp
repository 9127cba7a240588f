#include "compiler/sema/values.h"

#include <algorithm>

#include "compiler/sema/scalar.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {

using syntax::Expr;
using syntax::ExprKind;

namespace {

// Numbers in these sections use no names.
std::optional<Scalar> plain(const Expr& expr, const std::string& what, Diagnostics& diagnostics) {
  if (expr.kind == ExprKind::string || expr.kind == ExprKind::name || expr.kind == ExprKind::automatic || expr.kind == ExprKind::tuple || expr.kind == ExprKind::yes ||
      expr.kind == ExprKind::no || expr.kind == ExprKind::call) {
    fail(diagnostics, Code::wrong_kind_of_value, expr.range, ticked(what) + " is a number, and this is " + ticked(syntax::print(expr)));
    return std::nullopt;
  }
  if (expr.kind == ExprKind::quantity) {
    fail(diagnostics, Code::wrong_unit, expr.range, ticked(what) + " is a plain number, without the unit " + ticked(expr.unit));
    return std::nullopt;
  }
  const ScalarNames names = [&](const Expr& name) -> std::optional<Scalar> {
    fail(diagnostics, Code::wrong_kind_of_value, name.range, ticked(name.text) + " is no number", "", "only numbers and arithmetic on them stand here");
    return std::nullopt;
  };
  return evaluate(expr, names, {diagnostics, true});
}

}  // namespace

std::optional<std::int64_t> ValueReader::whole(const Expr& expr, const std::string& what, std::int64_t least, std::int64_t most) const {
  std::optional<Scalar> value = plain(expr, what, diagnostics_);
  if (!value) return std::nullopt;
  if (value->whole && value->integer >= least && value->integer <= most) return value->integer;
  const std::string limits = most == INT64_MAX ? "from " + std::to_string(least) : "from " + std::to_string(least) + " to " + std::to_string(most);
  fail(diagnostics_, Code::value_out_of_range, expr.range, ticked(what) + " cannot be " + str(*value), "", "it is a whole number " + limits);
  return std::nullopt;
}

std::optional<double> ValueReader::number(const Expr& expr, const std::string& what, const Range& range) const {
  std::optional<Scalar> value = plain(expr, what, diagnostics_);
  if (!value) return std::nullopt;
  const double x = value->number;
  const bool low = range.open_least ? x > range.least : x >= range.least, high = range.open_most ? x < range.most : x <= range.most;
  if (low && high) return x;
  fail(diagnostics_, Code::value_out_of_range, expr.range, ticked(what) + " cannot be " + str(*value), "", "it is a number " + range.text);
  return std::nullopt;
}

std::optional<std::string> ValueReader::string(const Expr& expr, const std::string& what) const {
  if (expr.kind == ExprKind::string && !expr.text.empty()) return expr.text;
  fail(diagnostics_, Code::wrong_kind_of_value, expr.range, ticked(what) + " is a string, and this is " + (expr.kind == ExprKind::string ? std::string("empty") : ticked(syntax::print(expr))));
  return std::nullopt;
}

std::optional<std::string> ValueReader::choice(const Expr& expr, const std::string& what, const std::vector<std::string>& choices) const {
  const bool word = expr.kind == ExprKind::name || expr.kind == ExprKind::call;
  if (word && std::find(choices.begin(), choices.end(), expr.text) != choices.end()) return expr.text;
  const std::string shown = word ? expr.text : syntax::print(expr);
  const std::string near = word ? nearest(shown, choices) : "";
  const std::string all = choices.size() == 1 ? "it is " + ticked(choices[0]) : "it may be " + listed(ticked_all(choices));
  fail(diagnostics_, Code::unknown_choice, expr.kind == ExprKind::call ? expr.callee : expr.range, ticked(what) + " cannot be " + ticked(shown), near.empty() ? "" : "did you mean " + ticked(near) + "?", all);
  return std::nullopt;
}

std::string ValueReader::text(SourceRange range) const { return sources_.files()[range.file].text.substr(range.begin, range.end - range.begin); }

}  // namespace dsc::sema
