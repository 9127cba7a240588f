// Attention, lookups, losses and rotations: the op that a step belongs to says which axes play which part.
#include <algorithm>

#include "compiler/partition/flatten_steps.h"
#include "compiler/support/check.h"
#include "compiler/support/kernel_workspace.h"

namespace dsc::local {
namespace {

bool has(const std::vector<AxisId>& axes, AxisId axis) { return std::find(axes.begin(), axes.end(), axis) != axes.end(); }

std::vector<AxisId> joined(std::vector<AxisId> first, const std::vector<AxisId>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

std::vector<AxisId> without(std::vector<AxisId> axes, const std::vector<AxisId>& gone) {
  std::erase_if(axes, [&](AxisId axis) { return has(gone, axis); });
  return axes;
}

// An axis of q as the factors by which k and v know it: itself, or a declared product whose major factor is theirs.
std::vector<AxisId> factors_of(const Model& model, AxisId axis, const View& k, const View& v) {
  if (k.find(axis) || v.find(axis)) return {axis};
  for (const std::vector<AxisId>& product : model.axis(axis).products) {
    if (!product.empty() && (k.find(product.front()) || v.find(product.front()))) return product;
  }
  return {axis};
}

AttendSpec attend_spec(const Flattener& in, const Op& op, const View& q, const View& k, const View& v, const View& out) {
  AttendSpec spec;
  const std::vector<AxisId>& q_axes = in.model.op(op.operands[0]).axes;
  std::vector<AxisId> shared_names = {*op.along};
  for (AxisId axis : q_axes) {
    if (axis == *op.along || axis == *op.contract) continue;
    shared_names.push_back(axis);
    const std::vector<AxisId> factors = factors_of(in.model, axis, k, v);
    std::int64_t minor = in.sizes(axis);
    for (AxisId factor : factors) {
      shared_names.push_back(factor);
      const std::int64_t size = in.sizes(factor);
      minor /= size;
      AttendDim dim{size, q.stride(axis) * minor, k.stride(factor), v.stride(factor), out.stride(axis) * minor, false};
      dim.shared = !k.find(factor) && !v.find(factor);
      spec.batch.push_back(dim);
    }
  }
  AxisId own = *op.contract;
  for (const ViewDim& dim : v.dims) {
    if (!has(shared_names, dim.axis)) own = dim.axis;
  }
  spec.length = in.sizes(*op.along);
  spec.qk_size = in.sizes(*op.contract);
  spec.v_size = in.sizes(own);
  spec.q_along = q.stride(*op.along), spec.k_along = k.stride(*op.along), spec.v_along = v.stride(*op.along);
  spec.out_along = out.stride(*op.along);
  spec.q_channel = q.stride(*op.contract), spec.k_channel = k.stride(*op.contract);
  spec.v_channel = v.stride(own), spec.out_channel = out.stride(own);
  spec.q_offset = q.offset, spec.k_offset = k.offset, spec.v_offset = v.offset;
  spec.mask = op.mask, spec.window = op.window, spec.scale = op.scale;
  return spec;
}

}  // namespace

void flatten_attend(Flattener& in, const Step& step, FlatStep& out, bool backward) {
  const Op& op = in.model.op(*step.op);
  Operand operands[3] = {step.inputs[0], step.inputs[1], step.inputs[2]};
  if (backward) {
    // dq, dk, dv are written with the strides of q, k, v: those must be stored as the gradients are.
    for (int i = 0; i < 3; ++i) operands[i] = in.contiguous_operand(operands[i], in.tensor(step.outputs[i]).axes);
  }
  const View q = in.view(operands[0]), k = in.view(operands[1]), v = in.view(operands[2]);
  DSC_CHECK(q.full() && k.full() && v.full(), "attention reads outside its operand: " + step.name);
  for (const Operand& operand : operands) out.inputs.push_back({operand.tensor, 0});
  if (!backward) {
    AttendForwardSpec spec{attend_spec(in, op, q, k, v, view_of(in.tensor(step.outputs[0]), in.sizes))};
    spec.attend.type = in.tensor(operands[0].tensor).type;
    spec.attend.out_type = in.tensor(step.outputs[0]).type;
    out.outputs = step.outputs;
    out.spec = spec;
    return;
  }
  const std::vector<AxisId>& out_axes = in.tensor(step.inputs[3].tensor).axes;
  for (int i : {3, 4}) out.inputs.push_back({step.inputs[i].tensor, in.view(step.inputs[i]).offset});
  AttendBackwardSpec spec{attend_spec(in, op, q, k, v, in.view(step.inputs[3])), DType::f32};
  spec.attend.type = in.tensor(operands[0].tensor).type;
  spec.attend.out_type = in.tensor(step.inputs[3].tensor).type;
  spec.gradient_type = in.tensor(step.outputs[0]).type;
  in.use_contiguous(out, step.inputs[5], out_axes);
  out.outputs = step.outputs;
  out.spec = spec;
}

void flatten_lookup(Flattener& in, const Step& step, FlatStep& out) {
  const Op& op = in.model.op(*step.op);
  const AxisId entries = op.over.front();
  const std::vector<AxisId>& ids = in.model.op(op.operands[1]).axes;
  const std::vector<AxisId> width = without(op.axes, ids);
  Operand table = step.inputs[0];
  if (!collapsed_stride(in.view(table), width, in.sizes) || !in.view(table).full()) table = in.arranged(table, joined({entries}, width));
  const View view = in.view(table);
  LookupSpec spec;
  spec.rows = in.sizes.count(ids);
  spec.entries = in.sizes(entries);
  spec.width = in.sizes.count(width);
  spec.entry_stride = view.stride(entries);
  spec.element_stride = width.empty() ? 1 : *collapsed_stride(view, width, in.sizes);
  spec.table_offset = view.offset;
  spec.table_type = in.tensor(table.tensor).type;
  spec.out_type = in.tensor(step.outputs[0]).type;
  out.inputs.push_back({table.tensor, 0});
  in.use_contiguous(out, step.inputs[1], ids);
  in.write_contiguous(out, step.outputs[0], joined(ids, width));
  out.spec = spec;
}

void flatten_lookup_backward(Flattener& in, const Step& step, FlatStep& out) {
  const Op& op = in.model.op(*step.op);
  const AxisId entries = op.over.front();
  const std::vector<AxisId>& ids = in.model.op(op.operands[1]).axes;
  const std::vector<AxisId> width = without(op.axes, ids);
  in.use_contiguous(out, step.inputs[0], joined(ids, width));
  in.use_contiguous(out, step.inputs[1], ids);
  View view = in.output_view(step.outputs[0], in.model.op(op.operands[0]).axes);
  if (collapsed_stride(view, width, in.sizes)) {
    out.outputs.push_back(step.outputs[0]);
  } else {
    in.write_contiguous(out, step.outputs[0], joined({entries}, width));
    view = view_of(in.tensor(out.outputs[0]), in.sizes);
  }
  LookupBackwardSpec spec;
  spec.rows = in.sizes.count(ids);
  spec.entries = in.sizes(entries);
  spec.width = in.sizes.count(width);
  spec.entry_stride = view.stride(entries);
  spec.element_stride = width.empty() ? 1 : *collapsed_stride(view, width, in.sizes);
  spec.dout_type = in.tensor(out.inputs[0].tensor).type;
  out.spec = spec;
}

void flatten_cross_entropy(Flattener& in, const Step& step, FlatStep& out) {
  const Op& op = in.model.op(*step.op);
  const std::vector<AxisId>& rows = in.model.op(op.operands[1]).axes;
  const std::vector<AxisId> x_axes = joined(rows, op.over);
  CrossEntropySpec spec;
  spec.rows = in.sizes.count(rows);
  spec.entries = in.sizes.count(op.over);
  spec.x_type = in.tensor(step.inputs[0].tensor).type;
  spec.scale = 1.0 / static_cast<double>(spec.rows);
  spec.seed_factor = step.seed_factor;
  spec.backward = step.backward;
  in.use_contiguous(out, step.inputs[0], x_axes);
  in.use_contiguous(out, step.inputs[1], rows);
  out.outputs.push_back(step.outputs[0]);
  if (step.backward) {
    out.inputs.push_back({step.inputs[2].tensor, 0});
    spec.dx_type = in.tensor(step.outputs[1]).type;
    in.write_contiguous(out, step.outputs[1], x_axes);
  }
  out.spec = spec;
}

void flatten_classifier(Flattener& in, const Step& step, FlatStep& out) {
  const Op& op = in.model.op(*step.op);
  const AxisId entries = op.over.front();
  const std::vector<AxisId>& rows = in.model.op(op.operands[1]).axes;
  Operand weights = step.inputs[1];
  const std::vector<AxisId>& width = in.model.op(*step.dot).over;
  if (!collapsed_stride(in.view(weights), width, in.sizes)) weights = in.arranged(weights, joined({entries}, width));
  const View w = in.view(weights);
  ClassifierSpec spec;
  spec.rows = in.sizes.count(rows);
  spec.entries = in.sizes(entries);
  spec.width = in.sizes.count(width);
  spec.rows_per_chunk = classifier_rows_per_chunk(spec.rows, spec.entries, in.target);
  spec.entry_stride = w.stride(entries);
  spec.element_stride = *collapsed_stride(w, width, in.sizes);
  spec.h_type = in.tensor(step.inputs[0].tensor).type;
  spec.w_type = in.tensor(weights.tensor).type;
  spec.scale = 1.0 / static_cast<double>(spec.rows);
  spec.seed_factor = step.seed_factor;
  spec.backward = step.backward;
  in.use_contiguous(out, step.inputs[0], joined(rows, width));
  out.inputs.push_back({weights.tensor, w.offset});
  in.use_contiguous(out, step.inputs[2], rows);
  out.outputs.push_back(step.outputs[0]);
  if (step.backward) {
    out.inputs.push_back({step.inputs[3].tensor, 0});
    spec.dh_type = in.tensor(step.outputs[1]).type;
    in.write_contiguous(out, step.outputs[1], joined(rows, width));
    // dW has the strides of W: where it is stored in another order it is written apart and copied.
    std::vector<AxisId> w_axes;
    for (const ViewDim& dim : w.dims) w_axes.push_back(dim.axis);
    DSC_CHECK(contiguous(w, w_axes, in.sizes), "a classifier's weights are not one run of memory: " + step.name);
    in.write_contiguous(out, step.outputs[2], w_axes);
  }
  out.spec = spec;
}

void flatten_rotate(Flattener& in, const Step& step, FlatStep& out) {
  const Op& op = in.model.op(*step.op);
  const View x = in.view(step.inputs[0]);
  DSC_CHECK(x.full(), "a rotation reads outside its operand: " + step.name);
  RotateSpec spec;
  const std::vector<AxisId>& axes = in.tensor(step.outputs[0]).axes;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    spec.sizes.push_back(in.sizes(axes[i]));
    spec.x_strides.push_back(x.stride(axes[i]));
    if (axes[i] == *op.along) spec.along = static_cast<int>(i);
    if (axes[i] == *op.contract) spec.pairs = static_cast<int>(i);
  }
  spec.x_offset = x.offset;
  spec.theta = op.theta;
  spec.inverse = step.inverse;
  spec.x_type = in.tensor(step.inputs[0].tensor).type;
  spec.out_type = in.tensor(step.outputs[0]).type;
  out.inputs.push_back({step.inputs[0].tensor, 0});
  out.outputs = step.outputs;
  out.spec = std::move(spec);
}

}  // namespace dsc::local
