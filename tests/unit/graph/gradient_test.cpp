// Every op's gradient, and whole small models: the graph's numbers against the model's own meaning, against central
// finite differences in double, and with 16-bit rounding against a second implementation of semantics.md.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "compiler/graph/build.h"
#include "tests/support/graph_interpreter.h"
#include "tests/support/model_builder.h"

namespace dsc::testing {
namespace {

double magnitude(const Array& array) {
  double m = 0;
  for (double x : array.data) m = std::max(m, std::fabs(x));
  return m;
}

void expect_near(const Array& a, const Array& b, double relative, const std::string& what) {
  ASSERT_EQ(a.data.size(), b.data.size()) << what;
  const double scale = std::max(magnitude(a), magnitude(b));
  for (std::size_t i = 0; i < a.data.size(); ++i)
    // What cancels exactly is no larger than the noise of its parts.
    ASSERT_LE(std::fabs(a.data[i] - b.data[i]), relative * scale + 1e-14)
        << what << " element " << i << ": " << a.data[i] << " and " << b.data[i];
}

// As `a`, in b's order of axes.
Array reordered(const Model& model, const Array& a, const std::vector<AxisId>& axes) {
  Array b(model, axes);
  Index at(model.axes.size(), 0);
  for_each(model, axes, at, [&] { b.at(at) = a.at(at); });
  return b;
}

void check_values(const Model& model, const Graph& graph, const std::vector<Array>& tensors, const ModelValues& expected,
                  double relative) {
  for (std::size_t i = 0; i < graph.tensors.size(); ++i) {
    const Tensor& t = graph.tensors[i];
    if (!t.op || (t.role != TensorRole::value && t.role != TensorRole::gradient)) continue;
    const auto& reference = t.role == TensorRole::value ? std::optional(expected.values[t.op->index()])
                                                        : expected.gradients[t.op->index()];
    ASSERT_TRUE(reference) << t.name;
    if (reference->axes.size() != t.axes.size()) continue;  // an intermediate of the op's arithmetic
    bool same = true;
    for (AxisId axis : t.axes) same = same && std::find(reference->axes.begin(), reference->axes.end(), axis) != reference->axes.end();
    if (!same) continue;
    Array stored = reordered(model, *reference, t.axes);
    for (double& x : stored.data) x = rounded(x, t.type);
    expect_near(tensors[i], stored, relative, t.name);
  }
}

void check_model(const Model& model, unsigned sequence = 1) {
  ModelInputs inputs = random_inputs(model, sequence);
  inputs.seed = 4;
  ModelValues expected = evaluate(model, inputs, DType::f32);
  differentiate(model, inputs, DType::f32, expected);

  Graph graph = build_graph(model, DType::f32, Purpose::train);
  std::vector<Array> tensors = run_graph(graph, model, inputs, DType::f32);
  EXPECT_NEAR(tensors[graph.loss.index()].data[0], expected.loss(model), 1e-12 * std::fabs(expected.loss(model)));
  check_values(model, graph, tensors, expected, 1e-10);

  // Finite differences of the model itself.
  std::mt19937 random(sequence);
  for (std::size_t p = 0; p < model.parameters.size(); ++p) {
    Array gradient = parameter_gradient(graph, tensors, model, ParameterId(p));
    const bool frozen = model.parameters[p].path == "frozen";
    EXPECT_EQ(graph.parameter_gradients[p].empty(), frozen);
    if (frozen) continue;
    const double scale = magnitude(gradient);
    const std::size_t n = gradient.data.size();
    for (int trial = 0; trial < 6; ++trial) {
      const std::size_t i = random() % n;
      const double x = inputs.parameters[p].data[i], h = 1e-5;
      auto loss_at = [&](double at) {
        inputs.parameters[p].data[i] = at;
        return evaluate(model, inputs, DType::f64).loss(model);
      };
      // Fourth order, so that the step may be large.
      const double slope = (8 * (loss_at(x + h) - loss_at(x - h)) - (loss_at(x + 2 * h) - loss_at(x - 2 * h))) / (12 * h);
      inputs.parameters[p].data[i] = x;
      EXPECT_NEAR(gradient.data[i] / inputs.seed, slope, 1e-6 * std::max(scale / inputs.seed, 1e-3))
          << model.parameters[p].path << " element " << i;
    }
  }

  // Evaluation alone gives the same loss.
  Graph only = build_graph(model, DType::f32, Purpose::evaluate);
  EXPECT_NEAR(run_graph(only, model, inputs, DType::f32)[only.loss.index()].data[0], expected.loss(model),
              1e-12 * std::fabs(expected.loss(model)));

  // With 16 bits, rounding stands where it should, fused or not.
  for (DType type : {DType::bf16, DType::f16}) {
    ModelValues rounded_values = evaluate(model, inputs, type);
    differentiate(model, inputs, type, rounded_values);
    for (bool fuse : {true, false}) {
      Graph g = build_graph(model, type, Purpose::train, FusionOptions{fuse});
      std::vector<Array> t = run_graph(g, model, inputs, type);
      check_values(model, g, t, rounded_values, 1e-9);
      EXPECT_NEAR(t[g.loss.index()].data[0], rounded_values.loss(model), 1e-9 * std::fabs(rounded_values.loss(model)));
      for (std::size_t p = 0; p < model.parameters.size(); ++p) {
        Array expected_sum(model, model.parameters[p].axes);
        for (std::size_t o = 0; o < model.ops.size(); ++o)
          if (model.ops[o].parameter == ParameterId(p) && rounded_values.gradients[o])
            for (std::size_t i = 0; i < expected_sum.data.size(); ++i)
              expected_sum.data[i] += rounded_values.gradients[o]->data[i];
        expect_near(parameter_gradient(g, t, model, ParameterId(p)), expected_sum, 1e-9, model.parameters[p].path);
      }
    }
  }
}

// A model whose loss is cross entropy of a dot over `make`'s [batch, seq, width] result.
Model around(const std::function<OpId(ModelBuilder&, OpId, AxisId)>& make, bool rounded_logits = false) {
  ModelBuilder b("one", 2, 4);
  AxisId vocab = b.axis("vocab", 5), width = b.axis("width", 6);
  OpId x = b.lookup(b.parameter("table", {vocab, width}), b.tokens(), vocab);
  OpId y = make(b, x, width);
  OpId logits = b.dot(y, b.parameter("head", {width, vocab}));
  if (rounded_logits) logits = b.round(b.mul(0.5, b.round(logits)));
  return b.finish(b.cross_entropy(logits, vocab));
}

struct Case {
  const char* name;
  std::function<OpId(ModelBuilder&, OpId, AxisId)> make;
};

class EveryOp : public ::testing::TestWithParam<Case> {};
TEST_P(EveryOp, MatchesFiniteDifferences) { check_model(around(GetParam().make)); }
TEST_P(EveryOp, MatchesFiniteDifferencesBelowStoredLogits) { check_model(around(GetParam().make, true)); }

OpId positive(ModelBuilder& b, OpId x) { return b.add(b.mul(x, x), b.constant(0.5)); }

Case pointwise(const char* name, OpKind kind, bool of_positive) {
  return {name, [=](ModelBuilder& b, OpId x, AxisId) { return b.unary(kind, of_positive ? positive(b, x) : x); }};
}
Case binary(const char* name, OpKind kind) {
  return {name, [=](ModelBuilder& b, OpId x, AxisId width) {
            OpId w = b.parameter("w", {width});
            return kind == OpKind::power || kind == OpKind::divide ? b.binary(kind, positive(b, x), positive(b, w)) : b.binary(kind, x, w);
          }};
}

INSTANTIATE_TEST_SUITE_P(
    Ops, EveryOp,
    ::testing::Values(
        binary("add", OpKind::add), binary("subtract", OpKind::subtract), binary("multiply", OpKind::multiply),
        binary("divide", OpKind::divide), binary("power", OpKind::power), binary("maximum", OpKind::maximum),
        binary("minimum", OpKind::minimum), pointwise("negate", OpKind::negate, false), pointwise("exp", OpKind::exp, false),
        pointwise("log", OpKind::log, true), pointwise("sqrt", OpKind::sqrt, true), pointwise("rsqrt", OpKind::rsqrt, true),
        pointwise("tanh", OpKind::tanh, false), pointwise("sigmoid", OpKind::sigmoid, false), pointwise("erf", OpKind::erf, false),
        pointwise("sin", OpKind::sin, false), pointwise("cos", OpKind::cos, false), pointwise("absolute", OpKind::absolute, false),
        Case{"square", [](ModelBuilder& b, OpId x, AxisId) { return b.binary(OpKind::power, x, b.constant(2)); }},
        Case{"cube", [](ModelBuilder& b, OpId x, AxisId) { return b.binary(OpKind::power, x, b.constant(3)); }},
        Case{"root", [](ModelBuilder& b, OpId x, AxisId) { return b.binary(OpKind::power, positive(b, x), b.constant(0.5)); }},
        Case{"inverse_root", [](ModelBuilder& b, OpId x, AxisId) { return b.binary(OpKind::power, positive(b, x), b.constant(-0.5)); }},
        Case{"power_of_constant", [](ModelBuilder& b, OpId x, AxisId) { return b.binary(OpKind::power, positive(b, x), b.constant(1.7)); }},
        Case{"select", [](ModelBuilder& b, OpId x, AxisId) {
               return b.select(b.binary(OpKind::less, x, b.constant(0.1)), b.mul(3, x), b.mul(x, x));
             }},
        Case{"relu", [](ModelBuilder& b, OpId x, AxisId) { return b.binary(OpKind::maximum, x, b.constant(0)); }},
        Case{"clone", [](ModelBuilder& b, OpId x, AxisId) { return b.add(b.add(x, x), b.mul(x, x)); }},
        Case{"to_real", [](ModelBuilder& b, OpId x, AxisId) {
               return b.mul(x, b.add(b.unary(OpKind::to_real, b.positions(b.seq())), b.constant(1)));
             }},
        Case{"token_numbers", [](ModelBuilder& b, OpId x, AxisId) { return b.mul(x, b.unary(OpKind::to_real, b.tokens())); }},
        Case{"sum", [](ModelBuilder& b, OpId x, AxisId width) { return b.mul(x, b.reduce(OpKind::sum, b.mul(x, x), {width})); }},
        Case{"sum_over_seq", [](ModelBuilder& b, OpId x, AxisId) { return b.mul(x, b.reduce(OpKind::sum, x, {b.seq()})); }},
        Case{"mean", [](ModelBuilder& b, OpId x, AxisId width) { return b.sub(x, b.reduce(OpKind::mean, x, {width})); }},
        Case{"max", [](ModelBuilder& b, OpId x, AxisId width) { return b.mul(x, b.reduce(OpKind::max, x, {width})); }},
        Case{"two_reductions", [](ModelBuilder& b, OpId x, AxisId width) {
               OpId n = b.div(x, b.add(b.reduce(OpKind::sum, b.mul(x, x), {width}), b.constant(1)));
               return b.add(n, b.reduce(OpKind::sum, n, {b.seq()}));
             }},
        Case{"softmax", [](ModelBuilder& b, OpId x, AxisId width) { return b.softmax(x, width); }},
        Case{"softmax_over_seq", [](ModelBuilder& b, OpId x, AxisId) { return b.softmax(x, b.seq()); }},
        Case{"layer_norm", [](ModelBuilder& b, OpId x, AxisId width) { return b.layer_norm(x, width, "norm"); }},
        Case{"rename", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId other = b.axis("other", 6);
               return b.dot(b.rename(x, width, other), b.parameter("w", {other, width}));
             }},
        Case{"rename_parameter", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId other = b.axis("other", 6), third = b.axis("third", 6);
               OpId y = b.round(b.dot(x, b.parameter("w", {width, other})));
               return b.dot(y, b.rename(b.parameter("v", {width, third}), third, other));
             }},
        Case{"expand", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId copies = b.axis("copies", 3);
               OpId many = b.mul(b.expand(x, copies), b.parameter("w", {copies, width}));
               return b.reduce(OpKind::sum, b.mul(many, many), {copies});
             }},
        Case{"expand_to_product", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId copies = b.axis("copies", 3), out = b.axis("out", 6);
               OpId y = b.round(b.dot(b.expand(x, copies), b.parameter("w", {copies, width, out})));
               return b.rename(y, out, width);
             }},
        Case{"merge", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), s = b.axis("s", 3), m = b.axis("m", 6, {{h, s}});
               OpId y = b.round(b.dot(x, b.parameter("w", {width, h, s})));
               return b.dot(b.merge(y, {h, s}, m), b.parameter("v", {m, width}));
             }},
        Case{"merge_apart", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), s = b.axis("s", 3), m = b.axis("m", 6, {{h, s}});
               OpId y = b.round(b.dot(x, b.parameter("w", {width, s, h})));
               return b.dot(b.merge(y, {h, s}, m), b.parameter("v", {m, width}));
             }},
        Case{"unmerge", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), s = b.axis("s", 3);
               return b.dot(b.unmerge(x, width, {h, s}), b.parameter("v", {s, h, width}));
             }},
        Case{"slice", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId part = b.axis("part", 4);
               return b.dot(b.slice(x, width, part, 1), b.parameter("v", {part, width}));
             }},
        Case{"slice_of_slice", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId part = b.axis("part", 4), less = b.axis("less", 2);
               return b.dot(b.slice(b.slice(x, width, part, 1), part, less, 2), b.parameter("v", {less, width}));
             }},
        Case{"slice_twice_and_concat", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId a = b.axis("a", 2), c = b.axis("c", 4);
               OpId left = b.slice(x, width, a, 4), right = b.slice(x, width, c, 0);
               return b.concat(b.unary(OpKind::tanh, left), right, a, c, width);
             }},
        Case{"slice_of_seq", [](ModelBuilder& b, OpId x, AxisId) {
               AxisId first = b.axis("first", 1), rest = b.axis("rest", 3);
               // Each place sees the one before it.
               return b.mul(x, b.concat(b.slice(x, b.seq(), first, 0), b.slice(x, b.seq(), rest, 0), first, rest, b.seq()));
             }},
        Case{"stop_gradient", [](ModelBuilder& b, OpId x, AxisId width) {
               OpId frozen = b.stop_gradient(b.parameter("frozen", {width}));
               return b.mul(x, b.mul(frozen, frozen));
             }},
        Case{"dot", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), s = b.axis("s", 3);
               OpId y = b.round(b.add(b.dot(x, b.parameter("w", {width, h, s})), b.parameter("bias", {h, s})));
               return b.dot(y, b.parameter("v", {h, s, width}));
             }},
        Case{"dot_apart", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), s = b.axis("s", 3);
               OpId y = b.round(b.dot(x, b.parameter("w", {h, width, s})));
               return b.dot(y, b.parameter("v", {s, width, h}));
             }},
        Case{"dot_keeps", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId e = b.axis("e", 3), s = b.axis("s", 2);
               OpId y = b.round(b.dot(x, b.parameter("w", {e, width, s})));
               OpId z = b.round(b.dot(y, b.parameter("v", {e, s, width}), {e}));
               return b.reduce(OpKind::sum, b.mul(z, z), {e});
             }},
        Case{"dot_of_parameter_first", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId s = b.axis("s", 4);
               return b.dot(b.parameter("v", {width, s}), b.dot(b.parameter("w", {s, width}), x));
             }},
        Case{"dot_with_itself", [](ModelBuilder& b, OpId x, AxisId) {
               OpId scores = b.dot(x, x, {b.batch(), b.seq()});
               return b.mul(x, b.round(scores));
             }},
        Case{"dot_over_seq", [](ModelBuilder& b, OpId x, AxisId) {
               AxisId t = b.axis("t", 3);
               OpId mixed = b.round(b.dot(x, b.parameter("w", {b.seq(), t})));
               return b.dot(mixed, b.parameter("v", {t, b.seq()}));
             }},
        Case{"two_products_in_one_sum", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId s = b.axis("s", 4);
               OpId y = b.round(b.add(b.dot(x, b.parameter("w", {width, s})), b.dot(x, b.parameter("u", {width, s}))));
               return b.dot(y, b.parameter("v", {s, width}));
             }},
        Case{"parameter_twice", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId s = b.axis("s", 6);
               OpId w = b.parameter("w", {width, s});
               OpId y = b.round(b.dot(x, w));
               OpId z = b.round(b.add(b.round(b.dot(y, w)), b.rename(y, s, width)));
               return b.add(b.round(b.dot(b.round(b.dot(z, w)), w)), b.reduce(OpKind::sum, w, {s}));
             }},
        Case{"lookup_twice", [](ModelBuilder& b, OpId x, AxisId width) {
               OpId wpe = b.parameter("wpe", {b.axis("context", 7), width});
               OpId at = b.lookup(wpe, b.positions(b.seq()), AxisId(4));
               return b.mul(b.add(x, at), at);
             }},
        Case{"lookup_of_columns", [](ModelBuilder& b, OpId x, AxisId width) {
               OpId table = b.parameter("columns", {width, AxisId(2)});
               return b.add(x, b.lookup(table, b.tokens(), AxisId(2)));
             }},
        Case{"lookup_between", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), s = b.axis("s", 3);
               OpId y = b.lookup(b.parameter("t", {h, AxisId(2), s}), b.tokens(), AxisId(2));
               return b.add(x, b.merge(y, {h, s}, width));
             }},
        Case{"rotate", [](ModelBuilder& b, OpId x, AxisId width) { return b.rotate(x, b.seq(), width); }},
        Case{"rotate_in_an_expression", [](ModelBuilder& b, OpId x, AxisId width) {
               return b.add(x, b.rotate(b.mul(x, x), b.seq(), width));
             }},
        Case{"attend", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId h = b.axis("h", 2), c = b.axis("c", 3), v = b.axis("v", 4);
               OpId q = b.dot(x, b.parameter("wq", {width, h, c})), k = b.dot(x, b.parameter("wk", {width, h, c}));
               OpId a = b.attend(q, k, b.dot(x, b.parameter("wv", {width, h, v})), b.seq(), c, Mask::full);
               return b.dot(a, b.parameter("wo", {h, v, width}));
             }},
        Case{"attend_to_itself", [](ModelBuilder& b, OpId x, AxisId width) { return b.attend(x, x, x, b.seq(), width, Mask::causal); }},
        Case{"attend_and_add", [](ModelBuilder& b, OpId x, AxisId width) {
               return b.add(b.attend(x, b.mul(x, x), x, b.seq(), width, Mask::causal), x);
             }},
        Case{"attend_to_slices", [](ModelBuilder& b, OpId x, AxisId width) {
               AxisId three = b.axis("three", 9), c = b.axis("c", 3);
               OpId all = b.round(b.dot(x, b.parameter("w", {width, three})));
               OpId a = b.attend(b.slice(all, three, c, 0), b.slice(all, three, c, 3), b.slice(all, three, c, 6), b.seq(), c,
                                 Mask::window, 2);
               return b.dot(a, b.parameter("wo", {c, width}));
             }},
        Case{"iterations", [](ModelBuilder& b, OpId x, AxisId width) {
               // One value read in every iteration, one weight too.
               OpId w = b.parameter("w", {width, b.axis("s", 6)}), y = x;
               for (int i = 0; i < 3; ++i) {
                 b.begin_iteration();
                 b.begin_call();
                 OpId z = b.round(b.dot(y, w));
                 y = b.round(b.add(b.round(b.mul(b.unary(OpKind::tanh, b.rename(z, AxisId(4), width)), x)), b.mul(0.5, x)));
                 b.end_iteration();
               }
               return y;
             }},
        Case{"product_of_parameters", [](ModelBuilder& b, OpId x, AxisId width) {
               OpId u = b.parameter("u", {width}), v = b.parameter("v", {width});
               return b.mul(x, b.round(b.mul(u, v)));
             }}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Models, Gpt2) { check_model(tiny_gpt2(2)); }
TEST(Models, Llama) { check_model(tiny_llama(2)); }
TEST(Models, Mixer) { check_model(tiny_mixer(3)); }

TEST(Models, LossOfTerms) {
  ModelBuilder b("terms", 2, 4);
  AxisId vocab = b.axis("vocab", 5), width = b.axis("width", 6);
  OpId x = b.lookup(b.parameter("table", {vocab, width}), b.tokens(), vocab);
  OpId y = b.round(b.dot(x, b.parameter("w", {width, b.axis("out", 3)})));
  OpId first = b.cross_entropy(b.dot(x, b.parameter("head", {vocab, width})), vocab);
  OpId second = b.cross_entropy(b.dot(y, b.parameter("other", {AxisId(4), vocab})), vocab);
  OpId spread = b.reduce(OpKind::mean, b.mul(y, y), {b.batch(), b.seq(), AxisId(4)});
  OpId loss = b.add(b.sub(b.mul(0.5, first), b.div(spread, b.constant(3))), b.mul(second, b.constant(2)));
  check_model(b.finish(b.add(loss, spread)));
}

TEST(Models, SampleComputesTheLogits) {
  for (const Model& model : {tiny_gpt2(1), tiny_llama(1), tiny_mixer(1)}) {
    ModelInputs inputs = random_inputs(model, 3);
    for (DType type : {DType::f32, DType::bf16}) {
      Graph graph = build_graph(model, type, Purpose::sample);
      ASSERT_TRUE(graph.logits);
      EXPECT_EQ(graph.tensors[graph.logits->index()].type, DType::f32);
      EXPECT_EQ(graph.forward_steps, graph.steps.size());
      EXPECT_FALSE(graph.targets);
      ModelValues expected = evaluate(model, inputs, type);
      expect_near(run_graph(graph, model, inputs, type)[graph.logits->index()], expected.values[model.logits->index()], 1e-9, "logits");
    }
  }
}

}  // namespace
}  // namespace dsc::testing
