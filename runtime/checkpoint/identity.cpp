#include <bit>
#include <nlohmann/json.hpp>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/data/fingerprint.h"

namespace dsc {
namespace {

std::string number(double value) { return nlohmann::json(value).dump(); }
std::string bits(double value) { return std::to_string(std::bit_cast<std::uint64_t>(value)); }

const char* format_name(TokenFormat format) {
  return format == TokenFormat::bytes ? "bytes" : format == TokenFormat::u16 ? "u16" : "u32";
}

const char* precision_name(DType activation) {
  return activation == DType::bf16 ? "bf16" : activation == DType::f16 ? "fp16" : "fp32";
}

std::string precision_text(const TrainSpec& train) {
  std::string name = precision_name(train.activation);
  if (train.activation != DType::f16) return name;
  const LossScale& s = train.loss_scale;
  if (!s.dynamic) return name + "(loss_scale: " + number(s.init) + ")";
  return name + "(loss_scale: dynamic(init: " + number(s.init) + ", window: " + std::to_string(s.window) +
         ", hysteresis: " + std::to_string(s.hysteresis) + ", min: " + number(s.min) + "))";
}

std::string rate_text(const LearningRate& rate) {
  if (rate.kind == ScheduleKind::constant)
    return "constant(peak: " + number(rate.peak) + ", warmup: " + std::to_string(rate.warmup) + ")";
  return std::string(rate.kind == ScheduleKind::linear ? "linear" : "cosine") + "(peak: " + number(rate.peak) +
         ", warmup: " + std::to_string(rate.warmup) + ", floor: " + number(rate.floor) + ")";
}

std::string optimizer_text(const Optimizer& o) {
  if (o.kind == OptimizerKind::sgd)
    return "momentum " + number(o.momentum) + ", weight_decay " + number(o.weight_decay);
  return "betas (" + number(o.beta1) + ", " + number(o.beta2) + "), eps " + number(o.eps) + ", weight_decay " +
         number(o.weight_decay);
}

std::string layout_text(const LayoutSpec& layout) {
  std::string mesh;
  for (const MeshAxis& axis : layout.mesh) mesh += (mesh.empty() ? "" : ", ") + axis.name + ": " + std::to_string(axis.size);
  return layout.name + " (" + mesh + "; zero " + std::to_string(layout.zero_stage) + ", micro_batch " +
         std::to_string(layout.micro_batch) + ")";
}

std::string order_text(const DataSpec& data) {
  std::string text = std::string(format_name(data.train.format)) + (data.shuffled ? ", shuffled" : ", sequential");
  if (data.validation_split)
    text += ", validation split(" + std::to_string(data.validation_split->numerator) + "/" +
            std::to_string(data.validation_split->denominator) + ")";
  if (data.validation_source) text += std::string(", validation of its own, ") + format_name(data.validation_source->format);
  return text;
}

void add_ids(std::string& text, const char* name, const std::vector<AxisId>& ids) {
  text += name;
  for (AxisId id : ids) text += " " + id.str();
}

}  // namespace

// Roundings are left out, and each operation is numbered without them, so that precision does not change the hash.
std::string model_hash(const Contract& contract) {
  const Model& model = contract.model;
  std::string text;
  for (std::size_t a = 0; a < model.axes.size(); ++a) {
    bool sized = AxisId(a) != model.batch;
    text += "axis " + model.axes[a].path + " " + (sized ? std::to_string(model.axes[a].size) : "") + "\n";
  }
  for (const Parameter& parameter : model.parameters) {
    text += "param " + parameter.path;
    add_ids(text, " :", parameter.axes);
    text += "\n";
  }
  std::vector<std::size_t> numbers(model.ops.size());
  std::size_t next = 0;
  for (std::size_t o = 0; o < model.ops.size(); ++o) {
    const Op& op = model.ops[o];
    if (op.kind == OpKind::round) {
      numbers[o] = numbers[op.operands.at(0).index()];
      continue;
    }
    numbers[o] = next++;
    text += std::string("op ") + name_of(op.kind);
    for (OpId operand : op.operands) text += " " + std::to_string(numbers[operand.index()]);
    add_ids(text, " axes", op.axes);
    add_ids(text, " over", op.over);
    add_ids(text, " keep", op.keep);
    add_ids(text, " factors", op.factors);
    for (const std::optional<AxisId>& axis : {op.along, op.contract, op.from, op.second, op.to})
      text += axis ? " " + axis->str() : " -";
    text += op.parameter ? " " + op.parameter->str() : " -";
    for (double value : {op.number, op.scale, op.theta}) text += " " + bits(value);
    for (std::int64_t value : {op.offset, static_cast<std::int64_t>(op.mask), op.window}) text += " " + std::to_string(value);
    text += "\n";
  }
  text += "loss " + std::to_string(numbers[model.loss.index()]) + "\n";
  return sha256_of(text);
}

Result<CheckpointIdentity> checkpoint_identity(const Contract& contract, Batches& batches) {
  Result<std::vector<DataFingerprint>> train = batches.train_fingerprints();
  if (!train) return train.error();
  Result<std::vector<DataFingerprint>> validation = batches.validation_fingerprints();
  if (!validation) return validation.error();
  return CheckpointIdentity{contract, *train, *validation};
}

Manifest describe(const CheckpointIdentity& identity) {
  const Contract& contract = identity.contract;
  const Model& model = contract.model;
  const TrainSpec& train = contract.train;
  Manifest m;
  m.model_hash = model_hash(contract);
  for (std::size_t a = 0; a < model.axes.size(); ++a)
    if (AxisId(a) != model.batch && AxisId(a) != model.seq) m.axes.emplace_back(model.axes[a].path, model.axes[a].size);
  for (std::size_t p = 0; p < model.parameters.size(); ++p)
    m.parameters.emplace_back(model.parameters[p].path, element_count(model, ParameterId(p)));
  m.seed = train.seed;
  m.optimizer = train.optimizer.kind == OptimizerKind::adamw ? "adamw" : "sgd";
  m.sequence = contract.data.sequence;
  m.data_order = order_text(contract.data);
  m.train_files = identity.train_files;
  m.validation_files = identity.validation_files;
  m.precision = precision_name(train.activation);
  m.dynamic_scale = train.loss_scale.dynamic;
  m.settings = {{"layout", layout_text(contract.layout)},
                {"precision", precision_text(train)},
                {"batch", std::to_string(train.batch)},
                {"steps", std::to_string(train.steps)},
                {"learning rate", rate_text(train.optimizer.rate)},
                {"optimizer", optimizer_text(train.optimizer)},
                {"clip_norm", train.clip_norm ? number(*train.clip_norm) : "none"},
                {"reduce", train.reduce == Reduce::once ? "once" : "each"},
                {"wire", contract.layout.wire_bf16 ? "bf16" : "f32"}};
  return m;
}

}  // namespace dsc
