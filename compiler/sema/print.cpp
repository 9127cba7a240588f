#include "compiler/sema/print.h"

#include "compiler/sema/text.h"

namespace dsc {
namespace {

using sema::name_of_axis;
using sema::real_text;
using sema::type_text;

std::string number(std::int64_t n) { return std::to_string(n); }

std::string axis_list(const Model& model, const std::vector<AxisId>& axes) {
  std::string text;
  for (AxisId axis : axes) text += (text.empty() ? "" : " ") + name_of_axis(model, axis);
  return text;
}

const char* word(InitKind kind) {
  switch (kind) {
    case InitKind::zeros: return "zeros";
    case InitKind::ones: return "ones";
    case InitKind::normal: return "normal";
    case InitKind::uniform: return "uniform";
  }
  return "";
}

const char* word(ValueType type) {
  switch (type) {
    case ValueType::real: return "";
    case ValueType::integer: return "int";
    case ValueType::boolean: return "bool";
    case ValueType::loss: return "loss";
  }
  return "";
}

std::string attributes(const Model& model, const Op& op) {
  std::string text;
  if (op.parameter) text += " " + op.parameter->str();
  if (op.kind == OpKind::constant) text += " " + real_text(op.number);
  if (!op.over.empty()) text += " over (" + axis_list(model, op.over) + ")";
  if (!op.keep.empty()) text += " keep (" + axis_list(model, op.keep) + ")";
  if (op.kind == OpKind::merge || op.kind == OpKind::unmerge) text += " factors (" + axis_list(model, op.factors) + ")";
  if (op.along) text += " along " + name_of_axis(model, *op.along);
  if (op.contract) text += " contract " + name_of_axis(model, *op.contract);
  if (op.from) text += " from " + name_of_axis(model, *op.from);
  if (op.second) text += " and " + name_of_axis(model, *op.second);
  if (op.to) text += " to " + name_of_axis(model, *op.to);
  if (op.kind == OpKind::slice) text += " at " + number(op.offset);
  if (op.kind == OpKind::attend) {
    text += op.mask == Mask::causal ? " causal" : op.mask == Mask::full ? " full" : " window " + number(op.window);
    text += " scale " + real_text(op.scale);
  }
  if (op.kind == OpKind::rotate) text += " theta " + real_text(op.theta);
  return text;
}

std::string line(const Model& model, std::size_t index) {
  const Op& op = model.ops[index];
  std::string text = "  " + OpId(index).str() + " = " + name_of(op.kind);
  for (OpId operand : op.operands) text += " " + operand.str();
  text += attributes(model, op) + ": " + word(op.type) + (op.type == ValueType::loss ? "" : type_text(model, op.axes));
  if (op.rounded) text += " rounded";
  text += "  // " + op.name;
  if (op.scope != 0) text += " scope " + number(op.scope);
  if (op.segment != 0) text += " segment " + number(op.segment);
  return text + "\n";
}

std::string print(const DataSource& source) {
  return source.path + (source.format == TokenFormat::bytes ? " as bytes" : source.format == TokenFormat::u16 ? " as u16" : " as u32");
}

std::string print(const DataSpec& data) {
  std::string text = "data\n  train " + print(data.train) + "\n";
  if (data.validation_source) text += "  validation " + print(*data.validation_source) + "\n";
  if (data.validation_split) text += "  validation split " + number(data.validation_split->numerator) + "/" + number(data.validation_split->denominator) + "\n";
  return text + "  sequence " + number(data.sequence) + (data.shuffled ? " shuffled\n" : " sequential\n");
}

std::string print(const TrainSpec& train) {
  const Optimizer& o = train.optimizer;
  std::string text = "train\n  steps " + number(train.steps) + " batch " + number(train.batch) + " seed " + std::to_string(train.seed) + "\n";
  text += o.kind == OptimizerKind::adamw ? "  adamw betas " + real_text(o.beta1) + " " + real_text(o.beta2) + " eps " + real_text(o.eps) : "  sgd momentum " + real_text(o.momentum);
  text += " weight_decay " + real_text(o.weight_decay) + "\n  lr ";
  text += o.rate.kind == ScheduleKind::constant ? "constant" : o.rate.kind == ScheduleKind::linear ? "linear" : "cosine";
  text += " peak " + real_text(o.rate.peak) + " warmup " + number(o.rate.warmup) + " floor " + real_text(o.rate.floor) + "\n";
  text += "  precision " + std::string(name_of(train.activation)) + " reduce " + (train.reduce == Reduce::once ? "once" : "each");
  if (train.activation == DType::f16) text += " loss_scale " + std::string(train.loss_scale.dynamic ? "dynamic " : "") + real_text(train.loss_scale.init);
  if (train.loss_scale.dynamic) text += " window " + number(train.loss_scale.window) + " hysteresis " + number(train.loss_scale.hysteresis) + " min " + real_text(train.loss_scale.min);
  if (train.clip_norm) text += " clip " + real_text(*train.clip_norm);
  if (train.skip_nonfinite) text += " on_nonfinite skip";
  text += "\n";
  if (train.checkpoint_every > 0) {
    text += "  checkpoint every " + number(train.checkpoint_every) + (train.checkpoint_to.empty() ? "" : " to " + train.checkpoint_to);
    text += train.checkpoint_keep > 0 ? " keep " + number(train.checkpoint_keep) + "\n" : "\n";
  }
  if (train.evaluate_every > 0) text += "  evaluate every " + number(train.evaluate_every) + " batches " + number(train.evaluate_batches) + "\n";
  if (!train.init_pretrained.empty()) text += "  init " + train.init_pretrained + "\n";
  return text;
}

std::string print(const LayoutSpec& layout) {
  std::string text = "layout " + layout.name + "\n  mesh";
  for (const MeshAxis& axis : layout.mesh) text += " " + axis.name + ":" + number(axis.size);
  text += "\n  batch over";
  for (int axis : layout.batch_axes) text += " " + layout.mesh[axis].name;
  text += "\n  zero " + (layout.stage_auto ? std::string("auto") : number(layout.zero_stage)) + " micro_batch " + number(layout.micro_batch);
  text += std::string(layout.wire_bf16 ? " wire bf16" : "") + (layout.overlap ? "" : " overlap off") + "\n";
  text += "  bucket " + number(layout.bucket.value) + " prefetch " + number(layout.prefetch.value) + " persist_below " + number(layout.persist_below.value);
  return text + " max_live " + number(layout.max_live.value) + " reuse_distance " + number(layout.reuse_distance.value) + "\n";
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + number(shape[i]);
  return text + "]";
}

std::string print(const Model& model, const ExportMap& map) {
  if (!map.present) return "";
  std::string text = "export " + map.architecture + "\n";
  for (const ExportConfigEntry& entry : map.config) {
    std::string keys;
    for (const std::string& key : entry.keys) keys += (keys.empty() ? "" : " or ") + key;
    text += "  " + keys + ": " + entry.json + (entry.compared ? "\n" : " written\n");
  }
  for (const ExportTensor& tensor : map.tensors) {
    std::string names, pieces;
    for (const std::string& name : tensor.names) names += (names.empty() ? "" : " or ") + name;
    for (const ExportPiece& piece : tensor.pieces) {
      pieces += (pieces.empty() ? "" : " + ") + model.parameter(piece.parameter).path;
      if (piece.indexed_axis >= 0) pieces += "[" + number(piece.indexed_axis) + ": " + number(piece.index) + "]";
      pieces += " (";
      for (std::size_t i = 0; i < piece.permutation.size(); ++i) pieces += (i == 0 ? "" : " ") + number(piece.permutation[i]);
      pieces += ") " + shape_text(piece.shape);
    }
    text += "  " + names + " = " + pieces + (tensor.pieces.size() > 1 ? " along " + number(tensor.dim) : "") + "\n";
  }
  for (const std::string& name : map.ignored) text += "  ignore " + name + "\n";
  return text;
}

}  // namespace

std::string print(const Model& model) {
  std::string text = "model " + model.name + "\naxes\n";
  for (std::size_t i = 0; i < model.axes.size(); ++i) {
    const Axis& axis = model.axes[i];
    text += "  " + AxisId(i).str() + " " + axis.path + " = " + number(axis.size) + (axis.vocabulary ? " vocabulary" : "");
    for (const std::vector<AxisId>& factors : axis.products) text += " product (" + axis_list(model, factors) + ")";
    text += "\n";
  }
  text += "parameters\n";
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    const Parameter& p = model.parameters[i];
    text += "  " + ParameterId(i).str() + " " + p.path + " " + type_text(model, p.axes) + " " + word(p.init);
    if (p.init == InitKind::normal || p.init == InitKind::uniform) text += "(" + real_text(p.init_value) + ")";
    text += std::string(p.decay ? "" : " decay none") + (p.product_operand ? " product" : "") + "\n";
  }
  if (model.scopes.size() > 1) text += "scopes\n";
  for (std::size_t i = 1; i < model.scopes.size(); ++i)
    text += "  " + number(static_cast<std::int64_t>(i)) + " in " + number(model.scopes[i].parent) + " iteration " + number(model.scopes[i].iteration) + "\n";
  text += "ops\n";
  for (std::size_t i = 0; i < model.ops.size(); ++i) text += line(model, i);
  if (!model.ops.empty()) text += "loss " + model.loss.str() + "\n";
  text += model.logits ? "logits " + model.logits->str() + "\n" : model.no_logits_reason.empty() ? "" : "no logits: " + model.no_logits_reason + "\n";
  if (model.vocabulary > 0) text += "tokens below " + number(model.vocabulary) + "\n";
  return text;
}

std::string print(const CheckedProgram& program) {
  if (program.model.ops.empty()) return "a library: no model\n";
  std::string text = print(program.model) + print(program.model, program.exports) + print(program.data) + print(program.train) + print(program.layout);
  if (!program.autos.empty()) text += "autos\n";
  for (const AutoChoice& choice : program.autos) text += "  " + choice.key + " = " + choice.value + ": " + choice.reason + "\n";
  return text;
}

}  // namespace dsc
