// Builds small Models for tests without a .dsm file: axes by name, ops with the axes and rounding that `check` gives them.
#pragma once

#include <string>
#include <vector>

#include "compiler/support/model.h"

namespace dsc::testing {

class ModelBuilder {
 public:
  ModelBuilder(std::string name, std::int64_t batch, std::int64_t seq);

  AxisId axis(const std::string& path, std::int64_t size, std::vector<std::vector<AxisId>> products = {});
  AxisId batch() const { return model_.batch; }
  AxisId seq() const { return model_.seq; }

  OpId parameter(const std::string& path, std::vector<AxisId> axes);
  OpId tokens();
  OpId targets();
  OpId positions(AxisId along);
  OpId constant(double number);
  OpId unary(OpKind kind, OpId x);
  OpId binary(OpKind kind, OpId x, OpId y);
  OpId add(OpId x, OpId y) { return binary(OpKind::add, x, y); }
  OpId sub(OpId x, OpId y) { return binary(OpKind::subtract, x, y); }
  OpId mul(OpId x, OpId y) { return binary(OpKind::multiply, x, y); }
  OpId div(OpId x, OpId y) { return binary(OpKind::divide, x, y); }
  OpId mul(double x, OpId y) { return mul(constant(x), y); }
  OpId select(OpId p, OpId x, OpId y);
  OpId reduce(OpKind kind, OpId x, std::vector<AxisId> over);
  OpId rename(OpId x, AxisId from, AxisId to);
  OpId expand(OpId x, AxisId to);
  OpId merge(OpId x, std::vector<AxisId> factors, AxisId to);
  OpId unmerge(OpId x, AxisId from, std::vector<AxisId> factors);
  OpId slice(OpId x, AxisId from, AxisId to, std::int64_t offset);
  OpId concat(OpId x, OpId y, AxisId from, AxisId second, AxisId to);
  OpId stop_gradient(OpId x);
  OpId round(OpId x);  // x itself where it is rounded: what naming a value does
  OpId dot(OpId a, OpId b, std::vector<AxisId> keep = {});  // operands are rounded
  OpId attend(OpId q, OpId k, OpId v, AxisId along, AxisId contract, Mask mask, std::int64_t window = 0);
  OpId lookup(OpId table, OpId ids, AxisId over);
  OpId rotate(OpId x, AxisId along, AxisId pairs);
  OpId cross_entropy(OpId x, AxisId over);

  // Library functions as stdlib writes them.
  OpId gelu(OpId x);
  OpId layer_norm(OpId x, AxisId width, const std::string& path);
  OpId rms_norm(OpId x, AxisId width, const std::string& path);
  OpId softmax(OpId x, AxisId over);

  void begin_iteration();  // of a repeat inside what is open
  void end_iteration();
  void begin_call() { ++segment_; }
  void name(OpId op, const std::string& name) { model_.ops[op.index()].name = name; }

  const Op& op(OpId id) const { return model_.ops[id.index()]; }
  Model finish(OpId loss);

 private:
  OpId push(Op op);

  Model model_;
  int scope_ = 0, segment_ = 0;
};

// Whole small models, each with what real ones have.
Model tiny_gpt2(int layers, std::int64_t batch = 2, std::int64_t seq = 4, std::int64_t width = 8, std::int64_t vocab = 11);
Model tiny_llama(int layers);
// Two branches with a gated mixer, one parameter at two places, slices and concats, an auxiliary mean, a windowed attention.
Model tiny_mixer(int layers);

}  // namespace dsc::testing
