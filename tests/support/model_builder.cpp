#include "tests/support/model_builder.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dsc::testing {
namespace {

bool has(const std::vector<AxisId>& axes, AxisId axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

std::vector<AxisId> less(std::vector<AxisId> axes, const std::vector<AxisId>& gone) {
  std::erase_if(axes, [&](AxisId a) { return has(gone, a); });
  return axes;
}

void replace(std::vector<AxisId>& axes, AxisId from, std::vector<AxisId> to) {
  auto at = std::find(axes.begin(), axes.end(), from);
  at = axes.erase(at);
  axes.insert(at, to.begin(), to.end());
}

bool compares(OpKind kind) { return kind >= OpKind::less && kind <= OpKind::not_equal; }

}  // namespace

ModelBuilder::ModelBuilder(std::string name, std::int64_t batch, std::int64_t seq) {
  model_.name = std::move(name);
  model_.batch = axis("batch", batch);
  model_.seq = axis("seq", seq);
  model_.scopes.push_back({});
}

AxisId ModelBuilder::axis(const std::string& path, std::int64_t size, std::vector<std::vector<AxisId>> products) {
  Axis a;
  a.path = path;
  a.size = size;
  a.products = std::move(products);
  model_.axes.push_back(a);
  return AxisId(model_.axes.size() - 1);
}

OpId ModelBuilder::push(Op op) {
  op.scope = scope_;
  op.segment = segment_;
  model_.ops.push_back(std::move(op));
  return OpId(model_.ops.size() - 1);
}

OpId ModelBuilder::parameter(const std::string& path, std::vector<AxisId> axes) {
  Parameter p;
  p.path = path;
  p.axes = axes;
  model_.parameters.push_back(p);
  Op op;
  op.kind = OpKind::parameter;
  op.axes = std::move(axes);
  op.rounded = true;
  op.parameter = ParameterId(model_.parameters.size() - 1);
  op.name = path;
  return push(op);
}

OpId ModelBuilder::tokens() {
  Op op;
  op.kind = OpKind::tokens;
  op.axes = {batch(), seq()};
  op.type = ValueType::integer;
  return push(op);
}

OpId ModelBuilder::targets() {
  Op op;
  op.kind = OpKind::targets;
  op.axes = {batch(), seq()};
  op.type = ValueType::integer;
  return push(op);
}

OpId ModelBuilder::positions(AxisId along) {
  Op op;
  op.kind = OpKind::positions;
  op.axes = {along};
  op.along = along;
  op.type = ValueType::integer;
  return push(op);
}

OpId ModelBuilder::constant(double number) {
  Op op;
  op.kind = OpKind::constant;
  op.number = number;
  return push(op);
}

OpId ModelBuilder::unary(OpKind kind, OpId x) {
  Op op;
  op.kind = kind;
  op.operands = {x};
  op.axes = this->op(x).axes;
  op.type = kind == OpKind::to_real ? ValueType::real : this->op(x).type;
  return push(op);
}

OpId ModelBuilder::binary(OpKind kind, OpId x, OpId y) {
  Op op;
  op.kind = kind;
  op.operands = {x, y};
  op.axes = this->op(x).axes.size() >= this->op(y).axes.size() ? this->op(x).axes : this->op(y).axes;
  op.type = this->op(x).type == ValueType::loss || this->op(y).type == ValueType::loss ? ValueType::loss : ValueType::real;
  if (compares(kind)) op.type = ValueType::boolean;
  return push(op);
}

OpId ModelBuilder::select(OpId p, OpId x, OpId y) {
  Op op;
  op.kind = OpKind::select;
  op.operands = {p, x, y};
  for (OpId o : op.operands)
    if (this->op(o).axes.size() > op.axes.size()) op.axes = this->op(o).axes;
  return push(op);
}

OpId ModelBuilder::reduce(OpKind kind, OpId x, std::vector<AxisId> over) {
  Op op;
  op.kind = kind;
  op.operands = {x};
  op.axes = less(this->op(x).axes, over);
  if (kind == OpKind::mean && has(over, batch())) op.type = ValueType::loss;
  op.over = std::move(over);
  return push(op);
}

OpId ModelBuilder::rename(OpId x, AxisId from, AxisId to) {
  Op op;
  op.kind = OpKind::rename;
  op.operands = {x};
  op.axes = this->op(x).axes;
  op.type = this->op(x).type;
  op.rounded = this->op(x).rounded;
  replace(op.axes, from, {to});
  op.from = from;
  op.to = to;
  return push(op);
}

OpId ModelBuilder::expand(OpId x, AxisId to) {
  Op op;
  op.kind = OpKind::expand;
  op.operands = {x};
  op.axes = this->op(x).axes;
  op.axes.insert(op.axes.begin(), to);
  op.rounded = this->op(x).rounded;
  op.to = to;
  return push(op);
}

OpId ModelBuilder::merge(OpId x, std::vector<AxisId> factors, AxisId to) {
  Op op;
  op.kind = OpKind::merge;
  op.operands = {x};
  op.axes = this->op(x).axes;
  op.rounded = this->op(x).rounded;
  replace(op.axes, factors[0], {to});
  op.axes = less(op.axes, factors);
  op.factors = std::move(factors);
  op.to = to;
  return push(op);
}

OpId ModelBuilder::unmerge(OpId x, AxisId from, std::vector<AxisId> factors) {
  Op op;
  op.kind = OpKind::unmerge;
  op.operands = {x};
  op.axes = this->op(x).axes;
  op.rounded = this->op(x).rounded;
  replace(op.axes, from, factors);
  op.factors = std::move(factors);
  op.from = from;
  return push(op);
}

OpId ModelBuilder::slice(OpId x, AxisId from, AxisId to, std::int64_t offset) {
  OpId id = rename(x, from, to);
  model_.ops[id.index()].kind = OpKind::slice;
  model_.ops[id.index()].offset = offset;
  return id;
}

OpId ModelBuilder::concat(OpId x, OpId y, AxisId from, AxisId second, AxisId to) {
  OpId id = rename(x, from, to);
  Op& op = model_.ops[id.index()];
  op.kind = OpKind::concat;
  op.operands = {x, y};
  op.second = second;
  op.rounded = this->op(x).rounded && this->op(y).rounded;
  return id;
}

OpId ModelBuilder::stop_gradient(OpId x) {
  OpId id = unary(OpKind::stop_gradient, x);
  model_.ops[id.index()].rounded = this->op(x).rounded;
  return id;
}

OpId ModelBuilder::round(OpId x) {
  if (op(x).rounded) return x;
  OpId id = unary(OpKind::round, x);
  model_.ops[id.index()].rounded = true;
  return id;
}

OpId ModelBuilder::dot(OpId a, OpId b, std::vector<AxisId> keep) {
  a = round(a), b = round(b);
  Op op;
  op.kind = OpKind::dot;
  op.operands = {a, b};
  const auto &x = this->op(a).axes, &y = this->op(b).axes;
  for (AxisId axis : x)
    if (has(y, axis) && !has(keep, axis)) op.over.push_back(axis);
  op.axes = less(x, op.over);
  for (AxisId axis : y)
    if (!has(x, axis)) op.axes.push_back(axis);
  op.keep = std::move(keep);
  return push(op);
}

OpId ModelBuilder::attend(OpId q, OpId k, OpId v, AxisId along, AxisId contract, Mask mask, std::int64_t window) {
  q = round(q), k = round(k), v = round(v);
  Op op;
  op.kind = OpKind::attend;
  op.operands = {q, k, v};
  op.axes = this->op(q).axes;
  AxisId own = contract;
  if (!has(this->op(v).axes, contract)) own = less(this->op(v).axes, this->op(k).axes).at(0);
  replace(op.axes, contract, {own});
  op.along = along;
  op.contract = contract;
  op.mask = mask;
  op.window = window;
  op.scale = 1 / std::sqrt(static_cast<double>(model_.axis(contract).size));
  return push(op);
}

OpId ModelBuilder::lookup(OpId table, OpId ids, AxisId over) {
  Op op;
  op.kind = OpKind::lookup;
  op.operands = {round(table), ids};
  op.axes = this->op(ids).axes;
  for (AxisId axis : this->op(table).axes)
    if (axis != over) op.axes.push_back(axis);
  op.over = {over};
  op.rounded = true;
  model_.axes[over.index()].vocabulary |= this->op(ids).kind != OpKind::positions;
  return push(op);
}

OpId ModelBuilder::rotate(OpId x, AxisId along, AxisId pairs) {
  Op op;
  op.kind = OpKind::rotate;
  op.operands = {x};
  op.axes = this->op(x).axes;
  op.along = along;
  op.contract = pairs;
  return push(op);
}

OpId ModelBuilder::cross_entropy(OpId x, AxisId over) {
  Op op;
  op.kind = OpKind::cross_entropy;
  op.operands = {x, targets()};
  op.over = {over};
  op.type = ValueType::loss;
  model_.axes[over.index()].vocabulary = true;
  model_.logits = x;
  return push(op);
}

OpId ModelBuilder::gelu(OpId x) {
  OpId inner = mul(std::sqrt(2 / std::numbers::pi), add(x, mul(0.044715, binary(OpKind::power, x, constant(3)))));
  return mul(mul(0.5, x), add(constant(1), unary(OpKind::tanh, inner)));
}

OpId ModelBuilder::layer_norm(OpId x, AxisId width, const std::string& path) {
  OpId weight = parameter(path + ".weight", {width}), bias = parameter(path + ".bias", {width});
  OpId c = sub(x, reduce(OpKind::mean, x, {width}));
  OpId n = mul(c, unary(OpKind::rsqrt, add(reduce(OpKind::mean, mul(c, c), {width}), constant(1e-5))));
  return round(add(mul(n, weight), bias));
}

OpId ModelBuilder::rms_norm(OpId x, AxisId width, const std::string& path) {
  OpId weight = parameter(path + ".weight", {width});
  OpId n = mul(x, unary(OpKind::rsqrt, add(reduce(OpKind::mean, mul(x, x), {width}), constant(1e-5))));
  return round(mul(n, weight));
}

OpId ModelBuilder::softmax(OpId x, AxisId over) {
  OpId e = unary(OpKind::exp, sub(x, reduce(OpKind::max, x, {over})));
  return div(e, reduce(OpKind::sum, e, {over}));
}

void ModelBuilder::begin_iteration() {
  int iteration = 0;
  for (const Scope& scope : model_.scopes) iteration += scope.parent == scope_;
  model_.scopes.push_back({scope_, iteration});
  scope_ = static_cast<int>(model_.scopes.size()) - 1;
}

void ModelBuilder::end_iteration() { scope_ = model_.scopes[scope_].parent; }

Model ModelBuilder::finish(OpId loss) {
  model_.loss = loss;
  return std::move(model_);
}

Model tiny_gpt2(int layers, std::int64_t batch, std::int64_t seq, std::int64_t width_size, std::int64_t vocab_size) {
  ModelBuilder b("gpt2", batch, seq);
  AxisId vocab = b.axis("vocab", vocab_size), context = b.axis("context", seq + 2), width = b.axis("width", width_size);
  AxisId heads = b.axis("heads", 2), head_dim = b.axis("head_dim", width_size / 2), hidden = b.axis("hidden", 4 * width_size);
  OpId wte = b.parameter("wte", {vocab, width}), wpe = b.parameter("wpe", {context, width});
  OpId x = b.round(b.add(b.lookup(wte, b.tokens(), vocab), b.lookup(wpe, b.positions(b.seq()), context)));
  b.name(x, "embedding");
  for (int i = 0; i < layers; ++i) {
    b.begin_iteration();
    b.begin_call();
    const std::string at = "block[" + std::to_string(i) + "].";
    OpId h = b.layer_norm(x, width, at + "norm1");
    b.name(h, at + "norm1");
    auto linear = [&](const std::string& path, OpId in, std::vector<AxisId> from, std::vector<AxisId> to) {
      std::vector<AxisId> axes = from;
      axes.insert(axes.end(), to.begin(), to.end());
      OpId y = b.round(b.add(b.dot(in, b.parameter(at + path + ".weight", axes)), b.parameter(at + path + ".bias", to)));
      b.name(y, at + path);
      return y;
    };
    OpId q = linear("q", h, {width}, {heads, head_dim}), k = linear("k", h, {width}, {heads, head_dim});
    OpId v = linear("v", h, {width}, {heads, head_dim});
    OpId a = b.round(b.attend(q, k, v, b.seq(), head_dim, Mask::causal));
    b.name(a, at + "attend");
    x = b.round(b.add(x, linear("o", a, {heads, head_dim}, {width})));
    b.name(x, at + "x1");
    h = b.layer_norm(x, width, at + "norm2");
    b.name(h, at + "norm2");
    OpId u = b.round(b.gelu(linear("fc", h, {width}, {hidden})));
    b.name(u, at + "gelu");
    x = b.round(b.add(x, linear("proj", u, {hidden}, {width})));
    b.name(x, at + "x2");
    b.end_iteration();
  }
  b.begin_call();
  OpId h = b.layer_norm(x, width, "norm");
  b.name(h, "norm");
  return b.finish(b.cross_entropy(b.dot(h, wte), vocab));
}

Model tiny_llama(int layers) {
  ModelBuilder b("llama", 2, 5);
  AxisId vocab = b.axis("vocab", 7), width = b.axis("width", 8);
  AxisId kv_heads = b.axis("kv_heads", 2), group = b.axis("group", 2);
  AxisId heads = b.axis("heads", 4, {{kv_heads, group}}), head_dim = b.axis("head_dim", 4), hidden = b.axis("hidden", 6);
  OpId x = b.round(b.lookup(b.parameter("embed", {vocab, width}), b.tokens(), vocab));
  for (int i = 0; i < layers; ++i) {
    b.begin_iteration();
    b.begin_call();
    const std::string at = "layer[" + std::to_string(i) + "].";
    OpId h = b.rms_norm(x, width, at + "norm1");
    OpId q = b.round(b.dot(h, b.parameter(at + "wq", {width, heads, head_dim})));
    OpId k = b.round(b.dot(h, b.parameter(at + "wk", {width, kv_heads, head_dim})));
    OpId v = b.round(b.dot(h, b.parameter(at + "wv", {width, kv_heads, head_dim})));
    OpId a = b.round(b.attend(b.rotate(q, b.seq(), head_dim), b.rotate(k, b.seq(), head_dim), v, b.seq(), head_dim, Mask::causal));
    x = b.round(b.add(x, b.round(b.dot(a, b.parameter(at + "wo", {heads, head_dim, width})))));
    h = b.rms_norm(x, width, at + "norm2");
    OpId gate = b.round(b.dot(h, b.parameter(at + "w1", {width, hidden})));
    OpId up = b.round(b.dot(h, b.parameter(at + "w3", {width, hidden})));
    OpId m = b.mul(b.mul(gate, b.unary(OpKind::sigmoid, gate)), up);
    x = b.round(b.add(x, b.round(b.dot(m, b.parameter(at + "w2", {hidden, width})))));
    b.end_iteration();
  }
  b.begin_call();
  OpId h = b.rms_norm(x, width, "norm");
  return b.finish(b.cross_entropy(b.dot(h, b.parameter("head", {vocab, width})), vocab));
}

Model tiny_mixer(int layers) {
  ModelBuilder b("mixer", 2, 6);
  AxisId vocab = b.axis("vocab", 5), width = b.axis("width", 8), half = b.axis("half", 4), other = b.axis("other", 4);
  AxisId heads = b.axis("heads", 2), size = b.axis("size", 4), experts = b.axis("experts", 3);
  OpId table = b.parameter("table", {vocab, width});
  OpId shared = b.parameter("shared", {width, heads, size});
  OpId mix = b.parameter("mix", {width, experts});
  OpId x = b.round(b.lookup(table, b.tokens(), vocab));
  OpId aux = b.constant(0);
  for (int i = 0; i < layers; ++i) {
    b.begin_iteration();
    b.begin_call();
    const std::string at = "block[" + std::to_string(i) + "].";
    OpId h = b.rms_norm(x, width, at + "norm");
    OpId q = b.round(b.dot(h, shared));
    OpId k = b.round(b.dot(h, b.parameter(at + "k", {width, heads, size})));
    OpId a = b.round(b.attend(q, k, q, b.seq(), size, Mask::window, 3));
    OpId back = b.round(b.dot(a, shared));
    // The gate: one half of h gates the other; both come back together.
    OpId left = b.slice(h, width, half, 0), right = b.slice(h, width, other, 4);
    OpId gate = b.round(b.unary(OpKind::sigmoid, b.rename(left, half, other)));
    OpId gated = b.round(b.mul(gate, b.unary(OpKind::tanh, right)));
    OpId joined = b.concat(left, gated, half, other, width);
    OpId p = b.softmax(b.round(b.dot(h, mix)), experts);
    aux = b.add(aux, b.reduce(OpKind::mean, b.mul(p, p), {b.batch(), b.seq(), experts}));
    OpId strength = b.reduce(OpKind::max, p, {experts});
    OpId both = b.select(b.binary(OpKind::greater, back, joined), b.mul(joined, strength), back);
    x = b.round(b.add(x, b.round(both)));
    b.end_iteration();
  }
  b.begin_call();
  OpId h = b.rms_norm(x, width, "norm");
  OpId loss = b.add(b.cross_entropy(b.dot(h, table), vocab), b.mul(0.25, aux));
  return b.finish(loss);
}

}  // namespace dsc::testing
