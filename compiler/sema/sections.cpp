#include "compiler/sema/sections.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "compiler/sema/arguments.h"
#include "compiler/sema/settings.h"
#include "compiler/sema/text.h"
#include "compiler/syntax/print.h"

namespace dsc::sema {
namespace {

using syntax::Entry;
using syntax::Expr;
using syntax::ExprKind;

constexpr double kHuge = 1e300;
const ValueReader::Range kPositive{0, kHuge, true, false, "above 0"};
const ValueReader::Range kFromZero{0, kHuge, false, false, "from 0"};
const ValueReader::Range kBelowOne{0, 1, false, true, "from 0 to below 1"};

// "0.05", "5e-2": an exact decimal as numerator / denominator, where it fits.
std::optional<Share> exact_decimal(const std::string& text) {
  Share share;
  std::int64_t exponent = 0;
  bool fraction = false;
  std::size_t i = 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      fraction = true;
      continue;
    }
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    if (share.numerator > (INT64_MAX - 9) / 10) return std::nullopt;
    share.numerator = share.numerator * 10 + (text[i] - '0');
    if (fraction) --exponent;
  }
  if (i < text.size()) exponent += std::atoi(text.c_str() + i + 1);
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(share.numerator, 10, &share.numerator)) return std::nullopt;
  for (; exponent < 0; ++exponent)
    if (__builtin_mul_overflow(share.denominator, 10, &share.denominator)) return std::nullopt;
  return share;
}

class SectionReader {
 public:
  SectionReader(const syntax::File& file, const std::string& folder, const ValueReader& reader)
      : file_(file), folder_(folder), reader_(reader), diagnostics_(reader.diagnostics()) {}

  std::optional<Sections> run() {
    twice(file_.datas, "data");
    twice(file_.trains, "train");
    if (file_.datas.empty() != file_.trains.empty()) {
      const bool no_data = file_.datas.empty();
      fail(diagnostics_, Code::missing_section, head(no_data ? file_.trains[0].range : file_.datas[0].range, no_data ? 5 : 4),
           no_data ? "the file has `train` and no `data`" : "the file has `data` and no `train`", "", no_data ? "add `data { train = ...  sequence = ... }`" : "add `train { model = ...  steps = ...  batch = ...  optimizer = ... }`");
    }
    if (!file_.datas.empty()) data(file_.datas[0]);
    if (!file_.trains.empty()) train(file_.trains[0]);
    if (file_.datas.empty() || file_.trains.empty()) return std::nullopt;
    return std::move(out_);
  }

 private:
  static SourceRange head(SourceRange range, std::uint32_t length) { return {range.file, range.begin, std::min(range.end, range.begin + length)}; }

  template <class Section>
  void twice(const std::vector<Section>& sections, const std::string& name) {
    if (sections.size() > 1)
      fail(diagnostics_, Code::given_twice, head(sections[1].range, static_cast<std::uint32_t>(name.size())), "a second " + ticked(name) + " section", "", "put the entries in one",
           {{"the first is here", head(sections[0].range, static_cast<std::uint32_t>(name.size()))}});
  }

  const Expr* find(const std::vector<Entry>& entries, const std::string& name) {
    for (const Entry& entry : entries)
      if (entry.name.text == name) return &entry.value;
    return nullptr;
  }

  void check_entries(const std::vector<Entry>& entries, const std::vector<std::string>& known, const std::vector<std::string>& required, const std::string& section, SourceRange place) {
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const std::string& name = entries[i].name.text;
      if (std::find(known.begin(), known.end(), name) == known.end())
        fail(diagnostics_, Code::unknown_entry, entries[i].name.range, ticked(section) + " has no entry " + ticked(name), "", suggestion(name, known));
    }
    std::vector<std::string> missing;
    for (const std::string& name : required)
      if (!find(entries, name)) missing.push_back(name);
    if (!missing.empty())
      fail(diagnostics_, Code::missing_entry, head(place, static_cast<std::uint32_t>(section.size())), ticked(section) + " lacks " + listed(ticked_all(missing), "and"), "", "add `" + missing[0] + " = ...`");
  }

  std::optional<std::vector<const Expr*>> arguments(const Expr& call) {
    const std::vector<ArgumentSpec>* specs = call_signature(call.text);
    if (call.kind == ExprKind::call) return match_arguments(call, *specs, call.text, diagnostics_);
    if (std::all_of(specs->begin(), specs->end(), [](const ArgumentSpec& s) { return !s.required; })) return std::vector<const Expr*>(specs->size(), nullptr);
    std::string form;
    for (const ArgumentSpec& spec : *specs)
      if (spec.required) form += (form.empty() ? "" : ", ") + spec.name + ": ...";
    fail(diagnostics_, Code::missing_argument, call.range, ticked(call.text) + " needs arguments", "", "write `" + call.text + "(" + form + ")`");
    return std::nullopt;
  }

  // A path as it is opened: relative to the file, unless it comes from the command line.
  std::string located(const Expr& expr) const {
    const bool from_file = expr.range.file == file_.id;
    if (!from_file || folder_.empty() || expr.text.starts_with("/")) return expr.text;
    return (std::filesystem::path(folder_) / expr.text).string();
  }

  // ---- data

  std::optional<DataSource> source(const Expr& expr, const std::string& what, bool may_split) {
    std::vector<std::string> kinds = {"text", "tokens"};
    if (may_split) kinds.push_back("split");
    std::optional<std::string> kind = reader_.choice(expr, what, kinds);
    if (!kind || *kind == "split") return std::nullopt;
    auto given = arguments(expr);
    if (!given) return std::nullopt;
    std::optional<std::string> path = reader_.string(*(*given)[0], "path");
    DataSource result;
    result.source = expr.range;
    std::optional<std::string> format = reader_.choice(*(*given)[1], *kind == "text" ? "tokenizer" : "type", *kind == "text" ? std::vector<std::string>{"bytes"} : std::vector<std::string>{"u16", "u32"});
    if (!path || !format) return std::nullopt;
    result.path = located(*(*given)[0]);
    result.format = *format == "bytes" ? TokenFormat::bytes : *format == "u16" ? TokenFormat::u16 : TokenFormat::u32;
    return result;
  }

  void validation(const Expr& expr) {
    const bool split = (expr.kind == ExprKind::call || expr.kind == ExprKind::name) && expr.text == "split";
    if (!split) {
      out_.data.validation_source = source(expr, "validation", true);
      return;
    }
    auto given = arguments(expr);
    if (!given) return;
    const Expr& value = *(*given)[0];
    if (!reader_.number(value, "share", {0, 1, true, true, "between 0 and 1, as in `split(0.05)`"})) return;
    std::optional<Share> share = exact_decimal(reader_.text(value.range));
    if (!share) {
      fail(diagnostics_, Code::wrong_kind_of_value, value.range, "the share is a decimal, and this is " + ticked(syntax::print(value)), "", "write it out, as in `split(0.05)`");
      return;
    }
    out_.data.validation_split = share;
  }

  void data(const syntax::Data& section) {
    check_entries(section.entries, data_entries(), {"train", "sequence"}, "data", section.range);
    if (const Expr* expr = find(section.entries, "train"))
      if (std::optional<DataSource> found = source(*expr, "train", false)) out_.data.train = *found;
    if (const Expr* expr = find(section.entries, "validation")) {
      has_validation_ = true;
      validation(*expr);
    }
    if (const Expr* expr = find(section.entries, "sequence")) {
      out_.sequence_source = expr->range;
      if (std::optional<std::int64_t> n = reader_.whole(*expr, "sequence", 1, INT32_MAX)) out_.data.sequence = out_.sequence_for_check = *n;
    }
    if (const Expr* expr = find(section.entries, "order"))
      if (std::optional<std::string> order = reader_.choice(*expr, "order", {"shuffled", "sequential"})) out_.data.shuffled = *order == "shuffled";
  }

  // ---- train

  void learning_rate(const Expr& expr) {
    std::optional<std::string> kind = reader_.choice(expr, "lr", {"constant", "linear", "cosine"});
    auto given = kind ? arguments(expr) : std::nullopt;
    if (!given) return;
    LearningRate& rate = out_.train.optimizer.rate;
    rate.kind = *kind == "constant" ? ScheduleKind::constant : *kind == "linear" ? ScheduleKind::linear : ScheduleKind::cosine;
    rate.peak = reader_.number(*(*given)[0], "peak", kFromZero).value_or(0);
    if ((*given)[1]) rate.warmup = reader_.whole(*(*given)[1], "warmup", 0).value_or(0);
    if (given->size() > 2 && (*given)[2]) rate.floor = reader_.number(*(*given)[2], "floor", kFromZero).value_or(0);
  }

  void betas(const Expr& expr) {
    if (expr.kind != ExprKind::tuple || expr.children.size() != 2) {
      fail(diagnostics_, Code::wrong_kind_of_value, expr.range, "`betas` are two numbers, and this is " + ticked(syntax::print(expr)), "", "write `betas: (0.9, 0.95)`");
      return;
    }
    out_.train.optimizer.beta1 = reader_.number(expr.children[0], "betas", kBelowOne).value_or(0);
    out_.train.optimizer.beta2 = reader_.number(expr.children[1], "betas", kBelowOne).value_or(0);
  }

  void optimizer(const Expr& expr) {
    std::optional<std::string> kind = reader_.choice(expr, "optimizer", {"adamw", "sgd"});
    auto given = kind ? arguments(expr) : std::nullopt;
    if (!given) return;
    Optimizer& optimizer = out_.train.optimizer;
    learning_rate(*(*given)[0]);
    const bool adamw = *kind == "adamw";
    optimizer.kind = adamw ? OptimizerKind::adamw : OptimizerKind::sgd;
    if (adamw && (*given)[1]) betas(*(*given)[1]);
    if (adamw && (*given)[2]) optimizer.eps = reader_.number(*(*given)[2], "eps", kPositive).value_or(1);
    if (!adamw && (*given)[1]) optimizer.momentum = reader_.number(*(*given)[1], "momentum", kBelowOne).value_or(0);
    const std::size_t decay = adamw ? 3 : 2;
    if ((*given)[decay]) optimizer.weight_decay = reader_.number(*(*given)[decay], "weight_decay", kFromZero).value_or(0);
    if ((*given)[decay + 1]) out_.decay_products = reader_.choice(*(*given)[decay + 1], "decay", {"all", "products"}) == "products";
  }

  void loss_scale(const Expr& expr) {
    LossScale& scale = out_.train.loss_scale;
    const bool word = expr.kind == ExprKind::name || expr.kind == ExprKind::call;
    if (!word) {
      scale.init = reader_.number(expr, "loss_scale", kPositive).value_or(1);
      return;
    }
    if (!reader_.choice(expr, "loss_scale", {"dynamic"})) return;
    auto given = arguments(expr);
    if (!given) return;
    const ValueReader::Range from_one{1, 16777216, false, false, "from 1 to 16777216"};
    scale.dynamic = true;
    scale.init = 65536;
    if ((*given)[0]) scale.init = reader_.number(*(*given)[0], "init", from_one).value_or(1);
    if ((*given)[1]) scale.window = reader_.whole(*(*given)[1], "window", 1).value_or(1);
    if ((*given)[2]) scale.hysteresis = reader_.whole(*(*given)[2], "hysteresis", 1).value_or(1);
    if ((*given)[3]) scale.min = reader_.number(*(*given)[3], "min", kPositive).value_or(1);
    if (scale.min > scale.init)
      fail(diagnostics_, Code::value_out_of_range, expr.range, "the loss scale begins at " + real_text(scale.init) + ", below its `min` of " + real_text(scale.min), "", "make `min` at most `init`");
  }

  void precision(const Expr& expr) {
    std::optional<std::string> kind = reader_.choice(expr, "precision", {"fp32", "bf16", "fp16"});
    if (!kind) return;
    out_.train.activation = *kind == "fp32" ? DType::f32 : *kind == "bf16" ? DType::bf16 : DType::f16;
    if (*kind == "fp16") {
      if (auto given = arguments(expr)) loss_scale(*(*given)[0]);
    } else if (expr.kind == ExprKind::call) {
      fail(diagnostics_, Code::too_many_arguments, expr.range, ticked(*kind) + " takes no arguments", "", "write `precision = " + *kind + "`");
    }
  }

  void checkpoint(const syntax::Checkpoint& line) {
    out_.train.checkpoint_every = reader_.whole(line.every, "checkpoint every", 1).value_or(1);
    if (line.to)
      if (reader_.string(*line.to, "checkpoint to")) out_.train.checkpoint_to = located(*line.to);
    if (line.keep) out_.train.checkpoint_keep = reader_.whole(*line.keep, "checkpoint keep", 1).value_or(1);
  }

  void evaluate(const syntax::Evaluate& line) {
    out_.train.evaluate_every = reader_.whole(line.every, "evaluate every", 1).value_or(1);
    out_.train.evaluate_batches = reader_.whole(line.batches, "evaluate batches", 1).value_or(1);
    if (!file_.datas.empty() && !has_validation_)
      fail(diagnostics_, Code::evaluate_without_validation, head(line.range, 8), "`evaluate` has no validation data", "", "add `validation = split(0.05)`, or a source, to `data`");
  }

  void train(const syntax::Train& section) {
    const std::vector<Entry>& entries = section.entries;
    check_entries(entries, train_entries(), {"model", "steps", "batch", "optimizer"}, "train", section.range);
    TrainSpec& train = out_.train;
    if (const Expr* expr = find(entries, "model")) {
      if (expr->kind == ExprKind::call) out_.model = expr;
      else fail(diagnostics_, Code::wrong_kind_of_value, expr->range, "`model` is a module with its arguments, and this is " + ticked(syntax::print(*expr)), "", "write `model = gpt2(...)`");
    }
    if (const Expr* expr = find(entries, "steps")) train.steps = reader_.whole(*expr, "steps", 1).value_or(1);
    if (const Expr* expr = find(entries, "batch")) {
      out_.batch_source = expr->range;
      if (std::optional<std::int64_t> n = reader_.whole(*expr, "batch", 1, INT32_MAX)) train.batch = out_.batch_for_check = *n;
    }
    if (const Expr* expr = find(entries, "optimizer")) optimizer(*expr);
    if (const Expr* expr = find(entries, "precision")) precision(*expr);
    if (const Expr* expr = find(entries, "reduce")) train.reduce = reader_.choice(*expr, "reduce", {"once", "each"}) == "each" ? Reduce::each : Reduce::once;
    if (const Expr* expr = find(entries, "clip_norm")) train.clip_norm = reader_.number(*expr, "clip_norm", kPositive);
    if (const Expr* expr = find(entries, "seed")) train.seed = static_cast<std::uint64_t>(reader_.whole(*expr, "seed", 0).value_or(0));
    if (const Expr* expr = find(entries, "on_nonfinite")) train.skip_nonfinite = reader_.choice(*expr, "on_nonfinite", {"stop", "skip"}) == "skip";
    if (const Expr* expr = find(entries, "init"))
      if (reader_.choice(*expr, "init", {"pretrained"}))
        if (auto given = arguments(*expr))
          if (reader_.string(*(*given)[0], "path")) train.init_pretrained = located(*(*given)[0]);
    one_of(section.checkpoints, "checkpoint");
    one_of(section.evaluates, "evaluate");
    if (!section.checkpoints.empty()) checkpoint(section.checkpoints[0]);
    if (!section.evaluates.empty()) evaluate(section.evaluates[0]);
  }

  template <class Line>
  void one_of(const std::vector<Line>& lines, const std::string& name) {
    if (lines.size() > 1)
      fail(diagnostics_, Code::given_twice, head(lines[1].range, static_cast<std::uint32_t>(name.size())), "a second " + ticked(name) + " line", "", "keep one",
           {{"the first is here", head(lines[0].range, static_cast<std::uint32_t>(name.size()))}});
  }

  const syntax::File& file_;
  const std::string& folder_;
  const ValueReader& reader_;
  Diagnostics& diagnostics_;
  Sections out_;
  bool has_validation_ = false;
};

}  // namespace

std::optional<Sections> read_sections(const syntax::File& file, const std::string& folder, const ValueReader& reader) {
  return SectionReader(file, folder, reader).run();
}

}  // namespace dsc::sema
