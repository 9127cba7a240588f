// Numbers known when the file is checked: sizes, literals, formals, and arithmetic on them. Whole numbers stay whole
// (their `/` is exact or an error), anything else is a double.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compiler/support/diagnostic.h"
#include "compiler/syntax/ast.h"

namespace dsc::sema {

struct Scalar {
  bool whole = true;
  std::int64_t integer = 0;  // where whole
  double number = 0;         // always
  static Scalar of(std::int64_t value) { return {true, value, static_cast<double>(value)}; }
  static Scalar of(double value) { return {false, 0, value}; }
};

// "12", "0.5".
std::string str(const Scalar& value);

struct Folding {
  Diagnostics& diagnostics;
  bool sizes_known = true;  // false where a module is checked alone: made-up sizes need not divide
};

// a OP b, OP one of + - * / ^ (or < <= > >= == != in compare); `at` is where to report.
std::optional<Scalar> fold(const Folding& folding, const std::string& op, const Scalar& a, const Scalar& b, SourceRange at);
bool compare(const std::string& op, const Scalar& a, const Scalar& b);
// exp, sqrt, ... of one number, max and min of two; nothing for other names.
std::optional<Scalar> fold_function(const std::string& name, const std::vector<Scalar>& arguments);

// What a name is worth; reports where it is no number.
using ScalarNames = std::function<std::optional<Scalar>(const syntax::Expr& name)>;
std::optional<Scalar> evaluate(const syntax::Expr& expr, const ScalarNames& names, const Folding& folding);

}  // namespace dsc::sema
