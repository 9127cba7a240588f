// ZeRO rules and numbers of a layout: the widest sharding, micro-batches, and what each `auto` becomes (layouts.h).
#include <algorithm>
#include <map>

#include "compiler/sema/layout_checker.h"
#include "compiler/sema/text.h"

namespace dsc::sema {

using syntax::Entry;
using syntax::Expr;
using syntax::ExprKind;
using syntax::Rule;
using syntax::RuleKind;

namespace {

constexpr std::int64_t kTokensAPass = 8192;
constexpr std::int64_t kBucket = std::int64_t{8} << 20;
const std::vector<std::string> kZeroOptions = {"prefetch", "persist_below", "max_live", "bucket", "reuse_distance", "update_group"};

}  // namespace

// ---- zero

void LayoutChecker::zero(const Rule& rule) {
  std::optional<std::vector<int>> over = mesh_axes(rule);
  const Expr& value = rule.values[0];
  const bool valid = value.kind == ExprKind::integer && value.integer >= 0 && value.integer <= 3;
  if (!valid) fail(diagnostics_, Code::bad_rule, value.range, "there is no ZeRO stage " + ticked(input_.reader.text(value.range)), "", "the stages are 0, 1, 2 and 3");
  const int stage = valid ? static_cast<int>(value.integer) : 3;
  for (const Entry& entry : rule.options) zero_option(entry, stage);
  if (!valid || !over || !mesh_ok_) return;
  for (int axis : *over) {
    if (std::find(spec_.batch_axes.begin(), spec_.batch_axes.end(), axis) != spec_.batch_axes.end()) continue;
    const std::string& name = spec_.mesh[axis].name;
    fail(diagnostics_, Code::zero_needs_batch_split, rule.over[static_cast<std::size_t>(std::find(over->begin(), over->end(), axis) - over->begin())].range,
         "`zero` over " + ticked(name) + ", which does not split `batch`", "", "add `split batch over " + name + "`");
    return;
  }
  spec_.zero_source = rule.range;
  const std::int64_t width = size_of_axes(*over);
  bool automatic = false, written_one = true;
  for (int axis : *over) {
    automatic = automatic || automatic_[axis];
    written_one = written_one && !automatic_[axis] && spec_.mesh[axis].size == 1;
  }
  if (stage > 0 && written_one) {
    fail(diagnostics_, Code::zero_over_one, rule.range, "`zero` over " + mesh_text(*over) + ", which has size 1", "there is nothing to shard", "make the mesh axis larger, or `auto`, or drop this rule");
    return;
  }
  if (stage > 0 && width == 1 && automatic) {
    note_auto("zero", "0", mesh_text(*over) + " became 1, so there is nothing to shard");
    return;
  }
  zeros_.push_back({&rule, stage, *over, width});
}

void LayoutChecker::zero_option(const Entry& entry, int stage) {
  const std::string& name = entry.name.text;
  if (std::find(kZeroOptions.begin(), kZeroOptions.end(), name) == kZeroOptions.end()) {
    fail(diagnostics_, Code::bad_rule, entry.name.range, "`zero` has no option " + ticked(name), "", suggestion(name, kZeroOptions));
    return;
  }
  if (name == "update_group") {
    const bool offloaded = std::any_of(layout_.rules.begin(), layout_.rules.end(), [](const Rule& r) { return r.kind == RuleKind::offload && r.subject->text == "optimizer"; });
    if (!offloaded) fail(diagnostics_, Code::contradictory_option, entry.name.range, "`update_group` needs an offloaded optimizer", "", "add `offload optimizer to cpu(pinned)`, or remove it");
    return;
  }
  const bool gathers = name != "bucket";
  if (gathers && stage < 3 && entry.value.kind != ExprKind::automatic)
    fail(diagnostics_, Code::contradictory_option, entry.name.range, ticked(name) + " steers the gathering of parameters, and ZeRO-" + std::to_string(stage) + " gathers none", "", "remove it, or write `zero 3`");
}

void LayoutChecker::widest_zero() {
  std::vector<std::int64_t> width = {0, 1, 1, 1};  // by class: optimizer, gradients, parameters
  std::vector<bool> useful(zeros_.size());
  for (int c = 1; c <= 3; ++c) {
    int best = -1;
    for (std::size_t i = 0; i < zeros_.size(); ++i)
      if (zeros_[i].stage >= c && zeros_[i].width > width[c]) {
        width[c] = zeros_[i].width;
        best = static_cast<int>(i);
      }
    if (best >= 0) useful[best] = true;
  }
  for (std::size_t i = 0; chosen_ && i < zeros_.size() && zeros_.size() > 1; ++i)
    if (!useful[i]) fail(diagnostics_, Code::zero_widens_nothing, zeros_[i].rule->range, "this rule shards nothing wider than the layout's other `zero` rules do", "", "remove it");
  const std::int64_t data = spec_.data_ranks();
  spec_.zero_stage = 0;
  for (int c = 1; c <= 3; ++c) {
    if (width[c] == data && data > 1) spec_.zero_stage = c;
    if (width[c] == 1 || width[c] == data) continue;
    for (const Zero& zero : zeros_)
      if (zero.width == width[c]) not_lowered_.push_back({zero.rule->range, "hybrid sharding (`zero` over a part of the axes that split `batch`)"});
    break;
  }
}

// ---- numbers

void LayoutChecker::resolve_micro_batch() {
  const Rule* rule = nullptr;
  for (const Rule& candidate : layout_.rules)
    if (candidate.kind == RuleKind::micro_batch) rule = &candidate;
  const bool automatic = !rule || rule->values[0].kind == ExprKind::automatic;
  std::optional<std::int64_t> written;
  if (!automatic) {
    written = input_.reader.whole(rule->values[0], "micro_batch", 1, INT32_MAX);
    if (!written) return;
  }
  const std::int64_t batch = input_.sections.batch_for_check, data = spec_.data_ranks(), sequence = input_.sections.sequence_for_check;
  if (!chosen_ || batch % data != 0 || !mesh_ok_) return;  // the split of `batch` is reported
  const std::int64_t rows = batch / data;
  if (written) {
    spec_.micro_batch = *written;
    if (rows % *written == 0) return;
    std::vector<std::string> sizes;
    for (std::int64_t n = 1; n <= rows && n <= 65536 && sizes.size() < 12; ++n)
      if (rows % n == 0) sizes.push_back(std::to_string(n));
    fail(diagnostics_, Code::micro_batch_does_not_divide, rule->values[0].range, "`micro_batch` (" + std::to_string(*written) + ") does not divide a rank's " + counted(rows, "sequence"),
         std::to_string(rows) + " over " + std::to_string(*written) + " leaves " + std::to_string(rows % *written), "it may be " + listed(sizes), {{"`batch` is " + std::to_string(batch) + " here", input_.sections.batch_source}});
    return;
  }
  spec_.micro_batch = 1;
  for (std::int64_t n = 1; n <= rows && n * sequence <= kTokensAPass; ++n)
    if (rows % n == 0) spec_.micro_batch = n;
  note_auto("micro_batch", std::to_string(spec_.micro_batch), "largest divisor of batch/data (" + std::to_string(rows) + ") with rows x sequence within 8,192 tokens");
}

// An option of the widest `zero` rule in elements, or what `auto` is.
Elements LayoutChecker::elements(const char* name, std::int64_t least, std::int64_t automatic, const std::string& reason, bool noted) {
  const Expr* value = nullptr;
  int stage = -1;
  for (const Zero& zero : zeros_)
    for (const Entry& entry : zero.rule->options)
      if (entry.name.text == name && zero.stage > stage) value = &entry.value, stage = zero.stage;
  if (!value)
    for (const Rule& rule : layout_.rules)  // a rule over one rank has no effect, and its numbers are still checked
      for (const Entry& entry : rule.options)
        if (rule.kind == RuleKind::zero && entry.name.text == name) value = &entry.value;
  if (!value || value->kind == ExprKind::automatic) {
    if (noted) note_auto(name, std::to_string(automatic), reason);
    return Elements(automatic);
  }
  if (value->kind == ExprKind::quantity && value->quantity == syntax::QuantityKind::bytes) {
    const std::int64_t size = size_of(input_.sections.train.activation), count = value->integer / size;
    if (count < least) fail(diagnostics_, Code::value_out_of_range, value->range, ticked(name) + " is less than one element");
    return Elements(count);
  }
  return Elements(input_.reader.whole(*value, name, least).value_or(automatic));
}

std::int64_t LayoutChecker::largest_segment() const {
  if (!input_.program) return 0;
  std::map<int, std::int64_t> sizes;
  std::int64_t largest = 0;
  for (const Op& op : input_.program->model.ops)
    if (op.parameter) largest = std::max(largest, sizes[op.segment] += element_count(input_.program->model, *op.parameter));
  return largest;
}

void LayoutChecker::resolve_options() {
  std::int64_t parameters = 0;
  if (input_.program)
    for (std::size_t i = 0; i < input_.program->model.parameters.size(); ++i) parameters += element_count(input_.program->model, ParameterId(i));
  const std::int64_t data = spec_.data_ranks();
  const bool gathers = spec_.zero_stage == 3 || spec_.stage_auto;
  spec_.bucket = elements("bucket", 1, kBucket, "8 Mi elements", data > 1);
  spec_.prefetch = elements("prefetch", 0, 2 * largest_segment(), "twice the parameters of the largest segment", gathers);
  spec_.persist_below = elements("persist_below", 0, std::min<std::int64_t>(100000, parameters / (100 * data)), "a hundredth of a rank's share of the parameters, at most 100,000", gathers);
  spec_.max_live = elements("max_live", 1, parameters, "all parameters: no limit", gathers);
  spec_.reuse_distance = elements("reuse_distance", 0, 0, "a gathered parameter is released after its use", gathers);
}

// ---- a file without layouts

void LayoutChecker::run_default(std::int64_t ranks) {
  spec_.name = "default";
  spec_.mesh = {{"data", ranks, {}}};
  spec_.batch_axes = {0};
  spec_.stage_auto = ranks > 1;
  automatic_ = {true};
  used_ = {0};
  const std::int64_t batch = input_.sections.batch_for_check;
  if (batch % ranks != 0) {
    std::vector<std::string> sizes;
    for (std::int64_t n = 1; n <= batch && n <= 65536 && sizes.size() < 12; ++n)
      if (batch % n == 0) sizes.push_back(std::to_string(n));
    fail(diagnostics_, Code::axis_does_not_divide, input_.sections.batch_source, "axis `batch` (" + std::to_string(batch) + ") does not divide over `data` (" + std::to_string(ranks) + ")",
         std::to_string(batch) + " over " + std::to_string(ranks) + " leaves " + std::to_string(batch % ranks), "with this batch, --gpus may be " + listed(sizes));
  }
  note_auto("mesh.data", std::to_string(ranks), "the file has no layout: all of --gpus");
  resolve_micro_batch();
  resolve_options();
}

void default_layout(const LayoutInput& input, CheckedProgram& out) {
  const FlatLayout none{nullptr, {}};
  LayoutChecker checker(none, input, true, out);
  checker.run_default(input.gpus.value_or(1));
  out.layout = checker.spec();
}

}  // namespace dsc::sema
