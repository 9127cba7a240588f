#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "compiler/plan/plan_json.h"
#include "compiler/plan/print.h"
#include "compiler/support/diagnostic_codes.h"
#include "tests/unit/plan/tiny_plan.h"

namespace dsc::testing {
namespace {

TEST(PlanJson, RoundTripsEveryTinyPlan) {
  for (const TinyOptions& options : tiny_grid()) {
    Plan plan = tiny_plan(options);
    std::string text = to_json(plan);
    Result<Plan> back = from_json(text);
    ASSERT_TRUE(back) << str(options) << ": " << back.error().message;
    EXPECT_EQ(to_json(*back), text) << str(options);
    EXPECT_EQ(back->hash, plan.hash);
    EXPECT_EQ(plan.hash.size(), 64u);
  }
}

// Every kernel with a value in every field, and every optional part of the contract.
Plan rich_plan() {
  Plan plan = tiny_plan({2, 2, 3, Reduce::each, DType::bf16, OptimizerKind::adamw, true});
  Contract& c = plan.contract;
  c.model.axes[3].products = {{AxisId(1), AxisId(2)}};
  c.model.axes[0].source = {0, 1, 5};
  c.model.no_logits_reason = "a \"quoted\" reason\n\t\x01\xC3\xA9 \xFF\xFE\xF4\x8F\xBC\x80 end";
  c.model.ops[6].number = 0.1;
  c.model.ops[6].scale = 1.0 / 3;
  c.model.ops[6].theta = 1e-300;
  c.model.ops[6].along = AxisId(1);
  c.model.parameters[1].init_value = -0.0;
  c.data.validation_split.reset();
  c.data.validation_source = DataSource{"v*.txt", TokenFormat::u16, {}};
  c.train.optimizer.rate = {ScheduleKind::cosine, std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max(), 12345678901};
  c.train.loss_scale = {true, 65536, 500, 3, 0.5};
  c.train.init_pretrained = "dir";
  c.exports.present = true;
  c.exports.architecture = "GPT2LMHeadModel";
  c.exports.config = {{{"n_layer", "layers"}, "3", false}};
  c.exports.tensors = {{{"a", "b"}, {{ParameterId(0), {1, 0}, {6, 10}, -1, 0}, {ParameterId(1), {}, {1}, 0, 2}}, 1}};
  c.exports.ignored = {"h.0.bias"};
  c.autos = {{"layout.micro_batch", "2", "because"}};
  AttendSpec attend;
  attend.batch = {{2, 8, 8, 8, 8, false}, {2, 4, 0, 0, 4, true}};
  attend.length = 2;
  attend.qk_size = attend.v_size = 2;
  attend.q_along = attend.k_along = attend.v_along = attend.out_along = 2;
  attend.mask = Mask::window;
  attend.window = 7;
  attend.scale = 0.125;
  ProductSpec product;
  product.batch = {{3, 4, 5}};
  product.m = product.n = product.k = 2;
  product.a_m = 2;
  product.a_k = 1;
  product.b_k = 2;
  product.b_n = 1;
  product.epilogue = {1, {{MapOpcode::load, 0, -1, -1, -1, 0}, {.op = MapOpcode::store, .a = 0, .slot = 0, .type = DType::f16}}};
  product.inputs = {{}};
  product.outputs = {{DType::f32, {4, 2, 1}, 3, true}};
  MapSpec map;
  map.outer = {2, 3};
  map.reduced = {true, false};
  map.inner = {4};
  map.inputs = {{DType::i32, {12, 4, 1}, 0, {{0, 2}, {1, 3}, {0, 4}}}};
  map.outputs = {{DType::f32, {0, 4, 1}, 0, true}};
  map.program = {2, {{MapOpcode::load, 0, -1, -1, -1, 0}, {MapOpcode::constant, 1, -1, -1, -1, -1, -1.5e-7}, {MapOpcode::reduce_sum, -1, 0, -1, -1, 0}}};
  std::vector<KernelSpec> specs = {map, product, AttendForwardSpec{attend}, AttendBackwardSpec{attend, DType::bf16}, LookupSpec{1, 2, 3, 3, 1, 4}, LookupBackwardSpec{1, 2, 3, 3, 1, DType::bf16, true},
                                   CrossEntropySpec{1, 2, DType::f32, DType::bf16, 0.1, -2, true}, ClassifierSpec{4, 3, 2, 2, 2, 1}, RotateSpec{{2, 4}, {4, 1}, 0, 1, 3, 500.5, true}, ReadBatchSpec{1, 2, true},
                                   BeginStepSpec{}, SquareSumSpec{2, 3, 1, 4}, AddLossSpec{true}, ControlSpec{2, 3, 2, 4}, UpdateSpec{5, false, DType::f16}};
  EXPECT_EQ(specs.size(), std::variant_size_v<KernelSpec>);
  for (KernelSpec& spec : specs) {
    Instruction instruction;
    instruction.op = spec;
    instruction.source = {0, 0, 3};
    plan.programs[0].sections[0].instructions.push_back(instruction);
  }
  seal(plan);
  return plan;
}

TEST(PlanJson, RoundTripsEveryKernelAndField) {
  Plan plan = rich_plan();
  std::string text = to_json(plan);
  Result<Plan> back = from_json(text);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(to_json(*back), text);
  EXPECT_EQ(back->contract.model.no_logits_reason, plan.contract.model.no_logits_reason);
  EXPECT_EQ(back->contract.train.optimizer.rate.peak, std::numeric_limits<double>::denorm_min());
  EXPECT_EQ(back->contract.train.optimizer.rate.floor, std::numeric_limits<double>::max());
  EXPECT_TRUE(std::signbit(back->contract.model.parameters[1].init_value));
  EXPECT_EQ(back->contract.train.seed, 0xFFFFFFFFFFFFFFFFu);
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

void expect_refused(const std::string& text, Code code, const std::string& message) {
  Result<Plan> plan = from_json(text);
  ASSERT_FALSE(plan) << message;
  EXPECT_EQ(plan.error().code, str(code)) << plan.error().message;
  EXPECT_NE(plan.error().message.find(message), std::string::npos) << plan.error().message;
  EXPECT_FALSE(plan.error().help.empty());
}

TEST(PlanJson, RefusesWhatIsWrong) {
  std::string good = to_json(tiny_plan({2, 2, 3}));
  expect_refused("", Code::plan_not_json, "not JSON");
  expect_refused(good.substr(0, good.size() / 2), Code::plan_not_json, "not JSON");
  EXPECT_EQ(from_json(good.substr(0, good.size() / 2)).error().message.find("last read"), std::string::npos);
  expect_refused(std::string(100000, '['), Code::plan_not_json, "nested more than 64 deep");
  expect_refused("{\"version\":1e999}", Code::plan_not_json, "not JSON");
  expect_refused("[1]", Code::plan_version, "no version");
  expect_refused("{\"version\":\"1\"}", Code::plan_version, "no version");
  expect_refused(replaced(good, "\"version\":1", "\"version\":2"), Code::plan_version, "version 2");
  expect_refused("{\"version\":1}", Code::plan_field, "hash is missing");
  expect_refused(replaced(good, "\"page\":", "\"pages\":"), Code::plan_field, "target.page is missing");
  expect_refused(replaced(good, "\"page\":4096", "\"page\":4096,\"colour\":1"), Code::plan_field, "unknown field `colour`");
  expect_refused(replaced(good, "\"page\":4096", "\"page\":\"4096\""), Code::plan_field, "target.page is not a whole number");
  expect_refused(replaced(good, "\"page\":4096", "\"page\":4095"), Code::plan_value, "power of two");
  expect_refused(replaced(good, "\"page\":4096", "\"page\":18446744073709551615"), Code::plan_value, "out of range");
  expect_refused(replaced(good, "\"kind\":\"lookup\"", "\"kind\":\"look\""), Code::plan_value, "unknown name `look`");
  expect_refused(replaced(good, "\"operands\":[2,0]", "\"operands\":[2,9]"), Code::plan_value, "operand o9, which is not before it");
  expect_refused(replaced(good, "\"operands\":[2,0]", "\"operands\":[2,4]"), Code::plan_value, "operand o4, which is not before it");
  expect_refused(replaced(good, "\"operands\":[2,0]", "\"operands\":[2]"), Code::plan_value, "has 1 operands");
  expect_refused(replaced(good, "\"waits\":[0]", "\"waits\":[1000]"), Code::plan_value, "wait for instruction 1000");
  expect_refused(replaced(good, "\"buffer\":0,", "\"buffer\":9999,"), Code::plan_value, "names buffer 9999");
  expect_refused(replaced(good, "\"iterations\":1", "\"iterations\":-1"), Code::plan_value, "-1 iterations");
  expect_refused(replaced(good, "\"zero_stage\":3", "\"zero_stage\":4"), Code::plan_value, "ZeRO stage 4");
  expect_refused(replaced(good, "\"peak\":0.001", "\"peak\":0.002"), Code::plan_hash, "changed after it was made");
  expect_refused(replaced(good, "\"hash\":\"", "\"hash\":\"0"), Code::plan_hash, "changed after it was made");
}

TEST(PlanJson, FilesAreWrittenWholeAndReadBack) {
  std::string folder = ::testing::TempDir() + "/plan_json_test";
  std::filesystem::create_directories(folder);
  Plan plan = tiny_plan({});
  std::string path = folder + "/plan.json";
  ASSERT_TRUE(save_plan(plan, path));
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
  Result<Plan> back = load_plan(path);
  ASSERT_TRUE(back);
  EXPECT_EQ(to_json(*back), to_json(plan));
  EXPECT_EQ(load_plan(folder + "/absent.json").error().code, str(Code::plan_unreadable));
  EXPECT_EQ(load_plan(folder).error().code, str(Code::plan_unreadable));
  EXPECT_EQ(save_plan(plan, folder + "/no/such/plan.json").error().code, str(Code::plan_unwritable));
  std::ofstream(path, std::ios::trunc) << "{";
  EXPECT_NE(load_plan(path).error().message.find(path), std::string::npos);
}

TEST(PlanPrint, OneInstructionALine) {
  Plan plan = tiny_plan({2, 1, 1});
  std::string text = print(plan);
  EXPECT_NE(text.find("program step, section only: micro-batches from 0, 1 iteration\n"), std::string::npos) << text;
  EXPECT_NE(text.find("communication all_gather publish over data: b0+r*120:120 -> b0:240 (30 f32) waits"), std::string::npos) << text;
  EXPECT_NE(text.find("performs forward(o3)"), std::string::npos) << text;
  EXPECT_EQ(text, print(tiny_plan({2, 1, 1})));
}

}  // namespace
}  // namespace dsc::testing
