// The walk behind elaborate.h. Only for the sources elaborate*.cpp.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compiler/sema/operations.h"
#include "compiler/sema/program.h"

namespace dsc::sema {

// One body being walked.
struct Frame {
  int instance = -1;           // -1: a function
  std::size_t file = 0;
  Names locals;
  std::string prefix;          // path of the instance, for names of ops
  std::string label;           // the name that ops get now
  bool in_function() const { return instance < 0; }
};

// The axes that `...` stands for in one signature.
struct Others {
  std::optional<std::vector<AxisId>> axes;
};

class Elaborator {
 public:
  explicit Elaborator(Program& program)
      : program_(program), model_(program.model), diagnostics_(program.diagnostics), parameter_ops_(program.model.parameters.size()) {}

  // elaborate.cpp: bodies and calls
  // Results always have the number that is declared; where a mistake was reported they are of kind `error`.
  std::vector<Value> run_instance(int instance, const std::vector<Value>& arguments, const std::vector<SourceRange>& places);
  std::vector<Value> run_function(const syntax::Function& function, std::size_t file, const syntax::Expr& call, Frame& caller);
  void run_function_alone(const syntax::Function& function, std::size_t file);
  Value made_up_input(const Instance& instance, const syntax::Input& input);

  // elaborate_expressions.cpp
  Value eval(const syntax::Expr& expr, Frame& frame);
  std::vector<Value> eval_all(const syntax::Expr& expr, Frame& frame);  // a call may give several
  std::optional<AxisId> axis_of(const syntax::Expr& expr, const Frame& frame);
  std::optional<std::vector<AxisId>> axes_of(const syntax::Expr& expr, const Frame& frame);
  const Binding* lookup(const Frame& frame, std::string_view name) const;
  std::vector<std::string> visible(const Frame& frame) const;

  // elaborate_operations.cpp: one core operation
  Value operation(const Operation& operation, const syntax::Expr& call, Frame& frame);
  Value binary(const std::string& op, const Value& a, const Value& b, const syntax::Expr& expr, const Frame& frame);
  Value unary(OpKind kind, const Value& x, SourceRange at, const Frame& frame);
  Value compared(const std::string& op, const Value& a, const Value& b, const syntax::Expr& expr, const Frame& frame);

  // building
  static Value scalar(const Scalar& value) { Value v; v.kind = Value::Kind::scalar; v.scalar = value; return v; }
  static Value tensor(OpId op, bool pending = false) { Value v; v.kind = Value::Kind::tensor; v.op = op; v.pending = pending; return v; }
  const Op& op(const Value& value) const { return model_.op(*value.op); }
  OpId add(Op op, SourceRange source, const Frame& frame);
  // `value` rounded where it is a real tensor that is not yet.
  Value rounded(const Value& value, SourceRange source, const Frame& frame);
  // `value` as an operand of something that waits for pending sums to be rounded.
  Value settled(const Value& value, SourceRange source, const Frame& frame) { return value.pending ? rounded(value, source, frame) : value; }
  Value parameter(ParameterId id, SourceRange source, const Frame& frame);
  Value constant(double number, SourceRange source, const Frame& frame);
  std::string describe(const Value& value) const;  // "[batch, seq, width]", "a loss", "0.5"
  bool is_real_tensor(const Value& value) const { return value.kind == Value::Kind::tensor && op(value).type == ValueType::real; }
  bool is_loss(const Value& value) const { return value.kind == Value::Kind::tensor && op(value).type == ValueType::loss; }
  static bool bad(const Value& value) { return value.kind == Value::Kind::error; }

  std::optional<OpId> tokens, targets;
  int segment = 0;
  int scope = 0;

 private:
  struct Call;
  void run_body(const std::vector<syntax::Statement>& body, Frame& frame, std::vector<Value>& results, std::vector<SourceRange>& places);
  Value checked_input(const Frame& frame, const syntax::Input& input, const Value& value, SourceRange place, Others& others);
  std::optional<std::vector<AxisId>> declared_axes(const Instance& instance, const syntax::Type& type);
  bool check_axes(const std::vector<AxisId>& declared, bool open, const std::vector<AxisId>& actual, Others& others, std::string& complaint) const;
  Value checked_result(const Frame& frame, const syntax::Type& type, const Value& value, SourceRange place, Others& others);
  void assign(const syntax::Statement& statement, Frame& frame);
  void repeat(const syntax::Statement& statement, Frame& frame);
  void check_carries(const std::vector<syntax::Statement>& body, const Names& before, const Frame& frame);
  std::vector<Value> call_instance(int instance, const syntax::Expr& call, Frame& frame);
  std::optional<int> element(const syntax::Expr& call, const Binding& binding, Frame& frame);
  Value named(const syntax::Expr& expr, Frame& frame);

  Value pointwise(OpKind kind, std::vector<Value> operands, const syntax::Expr& expr, const Frame& frame, bool pending);
  bool whole_batch_error(const Call& call, AxisId axis, const std::string& what, const std::string& help);
  bool real_operand(Value& value, const syntax::Expr& at, bool round, const Call& call);
  bool integer_operand(const Value& value, const syntax::Expr& at, const Call& call);
  bool has_axis(const Value& value, AxisId axis, const syntax::Expr& at, const Call& call);
  std::optional<Scalar> number(const syntax::Expr& expr, Frame& frame, const char* what);
  Value reduction(const Call& call);
  Value softmax(const Call& call, Value x, const std::vector<AxisId>& over);
  Value reduce(OpKind kind, const Value& x, const std::vector<AxisId>& over, SourceRange at, const Frame& frame);
  Value loss_sum(const std::string& op, const Value& a, const Value& b, const syntax::Expr& expr, const Frame& frame);
  Value to_real(const Value& x, SourceRange at, const Frame& frame);
  Value function_of_one(const Call& call);
  Value greater_or_less(const Call& call, OpKind kind);
  // The same numbers under other axes: as rounded as its operand. `op` holds the attributes.
  Value view(OpKind kind, const Value& x, std::vector<AxisId> axes, const Call& call, Op op);
  Value where(const Call& call);
  Value stop_gradient(const Call& call);
  Value dot(const Call& call);
  Value lookup_rows(const Call& call);
  bool index_bounds(const Call& call, OpId ids, AxisId over);
  Value positions(const Call& call);
  Value cross_entropy(const Call& call);
  Value attend(const Call& call);
  bool attend_mask(const Call& call, Op& result);
  bool attend_axes(const Value& q, const Value& other, AxisId along, AxisId contract, const syntax::Expr& at, bool is_v,
                   std::vector<AxisId>& own, std::vector<AxisId>& shared);
  Value rotate(const Call& call);
  Value reshape(const Call& call);
  Value shape_operand(const Call& call);
  bool fresh_axis(const Call& call, const Value& x, AxisId axis, const syntax::Expr& at);
  bool declared_product(const Call& call, AxisId whole, const std::vector<AxisId>& factors);
  Value rename_or_slice(const Call& call, const Value& x, AxisId from, AxisId to);
  Value merge(const Call& call, const Value& x, const std::vector<AxisId>& factors, AxisId to);
  Value unmerge(const Call& call, const Value& x, AxisId from, const std::vector<AxisId>& factors);
  Value expand(const Call& call);
  Value concat(const Call& call);

  Program& program_;
  Model& model_;
  Diagnostics& diagnostics_;
  std::vector<std::optional<OpId>> parameter_ops_;
  // Whether one more call may be expanded, or element of a `repeat` walked; reports once where not.
  bool may_expand(SourceRange at);
  // Whether one more expression may be evaluated, `depth_` levels of them being open; reports once where not.
  bool may_evaluate(SourceRange at);
  bool too_large(SourceRange at, const char* what, const char* help);
  Value evaluated(const syntax::Expr& expr, Frame& frame);
  std::vector<Value> called(const syntax::Expr& call, Frame& frame);

  std::vector<const syntax::Function*> active_;
  int depth_ = 0;  // of expressions, calls and `repeat`s around the one that is evaluated
};

}  // namespace dsc::sema
