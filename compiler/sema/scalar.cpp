#include "compiler/sema/scalar.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {
namespace {

using syntax::Expr;
using syntax::ExprKind;

std::optional<Scalar> overflow(const Folding& folding, SourceRange at) {
  fail(folding.diagnostics, Code::too_large, at, "this whole number does not fit 64 bits");
  return std::nullopt;
}

std::optional<Scalar> whole_power(const Folding& folding, std::int64_t base, std::int64_t exponent, SourceRange at) {
  if (base >= -1 && base <= 1) return Scalar::of(exponent == 0 ? std::int64_t{1} : base == -1 && exponent % 2 == 0 ? std::int64_t{1} : base);
  std::int64_t result = 1;
  for (std::int64_t i = 0; i < exponent; ++i)
    if (__builtin_mul_overflow(result, base, &result)) return overflow(folding, at);
  return Scalar::of(result);
}

std::optional<Scalar> fold_whole(const Folding& folding, const std::string& op, std::int64_t a, std::int64_t b, SourceRange at) {
  std::int64_t result = 0;
  if (op == "+") return __builtin_add_overflow(a, b, &result) ? overflow(folding, at) : Scalar::of(result);
  if (op == "-") return __builtin_sub_overflow(a, b, &result) ? overflow(folding, at) : Scalar::of(result);
  if (op == "*") return __builtin_mul_overflow(a, b, &result) ? overflow(folding, at) : Scalar::of(result);
  if (op == "^") return b < 0 ? Scalar::of(std::pow(static_cast<double>(a), static_cast<double>(b))) : whole_power(folding, a, b, at);
  if (b == 0 && !folding.sizes_known) return Scalar::of(std::int64_t{1});
  if (b == 0) {
    fail(folding.diagnostics, Code::inexact_division, at, "this divides by zero");
    return std::nullopt;
  }
  if (b == -1) return fold_whole(folding, "-", 0, a, at);  // where a is the least number, its negative does not exist
  if (a % b == 0) return Scalar::of(a / b);
  if (!folding.sizes_known) return Scalar::of(std::max<std::int64_t>(1, a / b));
  fail(folding.diagnostics, Code::inexact_division, at,
       std::to_string(a) + " / " + std::to_string(b) + " is not a whole number",
       std::to_string(a) + " over " + std::to_string(b) + " leaves " + std::to_string(a % b),
       "choose sizes that divide, or write a real (`" + std::to_string(b) + ".0`) where a real quotient is meant");
  return std::nullopt;
}

}  // namespace

std::string str(const Scalar& value) { return value.whole ? std::to_string(value.integer) : real_text(value.number); }

std::optional<Scalar> fold(const Folding& folding, const std::string& op, const Scalar& a, const Scalar& b, SourceRange at) {
  if (a.whole && b.whole) return fold_whole(folding, op, a.integer, b.integer, at);
  if (op == "+") return Scalar::of(a.number + b.number);
  if (op == "-") return Scalar::of(a.number - b.number);
  if (op == "*") return Scalar::of(a.number * b.number);
  if (op == "/") return Scalar::of(a.number / b.number);
  return Scalar::of(std::pow(a.number, b.number));
}

bool compare(const std::string& op, const Scalar& a, const Scalar& b) {
  const auto decide = [&](auto x, auto y) {
    if (op == "<") return x < y;
    if (op == "<=") return x <= y;
    if (op == ">") return x > y;
    if (op == ">=") return x >= y;
    return op == "==" ? x == y : x != y;
  };
  return a.whole && b.whole ? decide(a.integer, b.integer) : decide(a.number, b.number);
}

std::optional<Scalar> fold_function(const std::string& name, const std::vector<Scalar>& arguments) {
  if (arguments.size() == 2 && (name == "max" || name == "min")) {
    const bool first = name == "max" ? arguments[0].number >= arguments[1].number : arguments[0].number <= arguments[1].number;
    return first ? arguments[0] : arguments[1];
  }
  if (arguments.size() != 1) return std::nullopt;
  const Scalar& a = arguments[0];
  const double x = a.number;
  if (name == "abs") return a.whole && a.integer != std::numeric_limits<std::int64_t>::min() ? Scalar::of(std::abs(a.integer)) : Scalar::of(std::fabs(x));
  if (name == "real") return Scalar::of(x);
  if (name == "exp") return Scalar::of(std::exp(x));
  if (name == "log") return Scalar::of(std::log(x));
  if (name == "sqrt") return Scalar::of(std::sqrt(x));
  if (name == "rsqrt") return Scalar::of(1 / std::sqrt(x));
  if (name == "tanh") return Scalar::of(std::tanh(x));
  if (name == "sigmoid") return Scalar::of(1 / (1 + std::exp(-x)));
  if (name == "erf") return Scalar::of(std::erf(x));
  if (name == "sin") return Scalar::of(std::sin(x));
  if (name == "cos") return Scalar::of(std::cos(x));
  return std::nullopt;
}

std::optional<Scalar> evaluate(const Expr& expr, const ScalarNames& names, const Folding& folding) {
  switch (expr.kind) {
    case ExprKind::integer: return Scalar::of(expr.integer);
    case ExprKind::real: return Scalar::of(expr.number);
    case ExprKind::name:
      if (expr.text == "pi") return Scalar::of(M_PI);
      return names(expr);
    case ExprKind::unary: {
      std::optional<Scalar> a = evaluate(expr.children[0], names, folding);
      return a ? fold(folding, "-", a->whole ? Scalar::of(std::int64_t{0}) : Scalar::of(-0.0), *a, expr.range) : a;
    }
    case ExprKind::binary: {
      std::optional<Scalar> a = evaluate(expr.children[0], names, folding), b = evaluate(expr.children[1], names, folding);
      return a && b ? fold(folding, expr.text, *a, *b, expr.range) : std::nullopt;
    }
    case ExprKind::call: {
      std::vector<Scalar> arguments;
      bool named = false;
      for (const syntax::Argument& argument : expr.args) {
        named = named || argument.name.has_value();
        std::optional<Scalar> value = evaluate(argument.value, names, folding);
        if (!value) return std::nullopt;
        arguments.push_back(*value);
      }
      if (std::optional<Scalar> value = named ? std::nullopt : fold_function(expr.text, arguments)) return value;
      break;
    }
    case ExprKind::quantity:
      fail(folding.diagnostics, Code::wrong_unit, expr.range, "a plain number is wanted here, without the unit " + ticked(expr.unit));
      return std::nullopt;
    default: break;
  }
  fail(folding.diagnostics, Code::wrong_kind_of_value, expr.range, "a number is wanted here, not " + ticked(syntax::print(expr)));
  return std::nullopt;
}

}  // namespace dsc::sema
