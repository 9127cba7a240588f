// What holds of every checked model: where values are rounded, how axes are bound, scopes and segments, what `auto` gives.
#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "tests/unit/sema/golden_runner.h"

namespace dsc::test {
namespace {

const std::string kFolder = std::string(DSC_SOURCE_DIR) + "/tests/golden/sema/";

CheckedProgram checked(const std::string& text) {
  Checked result = check_text("model.dsm", text);
  EXPECT_EQ(render(result.diagnostics, result.sources), "");
  EXPECT_TRUE(result.program.has_value());
  return result.program ? std::move(*result.program) : CheckedProgram();
}

std::string with_sections(const std::string& modules, const std::string& model, const std::string& rest = "") {
  return modules + "\ndata { train = text(\"a.txt\", tokenizer: bytes) sequence = 4 }\ntrain { model = " + model +
         " steps = 1 batch = 4 optimizer = adamw(lr: constant(1e-3)) }\n" + rest;
}

// A model whose forward turns [batch, seq, width] x into [batch, seq, width] y by `body`.
CheckedProgram around(const std::string& items, const std::string& body) {
  return checked("use std.nn\n" + with_sections(R"(
module net(axis vocab, axis width, axis heads) {
  axis head_dim = width / heads
  param embed: [vocab, width] = normal(0.02)
)" + items + R"(
  forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss {
    x = lookup(embed, tokens, over: vocab)
)" + body + R"(
    return cross_entropy(dot(y, embed), targets, over: vocab)
  }
})", "net(vocab: 256, width: 8, heads: 2)"));
}

std::vector<OpKind> kinds(const Model& model) {
  std::vector<OpKind> out;
  for (const Op& op : model.ops)
    if (op.kind != OpKind::parameter && op.kind != OpKind::constant) out.push_back(op.kind);
  return out;
}

AxisId axis_at(const Model& model, const std::string& path) {
  for (std::size_t i = 0; i < model.axes.size(); ++i)
    if (model.axes[i].path == path) return AxisId(i);
  ADD_FAILURE() << "no axis " << path;
  return AxisId(0);
}

class EveryModel : public testing::TestWithParam<std::string> {
 protected:
  CheckedProgram program() const { return checked(read_file(kFolder + GetParam() + ".dsm")); }
};
INSTANTIATE_TEST_SUITE_P(All, EveryModel, testing::Values("gpt2", "llama", "mixer", "derived"), [](const auto& info) { return info.param; });

TEST_P(EveryModel, ProductsReadRoundedValuesAndNothingIsRoundedTwice) {
  const CheckedProgram program = this->program();
  const Model& model = program.model;
  for (const Op& op : model.ops) {
    const auto operand = [&](std::size_t i) -> const Op& { return model.op(op.operands[i]); };
    const std::size_t read_rounded = op.kind == OpKind::dot || op.kind == OpKind::attend ? op.operands.size() : op.kind == OpKind::lookup ? 1 : 0;
    for (std::size_t i = 0; i < read_rounded; ++i) {
      EXPECT_TRUE(operand(i).rounded) << op.name;
    }
    if (op.kind == OpKind::round) {
      EXPECT_FALSE(operand(0).rounded) << op.name;
      EXPECT_EQ(operand(0).type, ValueType::real) << op.name;
    }
  }
}

TEST_P(EveryModel, SumsOfProductsAreRoundedBeforeAnythingElseUsesThem) {
  const CheckedProgram program = this->program();
  const Model& model = program.model;
  std::vector<bool> pending(model.ops.size());
  for (std::size_t i = 0; i < model.ops.size(); ++i) {
    const Op& op = model.ops[i];
    const bool sum = op.kind == OpKind::add || op.kind == OpKind::subtract;
    for (OpId operand : op.operands) {
      if (!pending[operand.index()]) continue;
      EXPECT_TRUE(sum || op.kind == OpKind::round || op.kind == OpKind::cross_entropy) << op.name << ": " << name_of(op.kind);
      pending[i] = pending[i] || sum;
    }
    pending[i] = pending[i] || op.kind == OpKind::dot || op.kind == OpKind::attend;
  }
}

TEST_P(EveryModel, OperandsComeFirstAndEveryOpReachesTheLoss) {
  const CheckedProgram program = this->program();
  const Model& model = program.model;
  std::vector<bool> used(model.ops.size());
  used[model.loss.index()] = true;
  int segment = 0;
  for (std::size_t i = 0; i < model.ops.size(); ++i) {
    const Op& op = model.ops[i];
    for (OpId operand : op.operands) {
      EXPECT_LT(operand.index(), i);
      used[operand.index()] = true;
    }
    EXPECT_GE(op.segment, segment);
    segment = op.segment;
    EXPECT_LT(op.scope, static_cast<int>(model.scopes.size()));
    EXPECT_EQ(std::set<AxisId>(op.axes.begin(), op.axes.end()).size(), op.axes.size());
  }
  EXPECT_EQ(std::count(used.begin(), used.end(), false), 0);
  EXPECT_EQ(model.op(model.loss).type, ValueType::loss);
  ASSERT_TRUE(model.logits.has_value());
  EXPECT_FALSE(model.op(*model.logits).rounded);
}

TEST(Rounding, LayerNormRoundsOnce) {
  const CheckedProgram program = around("sub norm = layer_norm(width)", "y = norm(x)");
  using enum OpKind;
  EXPECT_EQ(kinds(program.model), (std::vector<OpKind>{tokens, targets, lookup, mean, subtract, multiply, mean, add, rsqrt, multiply, multiply, add, round, dot, cross_entropy}));
}

TEST(Rounding, AttentionRoundsWhatIsNamedAndWhatProductsRead) {
  const CheckedProgram program = around(R"(
  param wq: [width, heads, head_dim] = normal(0.02)
  param bq: [heads, head_dim] = zeros
  param wo: [heads, head_dim, width] = normal(0.02))", R"(
    q = dot(x, wq) + bq
    y = dot(attend(q, q, q, along: seq, contract: head_dim, mask: causal), wo))");
  using enum OpKind;
  EXPECT_EQ(kinds(program.model), (std::vector<OpKind>{tokens, targets, lookup, dot, add, round, attend, round, dot, round, dot, cross_entropy}));
}

TEST(Rounding, AFunctionRoundsItsArgumentsAlone) {
  const CheckedProgram program = around("param w: [width, vocab] = normal(0.1)\n  param b: [vocab, width] = normal(0.1)", "y = dot(silu(dot(x, w)) * 2, b)");
  using enum OpKind;
  EXPECT_EQ(kinds(program.model), (std::vector<OpKind>{tokens, targets, lookup, dot, round, sigmoid, multiply, multiply, round, dot, round, dot, cross_entropy}));
}

TEST(Rounding, ASumOfProductsRoundsOnceAndBeforeAProductOfIt) {
  const CheckedProgram program = around("param w: [width, vocab] = normal(0.1)\n  param v: [width, vocab] = normal(0.1)\n  param b: [vocab, width] = normal(0.1)",
                                        "h = (dot(x, w) + dot(x, v) - 1.0) * 2\n y = dot(h, b)");
  using enum OpKind;
  EXPECT_EQ(kinds(program.model), (std::vector<OpKind>{tokens, targets, lookup, dot, dot, add, subtract, round, multiply, round, dot, round, dot, cross_entropy}));
}

TEST(Rounding, ViewsOfRoundedValuesAreNotRoundedAgain) {
  const CheckedProgram program = around("axis half = width / 2\n  param w: [half, width] = normal(0.1)", "a = slice(x, width -> half, from: 4)\n y = dot(a, w)");
  using enum OpKind;
  EXPECT_EQ(kinds(program.model), (std::vector<OpKind>{tokens, targets, lookup, slice, dot, round, dot, cross_entropy}));
}

TEST(Axes, AnAxisGivenByNameIsTheCallersAndANumberMakesOne) {
  const CheckedProgram program = checked(with_sections(R"(
module mlp(axis width, axis hidden) {
  axis wide = hidden
  param up: [width, hidden] = normal(0.1)
  param mid: [hidden, wide] = normal(0.1)
  param down: [wide, width] = normal(0.1)
  forward(x: [..., width]) -> [..., width] { return dot(dot(dot(x, up), mid), down) }
}
module net(axis vocab, axis width, axis layers, axis hidden = 2 * width) {
  param embed: [vocab, width] = normal(0.02)
  sub same[layers] = mlp(width, hidden)
  sub own[layers] = mlp(width, 3 * width)
  forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss {
    x = lookup(embed, tokens, over: vocab)
    repeat (same, own) as (s, o) { x = o(s(x)) }
    return cross_entropy(dot(x, embed), targets, over: vocab)
  }
})", "net(vocab: 16, width: 4, layers: 3)"));
  const Model& model = program.model;
  std::vector<std::string> paths;
  for (const Axis& axis : model.axes) paths.push_back(axis.path + "=" + std::to_string(axis.size));
  EXPECT_EQ(paths, (std::vector<std::string>{"batch=4", "seq=4", "vocab=16", "width=4", "layers=3", "hidden=8", "same.wide=8", "own.hidden=12", "own.wide=12"}));
  for (const Parameter& parameter : model.parameters) {
    const bool up = parameter.path.ends_with(".up");
    if (!up) continue;
    EXPECT_EQ(parameter.axes[0], axis_at(model, "width")) << parameter.path;
    EXPECT_EQ(parameter.axes[1], axis_at(model, parameter.path.starts_with("same") ? "hidden" : "own.hidden")) << parameter.path;
  }
  EXPECT_EQ(model.parameters.size(), 1u + 3 * 6);
  EXPECT_EQ(model.op(model.loss).segment, 6);
  EXPECT_EQ(model.scopes.size(), 4u);
}

TEST(Axes, AProductIsKeptInOrderAndStatedOnce) {
  const CheckedProgram program = checked(read_file(kFolder + "llama.dsm"));
  const Model& model = program.model;
  const Axis& heads = model.axis(axis_at(model, "heads"));
  ASSERT_EQ(heads.products.size(), 1u);
  EXPECT_EQ(heads.products[0], (std::vector<AxisId>{axis_at(model, "kv_heads"), axis_at(model, "block.attn.group")}));
}

TEST(Axes, TokensBoundTheirVocabularies) {
  const CheckedProgram program = checked(read_file(kFolder + "gpt2.dsm"));
  EXPECT_EQ(program.model.vocabulary, 256);
  EXPECT_TRUE(program.model.axis(axis_at(program.model, "vocab")).vocabulary);
  EXPECT_FALSE(program.model.axis(axis_at(program.model, "context")).vocabulary);
}

TEST(Parameters, ReadInSeveralIterationsBelongToNone) {
  const CheckedProgram program = checked(read_file(kFolder + "mixer.dsm"));
  const Model& model = program.model;
  for (const Op& op : model.ops) {
    if (!op.parameter) continue;
    const std::string& path = model.parameter(*op.parameter).path;
    const int scope = path.starts_with("left[0]") || path.starts_with("right[0]") ? 1 : path.starts_with("left[1]") || path.starts_with("right[1]") ? 2 : 0;
    EXPECT_EQ(op.scope, scope) << path;
  }
}

TEST(Parameters, DecayFollowsTheLineAndTheOptimizer) {
  const CheckedProgram program = checked(read_file(kFolder + "mixer.dsm"));
  for (const Parameter& p : program.model.parameters) EXPECT_EQ(p.decay, p.path == "embed" || p.path.ends_with(".w")) << p.path;
}

TEST(Sampling, NeedsOneCrossEntropyOnTargets) {
  const std::string twice = with_sections(R"(
module net(axis vocab) {
  param w: [vocab] = zeros
  param table: [vocab] = ones
  forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss {
    x = expand(w, batch)
    y = expand(x, seq) * lookup(table, tokens, over: vocab)
    return cross_entropy(y, targets, over: vocab) + 0.5 * cross_entropy(y * 2, targets, over: vocab)
  }
})", "net(16)");
  const CheckedProgram program = checked(twice);
  EXPECT_FALSE(program.model.logits.has_value());
  EXPECT_EQ(program.model.no_logits_reason, "the model has 2 cross_entropy operations on `targets`");
}

TEST(Layout, MicroBatchAutoIsTheLargestDivisorWithin8192Tokens) {
  struct Row { std::int64_t batch, ranks, sequence, expected; };
  for (const Row& row : {Row{512, 8, 1024, 8}, Row{512, 1, 1024, 8}, Row{24, 4, 1024, 6}, Row{7, 1, 4096, 1}, Row{6, 1, 4096, 2}, Row{8, 8, 16384, 1}, Row{64, 2, 16, 32}}) {
    const std::string text = "// flags: --gpus " + std::to_string(row.ranks) + "\nuse std.gpt2\ndata { train = text(\"a\", tokenizer: bytes) sequence = " + std::to_string(row.sequence) +
                             " }\ntrain { model = gpt2(vocab: 256, context: 32768, layers: 1, width: 4, heads: 1) steps = 1 batch = " + std::to_string(row.batch) +
                             " optimizer = sgd(lr: constant(0.1)) }";
    EXPECT_EQ(checked(text).layout.micro_batch, row.expected) << row.batch << " " << row.ranks << " " << row.sequence;
  }
}

TEST(Layout, AShareIsAnExactDecimal) {
  for (const auto& [text, numerator, denominator] : {std::tuple{"0.05", 5, 100}, {"5e-2", 5, 100}, {"0.5", 5, 10}, {"1.25e-1", 125, 1000}}) {
    const CheckedProgram program = checked("use std.gpt2\ndata { train = text(\"a\", tokenizer: bytes) validation = split(" + std::string(text) +
                                           ") sequence = 8 }\ntrain { model = gpt2(256, 8, 1, 4, 1) steps = 1 batch = 1 optimizer = sgd(lr: constant(0.1)) }");
    ASSERT_TRUE(program.data.validation_split.has_value());
    EXPECT_EQ(program.data.validation_split->numerator * denominator, program.data.validation_split->denominator * numerator) << text;
  }
}

TEST(Layout, IsTheFirstThatGpusSatisfies) {
  const std::string layouts = "layout one { }\nlayout two { mesh (data: 2) split batch over data }\nlayout any { mesh (data: auto) split batch over data }\n";
  const std::string file = "use std.gpt2\n" + with_sections("", "gpt2(256, 8, 1, 4, 1)", layouts);
  const auto chosen = [&](const std::string& flags) {
    const CheckedProgram program = checked(flags + file);
    return program.layout.name + (program.layout_chosen_by_default ? "*" : "") + " " + std::to_string(program.layout.world_size());
  };
  EXPECT_EQ(chosen(""), "one* 1");
  EXPECT_EQ(chosen("// flags: --gpus 2\n"), "two* 2");
  EXPECT_EQ(chosen("// flags: --gpus 4\n"), "any* 4");
  EXPECT_EQ(chosen("// flags: --gpus 2 --layout any\n"), "any 2");
  EXPECT_EQ(chosen("// flags: --layout two\n"), "two 2");
}

TEST(Paths, AreRelativeToTheFileUnlessFromTheCommandLine) {
  const std::string file = "use std.gpt2\n" + with_sections("", "gpt2(256, 8, 1, 4, 1)");
  const auto path = [&](const std::string& flags) { return check_text("sub/model.dsm", flags + file, "sub").program->data.train.path; };
  EXPECT_EQ(path(""), "sub/a.txt");
  EXPECT_EQ(path("// flags: --set data.train.path=b.txt\n"), "b.txt");
}

}  // namespace
}  // namespace dsc::test
