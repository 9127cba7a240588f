#include "compiler/support/model.h"

namespace dsc {
namespace {

// In the order of OpKind.
constexpr const char* kOpNames[] = {
    "parameter", "tokens", "targets", "positions", "constant",
    "add", "subtract", "multiply", "divide", "power", "negate", "exp", "log", "sqrt", "rsqrt", "tanh", "sigmoid", "erf",
    "sin", "cos", "absolute", "maximum", "minimum", "less", "less_equal", "greater", "greater_equal", "equal", "not_equal",
    "select", "to_real",
    "sum", "mean", "max",
    "rename", "expand", "merge", "unmerge", "slice", "concat",
    "stop_gradient", "round",
    "dot", "attend", "lookup", "rotate", "cross_entropy"};

}  // namespace

std::int64_t element_count(const Model& model, const std::vector<AxisId>& axes, std::int64_t rows) {
  std::int64_t n = 1;
  for (AxisId axis : axes) n *= axis == model.batch ? rows : model.axis(axis).size;
  return n;
}

std::int64_t element_count(const Model& model, ParameterId parameter) {
  return element_count(model, model.parameter(parameter).axes, 1);
}

const char* name_of(OpKind kind) { return kOpNames[static_cast<int>(kind)]; }

std::optional<OpKind> op_kind_named(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(OpKind::cross_entropy); ++i)
    if (name == kOpNames[i]) return static_cast<OpKind>(i);
  return std::nullopt;
}

}  // namespace dsc
