// Every construct of the language, and what the tree says of it.
#include "compiler/syntax/parse.h"

#include <gtest/gtest.h>

#include "compiler/syntax/print.h"
#include "tests/unit/syntax/parsing.h"

namespace dsc::syntax {
namespace {

File file_of(const std::string& text) {
  Parsed parsed = parse_text(text);
  EXPECT_TRUE(parsed.file) << parsed.errors();
  return parsed.file.value_or(File{});
}

Expr value_of(const std::string& text) {
  SourceMap sources;
  Diagnostics diagnostics;
  const std::uint32_t id = sources.add({"--set", text});
  std::optional<Expr> value = parse_value(id, sources, diagnostics);
  EXPECT_TRUE(value) << render(diagnostics, sources);
  return value.value_or(Expr{});
}

std::string cut(const std::string& text, SourceRange range) { return text.substr(range.begin, range.end - range.begin); }

TEST(Parse, Literals) {
  EXPECT_EQ(value_of("12").kind, ExprKind::integer);
  EXPECT_EQ(value_of("9223372036854775807").integer, 9223372036854775807);
  EXPECT_EQ(value_of("1e-5").kind, ExprKind::real);
  EXPECT_DOUBLE_EQ(value_of("0.25e2").number, 25.0);
  EXPECT_EQ(value_of("\"a\\\"b\\\\\\n\\t\"").text, "a\"b\\\n\t");
  EXPECT_EQ(value_of("true").kind, ExprKind::yes);
  EXPECT_EQ(value_of("false").kind, ExprKind::no);
  EXPECT_EQ(value_of("null").kind, ExprKind::null);
  EXPECT_EQ(value_of("auto").kind, ExprKind::automatic);
  EXPECT_EQ(value_of("1f1b").kind, ExprKind::name);
}

TEST(Parse, Quantities) {
  const Expr size = value_of("32 MiB");
  EXPECT_EQ(size.kind, ExprKind::quantity);
  EXPECT_EQ(size.quantity, QuantityKind::bytes);
  EXPECT_EQ(size.integer, 32 << 20);
  EXPECT_EQ(size.unit, "MiB");
  EXPECT_EQ(value_of("1.5 GiB").integer, 3LL << 29);
  EXPECT_EQ(value_of("2 TiB").integer, 2LL << 40);
  EXPECT_EQ(value_of("4 KiB").integer, 4096);
  EXPECT_EQ(value_of("40 GB/s").quantity, QuantityKind::rate);
  EXPECT_DOUBLE_EQ(value_of("40 GB/s").number, 40e9);
  EXPECT_EQ(value_of("3 us").quantity, QuantityKind::time);
  EXPECT_DOUBLE_EQ(value_of("3 us").number, 3e-6);
  EXPECT_DOUBLE_EQ(value_of("5 ms").number, 5e-3);
}

TEST(Parse, Precedence) {
  EXPECT_EQ(print(value_of("a + b * c - d")), "(a + (b * c)) - d");
  EXPECT_EQ(print(value_of("a / b / c")), "(a / b) / c");
  EXPECT_EQ(print(value_of("-a ^ b ^ -c")), "-(a^(b^(-c)))");
  EXPECT_EQ(print(value_of("(a + b) * c")), "(a + b) * c");
  EXPECT_EQ(print(value_of("a + 1 <= b * 2")), "(a + 1) <= (b * 2)");
  for (const char* op : {"<", "<=", ">", ">=", "==", "!="}) {
    const Expr e = value_of(std::string("a ") + op + " b");
    EXPECT_EQ(e.kind, ExprKind::compare);
    EXPECT_EQ(e.text, op);
  }
  EXPECT_TRUE(value_of("(a)").parenthesized);
  EXPECT_EQ(value_of("(a)").kind, ExprKind::name);
}

TEST(Parse, Paths) {
  const Expr path = value_of("block[3] . attn[*].gate[experts: e + 1].w[4..8].z[2 * i + 1]");
  ASSERT_EQ(path.kind, ExprKind::path);
  ASSERT_EQ(path.segments.size(), 5u);
  EXPECT_EQ(path.segments[0].index, IndexKind::integer);
  EXPECT_EQ(path.segments[0].bounds[0].integer, 3);
  EXPECT_EQ(path.segments[1].index, IndexKind::star);
  EXPECT_EQ(path.segments[2].index, IndexKind::axis);
  EXPECT_EQ(path.segments[2].axis->text, "experts");
  EXPECT_EQ(print(path.segments[2].bounds[0]), "e + 1");
  EXPECT_EQ(path.segments[3].index, IndexKind::range);
  EXPECT_EQ(path.segments[3].bounds[1].integer, 8);
  EXPECT_EQ(path.segments[4].index, IndexKind::expression);
  EXPECT_EQ(value_of("block . attn").text, "block.attn");
}

TEST(Parse, Calls) {
  const Expr call = value_of("mine.attend(q, k, along: seq, mask: window(3), over: (a, b))");
  ASSERT_EQ(call.kind, ExprKind::call);
  EXPECT_EQ(call.text, "mine.attend");
  EXPECT_EQ(call.segments.size(), 2u);
  ASSERT_EQ(call.args.size(), 5u);
  EXPECT_FALSE(call.args[1].name);
  EXPECT_EQ(call.args[2].name->text, "along");
  EXPECT_EQ(call.args[3].value.kind, ExprKind::call);
  EXPECT_EQ(call.args[4].value.kind, ExprKind::tuple);
  EXPECT_TRUE(value_of("f()").args.empty());
  EXPECT_EQ(cut("f(x)", value_of("f(x)").callee), "f");
}

TEST(Parse, AxisForms) {
  const Expr merge = value_of("merge(x, (kv_heads group) -> heads)");
  EXPECT_EQ(merge.args[1].value.kind, ExprKind::arrow);
  EXPECT_EQ(merge.args[1].value.children[0].kind, ExprKind::group);
  EXPECT_EQ(merge.args[1].value.children[0].children[1].text, "group");
  EXPECT_EQ(value_of("unmerge(x, heads -> (kv_heads group))").args[1].value.children[1].kind, ExprKind::group);
  EXPECT_EQ(value_of("rename(x, a -> b)").args[1].value.children[1].text, "b");
  EXPECT_EQ(print(value_of("slice(x, a -> b, from: 3)")), "slice(x, a -> b, from: 3)");
  EXPECT_EQ(print(value_of("concat(x, y, (a b) -> c)")), "concat(x, y, (a b) -> c)");
}

TEST(Parse, ListsAndObjects) {
  const Expr object = value_of("{ a: [1, \"x\", true], b: { c: null, }, d: { } }");
  ASSERT_EQ(object.kind, ExprKind::object);
  ASSERT_EQ(object.entries.size(), 3u);
  EXPECT_EQ(object.entries[0].value.children.size(), 3u);
  EXPECT_EQ(object.entries[1].value.entries[0].value.kind, ExprKind::null);
  EXPECT_TRUE(object.entries[2].value.entries.empty());
  EXPECT_TRUE(value_of("[]").children.empty());
}

TEST(Parse, Uses) {
  const File file = file_of("use std.gpt2\nuse \"my model.dsm\" as mine use std.nn as n");
  ASSERT_EQ(file.uses.size(), 3u);
  EXPECT_EQ(file.uses[0].library, "std.gpt2");
  EXPECT_FALSE(file.uses[0].alias);
  EXPECT_EQ(file.uses[1].path, "my model.dsm");
  EXPECT_EQ(file.uses[1].alias->text, "mine");
  EXPECT_EQ(file.uses[2].alias->text, "n");
}

TEST(Parse, Functions) {
  const std::string text = "function gelu(x) = 0.5 * x\nfunction f(x, axis a, int n, real eps = 1e-5) {\n  c = x - 1\n  return c * eps\n}\n";
  const File file = file_of(text);
  ASSERT_EQ(file.functions.size(), 2u);
  EXPECT_EQ(file.functions[0].body.at(0).kind, StatementKind::give);
  const Function& f = file.functions[1];
  ASSERT_EQ(f.formals.size(), 4u);
  EXPECT_EQ(f.formals[0].kind, FormalKind::tensor);
  EXPECT_EQ(f.formals[1].kind, FormalKind::axis);
  EXPECT_EQ(f.formals[2].kind, FormalKind::integer);
  EXPECT_EQ(f.formals[3].kind, FormalKind::real);
  EXPECT_DOUBLE_EQ(f.formals[3].fallback->number, 1e-5);
  EXPECT_EQ(cut(text, f.body.at(1).range), "return c * eps");
}

TEST(Parse, Modules) {
  const File file = file_of(R"(module m(axis width, int n = 2, axis hidden = 4 * width) {
    axis head_dim = width / heads
    product heads = kv_heads * group * rest
    param b: [width, head_dim] = zeros decay none
    param w: int[width] = normal(0.02 / sqrt(2 * n))
    sub block[layers] = lib.other(width, heads: 3)
    sub norm = layer_norm(width)
    require seq <= context
    forward(x: [..., width], t: int[batch, seq], s: real, n: int) -> ([width, ...], loss) {
      repeat (dense, sparse) as (d, s) { x = s(d(x)) }
      repeat block as b { x, a = b(x) }
      return x, a
    }
  })");
  const Module& m = file.modules.at(0);
  EXPECT_EQ(m.items.size(), 8u);
  EXPECT_EQ(m.formals[2].fallback->kind, ExprKind::binary);
  EXPECT_EQ(m.products[0].factors.size(), 3u);
  EXPECT_EQ(m.params[0].decay->text, "none");
  EXPECT_FALSE(m.params[1].decay);
  EXPECT_EQ(m.params[1].type.kind, TypeKind::integer);
  EXPECT_EQ(m.subs[0].array->text, "layers");
  EXPECT_EQ(m.subs[0].module.text, "lib.other");
  EXPECT_FALSE(m.subs[1].array);
  EXPECT_EQ(print(m.requirements[0].condition), "seq <= context");
  const Forward& f = m.forwards.at(0);
  ASSERT_EQ(f.inputs.size(), 4u);
  EXPECT_EQ(f.inputs[0].type.others, std::size_t{0});
  EXPECT_TRUE(f.inputs[1].type.tensor);
  EXPECT_FALSE(f.inputs[2].type.tensor);
  EXPECT_EQ(f.inputs[3].type.kind, TypeKind::integer);
  EXPECT_EQ(f.results[0].others, std::size_t{1});
  EXPECT_EQ(f.results[1].kind, TypeKind::loss);
  EXPECT_EQ(f.body[0].arrays.size(), 2u);
  EXPECT_EQ(f.body[1].body[0].targets.size(), 2u);
  EXPECT_EQ(f.body[2].values.size(), 2u);
}

TEST(Parse, Exports) {
  const File file = file_of(R"(module m(axis width) {
    export huggingface {
      architecture "M"
      config { n_layer: layers, rope_theta or rope_parameters.rope_theta: theta, }
      config written { list: [1, 2], nested: { a: 1 } }
      ignore "h.{i}.bias", "x"
      "a.{2 * i + 1}.w" or "b" = concat(block[i].q, block[i].k as [width], dim: 1) as [width, (heads head_dim)]
      "c.{e}" = block.gate[experts: e]
    }
  })");
  const Export& e = file.modules.at(0).exports.at(0);
  EXPECT_EQ(e.architectures.at(0).text, "M");
  ASSERT_EQ(e.configs.size(), 2u);
  EXPECT_FALSE(e.configs[0].written);
  EXPECT_EQ(e.configs[0].entries[1].alternatives.at(0).text, "rope_parameters.rope_theta");
  EXPECT_TRUE(e.configs[1].written);
  EXPECT_EQ(e.ignored.size(), 2u);
  ASSERT_EQ(e.lines.size(), 2u);
  const StoredName& name = e.lines[0].names.at(0);
  ASSERT_EQ(name.parts.size(), 3u);
  EXPECT_EQ(name.parts[0].text, "a.");
  EXPECT_EQ(print(*name.parts[1].index), "(2 * i) + 1");
  EXPECT_EQ(name.parts[2].text, ".w");
  EXPECT_EQ(e.lines[0].names.at(1).text, "b");
  const Expr& shaped = e.lines[0].value;
  ASSERT_EQ(shaped.kind, ExprKind::shaped);
  EXPECT_EQ(shaped.children[0].args[1].value.kind, ExprKind::shaped);
  EXPECT_EQ(shaped.children[1].children[1].kind, ExprKind::group);
  EXPECT_EQ(e.lines[1].value.kind, ExprKind::path);
}

TEST(Parse, StoredNamesPointIntoTheFile) {
  const std::string text = "module m(axis a) { export huggingface { \"x.{2 * i + 1}\" = w } }";
  const File file = file_of(text);
  EXPECT_EQ(cut(text, file.modules[0].exports[0].lines[0].names[0].parts[1].index->range), "2 * i + 1");
}

TEST(Parse, DataAndTrain) {
  const File file = file_of(R"(data { train = text("a", tokenizer: bytes) sequence = 3 }
    train { steps = 4 checkpoint every 500 to "run" keep 3 checkpoint every 5 evaluate every 250 batches 20 data = 3 })");
  EXPECT_EQ(file.datas.at(0).entries.size(), 2u);
  const Train& t = file.trains.at(0);
  EXPECT_EQ(t.entries.size(), 2u);
  ASSERT_EQ(t.checkpoints.size(), 2u);
  EXPECT_EQ(t.checkpoints[0].to->text, "run");
  EXPECT_EQ(t.checkpoints[0].keep->integer, 3);
  EXPECT_FALSE(t.checkpoints[1].to);
  EXPECT_EQ(t.evaluates.at(0).batches.integer, 20);
}

TEST(Parse, Layouts) {
  const File file = file_of(R"(layout a {
    mesh (pipe: 2, data: auto)
    split heads, block.left.hidden over node, local elsewhere { schedule: 1f1b, cut: (block[5], block[11]) }
    zero 3 over data { bucket: 32 MiB }
    micro_batch auto
    offload params to nvme("/scratch")
    recompute block[*].attn, block[4..8].mlp
    wire bf16
    overlap off
  }
  layout b = a { drop split heads drop zero over node, local drop offload params drop recompute })");
  ASSERT_EQ(file.layouts.size(), 2u);
  const std::vector<Rule>& r = file.layouts[0].rules;
  ASSERT_EQ(r.size(), 8u);
  EXPECT_EQ(r[0].mesh.at(1).value.kind, ExprKind::automatic);
  EXPECT_EQ(r[1].axes.at(1).text, "block.left.hidden");
  EXPECT_EQ(r[1].over.size(), 2u);
  EXPECT_TRUE(r[1].elsewhere);
  EXPECT_EQ(r[1].options.at(0).value.text, "1f1b");
  EXPECT_EQ(r[2].values.at(0).integer, 3);
  EXPECT_EQ(r[2].options.at(0).value.integer, 32 << 20);
  EXPECT_EQ(r[3].values.at(0).kind, ExprKind::automatic);
  EXPECT_EQ(r[4].subject->text, "params");
  EXPECT_EQ(r[4].values.at(0).kind, ExprKind::call);
  EXPECT_EQ(r[5].values.size(), 2u);
  EXPECT_EQ(r[7].values.at(0).text, "off");
  EXPECT_EQ(file.layouts[1].base->text, "a");
  const std::vector<Rule>& d = file.layouts[1].rules;
  ASSERT_EQ(d.size(), 4u);
  EXPECT_EQ(d[0].dropped, RuleKind::split);
  EXPECT_EQ(d[1].over.size(), 2u);
  EXPECT_EQ(d[2].subject->text, "params");
  EXPECT_EQ(d[3].dropped, RuleKind::recompute);
}

TEST(Parse, KeywordsMayBeNames) {
  const std::vector<std::string> words = {"use", "as", "function", "module", "param", "axis", "product", "sub", "require", "forward",
      "export", "decay", "architecture", "config", "written", "ignore", "or", "data", "train", "checkpoint", "every", "to",
      "keep", "evaluate", "batches", "layout", "mesh", "split", "zero", "micro_batch", "offload", "recompute", "wire", "overlap", "drop"};
  for (const std::string& w : words) {
    const File file = file_of("module " + w + "(axis " + w + ") { param " + w + ": [" + w + "] = ones forward(" + w + ": [a]) -> [a] { " + w + " = " + w +
                              "(" + w + ", " + w + ": " + w + ") x, " + w + " = " + w + "." + w + " return " + w +
                              " } } layout " + w + " { mesh (" + w + ": 2) split " + w + " over " + w + " } data { " + w + " = " + w + " }");
    EXPECT_EQ(file.modules.at(0).name.text, w);
    EXPECT_EQ(file.modules.at(0).forwards.at(0).body.size(), 3u) << w;
    EXPECT_EQ(file.layouts.at(0).rules.size(), 2u) << w;
  }
}

TEST(Parse, NewlinesMeanNothing) {
  const std::string text = "data { train = text(\"a\") sequence = 3 } layout a { mesh (data: 2) split batch over data zero 3 over data { bucket: 1 } }";
  std::string spread;
  bool quoted = false;
  for (char c : text) {
    quoted ^= c == '"';
    spread += c == ' ' && !quoted ? '\n' : c;
  }
  EXPECT_EQ(print(file_of(text)), print(file_of(spread)));
}

TEST(Parse, CommentsAreKept) {
  const File file = file_of("// one\ndata { // two\n  x = 1 // three\n  // four\n}");
  ASSERT_EQ(file.comments.size(), 4u);
  EXPECT_TRUE(file.comments[0].own_line);
  EXPECT_FALSE(file.comments[1].own_line);
  EXPECT_EQ(file.comments[2].text, "// three");
  EXPECT_TRUE(file.comments[3].own_line);
}

TEST(Parse, SeveralErrorsInOneRun) {
  const Parsed parsed = parse_text("layout a {\n  split x y\n  zero 3 data\n}\ntrain {\n  a 3\n  b = 4\n  c = (1 +)\n}\n");
  EXPECT_EQ(parsed.diagnostics.list().size(), 4u) << parsed.errors();
}

TEST(Parse, ValuesOfTheCommandLine) {
  SourceMap sources;
  Diagnostics diagnostics;
  EXPECT_FALSE(parse_value(sources.add({"--set", "3 4"}), sources, diagnostics));
  EXPECT_FALSE(parse_value(sources.add({"--set", ""}), sources, diagnostics));
  EXPECT_FALSE(parse_value(sources.add({"--set", "a = 3"}), sources, diagnostics));
  EXPECT_EQ(diagnostics.list().size(), 3u);
}

}  // namespace
}  // namespace dsc::syntax
