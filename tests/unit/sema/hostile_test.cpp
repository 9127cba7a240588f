// Files that are small and ask for much: every one ends with a program or with diagnostics, within bounded time, stack and
// memory.
#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/sema/golden_runner.h"

namespace dsc::test {
namespace {

std::string repeated(int count, const std::function<std::string(int)>& line) {
  std::string text;
  for (int i = 0; i < count; ++i) text += line(i);
  return text;
}

std::string n(int i) { return std::to_string(i); }

constexpr const char* kSections = R"(
data { train = text("x.txt", tokenizer: bytes) sequence = 4 }
train { model = m(vocab: 8, width: 4) steps = 1 batch = 4 optimizer = adamw(lr: constant(1e-3)) precision = fp32 seed = 1 }
)";

// A model whose forward computes `body` from x: [batch, seq, width].
std::string model(const std::string& items, const std::string& body) {
  return "module m(axis vocab, axis width) {\n  param wte: [vocab, width] = normal(0.02)\n" + items +
         "\n  forward(tokens: int[batch, seq], targets: int[batch, seq]) -> loss {\n    x = lookup(wte, tokens, over: vocab)\n" + body +
         "\n    return cross_entropy(dot(x, wte), targets, over: vocab)\n  }\n}\n" + kSections;
}

// The rendered diagnostics, "" where there are none.
std::string errors_of(const std::string& text) {
  Checked checked = check_text("model.dsm", text, "/nowhere");
  EXPECT_NE(checked.program.has_value(), checked.diagnostics.has_errors());
  return render(checked.diagnostics, checked.sources);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Hostile, FunctionsThatCallEachOtherDeeply) {
  std::string chain = repeated(15'000, [](int i) { return "function f" + n(i) + "(x) = f" + n(i + 1) + "(x)\n"; }) + "function f15000(x) = x\n";
  EXPECT_TRUE(has(errors_of(chain + model("", "    x = f0(x)")), "DSM0219"));
  std::string short_chain = repeated(200, [](int i) { return "function f" + n(i) + "(x) = f" + n(i + 1) + "(x)\n"; }) + "function f200(x) = x\n";
  EXPECT_EQ(errors_of(short_chain + model("", "    x = f0(x)")), "");
  // Every one adds nesting of its own.
  std::string nested = repeated(300, [](int i) { return "function f" + n(i) + "(x) = " + repeated(100, [](int) { return "-("; }) + "f" + n(i + 1) + "(x)" + std::string(100, ')') + "\n"; });
  EXPECT_TRUE(has(errors_of(nested + "function f300(x) = x\n" + model("", "    x = f0(x)")), "DSM0219"));
}

TEST(Hostile, ModulesThatContainEachOtherDeeply) {
  std::string chain = repeated(5'000, [](int i) {
    return "module a" + n(i) + "(axis width) { sub inner = a" + n(i + 1) + "(width) forward(x: [..., width]) -> [..., width] { return inner(x) } }\n";
  });
  chain += "module a5000(axis width) { forward(x: [..., width]) -> [..., width] { return x } }\n";
  EXPECT_TRUE(has(errors_of(chain + model("  sub first = a0(width)", "    x = first(x)")), "DSM0219"));
}

TEST(Hostile, CallsThatDouble) {
  std::string doubling = repeated(60, [](int i) { return "function f" + n(i) + "(x) = f" + n(i + 1) + "(x) + f" + n(i + 1) + "(x)\n"; });
  EXPECT_TRUE(has(errors_of(doubling + "function f60(x) = x\n" + model("", "    x = f0(x)")), "DSM0219"));
  // Long bodies, each called often: few calls and many operations.
  std::string body = "function g(x) {\n" + repeated(5'000, [](int) { return "  x = x + 1\n"; }) + "  return x\n}\n";
  EXPECT_TRUE(has(errors_of(body + "function h(x) {\n" + repeated(5'000, [](int) { return "  x = g(x)\n"; }) + "  return x\n}\n" + model("", "    x = h(x)")), "DSM0219"));
  // By themselves each is within limits.
  std::string many = repeated(300, [](int i) { return "function g" + n(i) + "(x) {\n" + repeated(20, [](int) { return "  x = g(x)\n"; }) + "  return x\n}\n"; });
  EXPECT_TRUE(has(errors_of(body + many + model("", "    x = g(x)")), "DSM0219"));
}

TEST(Hostile, RepeatsInRepeats) {
  std::string step = "module s(axis width) { forward(x: [..., width]) -> [..., width] { return x } }\n";
  std::string deep = repeated(20, [](int i) { return "repeat b as b" + n(i) + " { "; }) + "y = 1" + repeated(20, [](int) { return " }"; }) + "\n x = x * y";
  EXPECT_TRUE(has(errors_of(step + model("  axis many = 60000\n  sub b[many] = s(width)", deep)), "DSM0219"));
  EXPECT_TRUE(has(errors_of(step + model("  axis many = 70000\n  sub b[many] = s(width)", "")), "DSM0219"));
}

TEST(Hostile, ExportsThatMultiply) {
  std::string step = "module s(axis width) { param p: [width] = ones forward(x: [..., width]) -> [..., width] { return x * p } }\n";
  std::string items = "  axis many = 300\n  sub b[many] = s(width)\n  param q: [many, width] = ones\n  export huggingface {\n    architecture \"A\"\n    config { }\n    \"wte\" = wte\n    \"b.{i}\" = b[i].p\n    \"q.{j}\" = q[many: j]\n";
  std::string body = "    repeat b as one { x = one(x) }\n    x = x * sum(q, over: many)";
  EXPECT_EQ(errors_of(step + model(items + "  }", body)), "");
  EXPECT_EQ(errors_of(step + model(items + "    ignore \"z.{i}.{j}\", \"y.{i}.{j}\"\n  }", body)), "");
  std::string twelve = repeated(12, [](int i) { return "    ignore \"z" + n(i) + ".{i}.{j}\"\n"; });
  EXPECT_TRUE(has(errors_of(step + model(items + twelve + "  }", body)), "DSM0318"));
}

TEST(Hostile, NamesThatAreLong) {
  std::string a(1'000'000, 'a'), b(1'000'000, 'b');
  EXPECT_TRUE(has(errors_of("function f(" + a + ") = " + a + " + " + a.substr(1) + b.substr(1, 1) + "\n"), "DSM0301"));
}

TEST(Hostile, ManyMistakes) {
  std::string text = errors_of("function f(x) {\n" + repeated(20'000, [](int i) { return "  v" + n(i) + " = u" + n(i) + "\n"; }) + "  return x\n}\n");
  EXPECT_TRUE(has(text, "DSM0310"));
  // One mistake, met 65,536 times.
  std::string doubling = repeated(16, [](int i) { return "function f" + n(i) + "(x) = f" + n(i + 1) + "(x) + f" + n(i + 1) + "(x)\n"; });
  EXPECT_TRUE(has(errors_of(doubling + "function f16(x) = g(x)\n" + model("", "    x = f0(x)")), "DSM0304"));
}

TEST(Hostile, WholeNumbersAtTheirEnds) {
  const std::string least = "(0 - 9223372036854775807 - 1)";
  for (const char* sum : {" / (0 - 1)", " - 1", " * (0 - 1)", " * 2"})
    EXPECT_TRUE(has(errors_of(model("  axis a = " + least + sum, "")), "DSM0219")) << sum;
  EXPECT_TRUE(has(errors_of(model("  axis a = -" + least, "")), "DSM0219"));
  EXPECT_TRUE(has(errors_of(model("  axis a = abs" + least, "")), "DSM0206"));
  EXPECT_TRUE(has(errors_of(model("  axis a = 2 ^ 9223372036854775807", "")), "DSM0219"));
  EXPECT_TRUE(has(errors_of(model("  axis a = (0 - 1) ^ 9223372036854775807", "")), "DSM0206"));
}

}  // namespace
}  // namespace dsc::test
