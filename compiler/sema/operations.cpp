#include "compiler/sema/operations.h"

namespace dsc::sema {
namespace {

constexpr const char* kAsOperand = "the axes of its operand";
constexpr const char* kBroadcast = "broadcasts by name; the axes of one operand, which has all of the others'";
constexpr const char* kAnySplit = "any axis may be split: no communication";
constexpr const char* kElement = "one operation an element";

Operation unary(const char* name, OpKind kind, const char* gradient) {
  return {name, OperationClass::pointwise, kind, {{"x"}}, kAsOperand, gradient, kAnySplit, kElement};
}

std::vector<Operation> table() {
  using enum OpKind;
  constexpr auto reduction = OperationClass::reduction;
  constexpr auto other = OperationClass::other;
  const char* reduced = "its operand's less those in `over`, each of which the operand has; `batch` only in a mean over all axes";
  const char* partial = "an axis in `over` that is split makes a partial result, reduced over its mesh axis";
  return {
      unary("exp", exp, "g * exp(x)"),
      unary("log", log, "g / x"),
      unary("sqrt", sqrt, "g / (2 * sqrt(x))"),
      unary("rsqrt", rsqrt, "-g * rsqrt(x) / (2 * x)"),
      unary("tanh", tanh, "g * (1 - tanh(x)^2)"),
      unary("sigmoid", sigmoid, "g * sigmoid(x) * (1 - sigmoid(x))"),
      unary("erf", erf, "g * 2 / sqrt(pi) * exp(-x^2)"),
      unary("sin", sin, "g * cos(x)"),
      unary("cos", cos, "-g * sin(x)"),
      unary("abs", absolute, "g times the sign of x"),
      {"real", OperationClass::pointwise, to_real, {{"ids"}}, kAsOperand, "none: indices have no gradient", kAnySplit, kElement},
      {"max", reduction, max, {{"x"}, {"y", false}, {"over", false}},
       "max(x, y) is pointwise; max(x, over: A) has x's axes less those in `over`", "g to the greatest, the first of equal ones", partial, kElement},
      {"min", OperationClass::pointwise, minimum, {{"x"}, {"y"}}, kBroadcast, "g to the smaller, x where equal", kAnySplit, kElement},
      {"where", OperationClass::pointwise, select, {{"p"}, {"x"}, {"y"}}, kBroadcast, "g to x where p holds, to y elsewhere", kAnySplit, kElement},
      {"stop_gradient", OperationClass::pointwise, stop_gradient, {{"x"}}, kAsOperand, "none flows", kAnySplit, "none"},
      {"sum", reduction, sum, {{"x"}, {"over"}}, reduced, "g expanded over the axes", partial, kElement},
      {"mean", reduction, mean, {{"x"}, {"over"}}, reduced, "g expanded over the axes, divided by their size", partial, kElement},
      {"softmax", reduction, divide, {{"x"}, {"over"}}, "its operand's; it becomes exp(x - stop_gradient(max)) / sum",
       "that of the expression it becomes", partial, "five operations an element"},
      {"dot", other, dot, {{"x"}, {"w"}, {"keep", false}},
       "sums over the shared axes less those in `keep`; x's others, then w's others that x lacks", "two products, of g with w and of x with g", partial,
       "2mnk for an m x k by k x n product"},
      {"lookup", other, lookup, {{"table"}, {"ids"}, {"over"}}, "the axes of `ids`, then the table's less `over`",
       "rows of g added where `ids` point", "a split `over` axis makes a partial result", "one copy an element"},
      {"positions", other, positions, {{"along"}}, "[A], of int", "none: indices have no gradient", kAnySplit, "none"},
      {"cross_entropy", other, cross_entropy, {{"x"}, {"ids"}, {"over"}},
       "x has the axes of `ids` and `over`; a loss, the mean over all axes of `ids`", "softmax(x) less one at the target, over the elements",
       "a split `over` axis reduces its maximum, sum and target", "five operations an element of x"},
      {"attend", other, attend,
       {{"q"}, {"k"}, {"v"}, {"along"}, {"contract"}, {"mask"}, {"scale", false}},
       "q's, `contract` replaced by v's own axis; other axes of k and v are q's, or the major factor of one of q's",
       "those of softmax(q k) v, recomputed along `along`", "any axis but `along` and `contract`", "4 s^2 c an element of the others; half where causal"},
      {"rotate", other, rotate, {{"x"}, {"along"}, {"pairs"}, {"theta", false}}, kAsOperand, "g rotated back", "any axis but `pairs`", kElement},
      {"rename", other, rename, {{"x"}, {"axes"}}, "a -> b, of equal size", "g renamed back", "b is split as a is", "none"},
      {"expand", other, expand, {{"x"}, {"axis"}}, "the new axis first, then x's", "g summed over the axis", kAnySplit, "none"},
      {"merge", other, merge, {{"x"}, {"axes"}}, "(a b) -> c, c declared as the product a * b", "g unmerged", "c is split as the product says", "none"},
      {"unmerge", other, unmerge, {{"x"}, {"axes"}}, "c -> (a b), c declared as the product a * b", "g merged", "a and b are split as the product says", "none"},
      {"slice", other, slice, {{"x"}, {"axes"}, {"from"}}, "a -> b, b's elements beginning at `from`", "g within zeros", "any axis but a and b", "none"},
      {"concat", other, concat, {{"x"}, {"y"}, {"axes"}}, "(a b) -> c, c as long as a and b together", "slices of g", "any axis but a, b and c", "one copy an element"},
  };
}

}  // namespace

const std::vector<Operation>& operations() {
  static const std::vector<Operation> all = table();
  return all;
}

const Operation* operation_named(std::string_view name) {
  for (const Operation& operation : operations())
    if (name == operation.name) return &operation;
  return nullptr;
}

}  // namespace dsc::sema
