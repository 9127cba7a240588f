// Maps and products: loops whose dims collapse.
#include <algorithm>
#include <utility>

#include "compiler/partition/flatten_steps.h"
#include "compiler/support/check.h"

namespace dsc::local {
namespace {

enum Kind { parallel, reduced, inner };

}  // namespace

void flatten_map(Flattener& in, const Step& step, FlatStep& out) {
  std::vector<AxisId> axes = step.outer;
  axes.insert(axes.end(), step.inner.begin(), step.inner.end());
  const std::vector<bool> pinned = Flattener::pinned_dims(step.program, axes.size());
  Loop loop;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int kind = i >= step.outer.size() ? inner : i < step.reduced.size() && step.reduced[i] ? reduced : parallel;
    loop.dims.push_back({in.sizes(axes[i]), kind, pinned[i], static_cast<int>(i)});
  }
  for (const Operand& operand : step.inputs) loop.operands.push_back(loop_operand(in.view(operand), axes, in.sizes));
  for (TensorId output : step.outputs) {
    std::vector<AxisId> kept;
    for (std::size_t i = 0; i < axes.size(); ++i) {
      if (loop.dims[i].kind != reduced) kept.push_back(axes[i]);
    }
    // A stored output varies along all axes, a reduced one along the others alone; both are known by their names.
    const std::vector<AxisId>& own = in.tensor(output).axes;
    const bool stored = std::all_of(own.begin(), own.end(), [&](AxisId a) { return std::find(axes.begin(), axes.end(), a) != axes.end(); });
    loop.operands.push_back(loop_operand(in.output_view(output, stored ? axes : kept), axes, in.sizes));
  }
  collapse(loop);
  if (loop.dims.empty() || loop.dims.back().kind != inner) {
    loop.dims.push_back({1, inner, false, -1});
    for (LoopOperand& operand : loop.operands) {
      operand.strides.push_back(0);
      operand.windows.push_back({0, 1});
    }
  }
  MapSpec spec;
  spec.program = step.program;
  in.localise(spec.program, loop.dims);
  for (const LoopDim& dim : loop.dims) {
    if (dim.kind == inner) {
      spec.inner.push_back(dim.size);
    } else {
      spec.outer.push_back(dim.size);
      spec.reduced.push_back(dim.kind == reduced);
    }
  }
  for (std::size_t i = 0; i < step.inputs.size(); ++i) {
    const TensorId tensor = step.inputs[i].tensor;
    spec.inputs.push_back(Flattener::map_input(loop.operands[i], loop.dims, in.tensor(tensor).type));
    out.inputs.push_back({tensor, 0});
  }
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const LoopOperand& operand = loop.operands[step.inputs.size() + i];
    spec.outputs.push_back({in.tensor(step.outputs[i]).type, operand.strides, operand.offset, false});
    out.outputs.push_back(step.outputs[i]);
  }
  out.spec = std::move(spec);
}

namespace {

// The contracted axes in an order in which both operands collapse, bringing operands into one where there is none.
std::vector<AxisId> contraction_order(Flattener& in, const Step& step, Operand& a, Operand& b) {
  const auto by_stride = [&](const Operand& operand) {
    std::vector<AxisId> order = step.k_axes;
    const View view = in.view(operand);
    std::stable_sort(order.begin(), order.end(), [&](AxisId x, AxisId y) { return view.stride(x) > view.stride(y); });
    return order;
  };
  const auto collapses = [&](const Operand& operand, const std::vector<AxisId>& order) {
    return collapsed_stride(in.view(operand), order, in.sizes).has_value();
  };
  const std::vector<std::vector<AxisId>> orders = {step.k_axes, by_stride(a), by_stride(b)};
  for (const std::vector<AxisId>& order : orders) {
    if (collapses(a, order) && collapses(b, order)) return order;
  }
  const auto arrange = [&](Operand& operand, const std::vector<AxisId>& own, const std::vector<AxisId>& order) {
    std::vector<AxisId> axes;
    for (AxisId axis : step.batch_axes) {
      if (in.view(operand).find(axis)) axes.push_back(axis);
    }
    axes.insert(axes.end(), own.begin(), own.end());
    axes.insert(axes.end(), order.begin(), order.end());
    operand = in.arranged(operand, axes);
  };
  for (const std::vector<AxisId>& order : orders) {
    if (collapses(a, order)) {
      arrange(b, step.n_axes, order);
      return order;
    }
    if (collapses(b, order)) {
      arrange(a, step.m_axes, order);
      return order;
    }
  }
  arrange(a, step.m_axes, step.k_axes);
  arrange(b, step.n_axes, step.k_axes);
  return step.k_axes;
}

enum Role { batch_dim, m_dim, n_dim };

// The loop over the result's dims; operands are A and B without their contracted axes, the epilogue's inputs, the outputs.
Loop product_loop(const Flattener& in, const Step& step, const View& a, const View& b, const std::vector<AxisId>& k_axes) {
  std::vector<AxisId> axes = step.batch_axes;
  axes.insert(axes.end(), step.m_axes.begin(), step.m_axes.end());
  axes.insert(axes.end(), step.n_axes.begin(), step.n_axes.end());
  std::vector<AxisId> program_axes = step.outer;
  program_axes.insert(program_axes.end(), step.inner.begin(), step.inner.end());
  const std::vector<bool> pinned = Flattener::pinned_dims(step.program, program_axes.size());

  Loop loop;
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const int kind = i < step.batch_axes.size() ? batch_dim : i < step.batch_axes.size() + step.m_axes.size() ? m_dim : n_dim;
    const auto at = static_cast<std::size_t>(std::find(program_axes.begin(), program_axes.end(), axes[i]) - program_axes.begin());
    loop.dims.push_back({in.sizes(axes[i]), kind, at < pinned.size() && pinned[at], static_cast<int>(at)});
  }
  for (const View* view : {&a, &b}) {
    View rest = *view;
    std::erase_if(rest.dims, [&](const ViewDim& dim) { return std::find(k_axes.begin(), k_axes.end(), dim.axis) != k_axes.end(); });
    loop.operands.push_back(loop_operand(rest, axes, in.sizes));
  }
  for (std::size_t i = 2; i < step.inputs.size(); ++i) loop.operands.push_back(loop_operand(in.view(step.inputs[i]), axes, in.sizes));
  for (TensorId output : step.outputs) loop.operands.push_back(loop_operand(in.output_view(output, axes), axes, in.sizes));
  collapse(loop);
  return loop;
}

// Brings the dims into the order (batch..., m, n). What did not collapse into the innermost m and n is run over as a batch
// dim; a missing m or n has size 1.
void order_dims(Loop& loop) {
  const auto innermost = [&](Role role) {
    for (std::size_t i = loop.dims.size(); i-- > 0;) {
      if (loop.dims[i].kind == role) return static_cast<int>(i);
    }
    return -1;
  };
  const int m = innermost(m_dim), n = innermost(n_dim);
  std::vector<int> order;
  for (int i = 0; i < static_cast<int>(loop.dims.size()); ++i) {
    if (i != m && i != n) order.push_back(i);
  }
  order.push_back(m);
  order.push_back(n);
  Loop ordered;
  for (int i : order) ordered.dims.push_back(i < 0 ? LoopDim{} : loop.dims[static_cast<std::size_t>(i)]);
  for (const LoopOperand& operand : loop.operands) {
    LoopOperand& moved = ordered.operands.emplace_back();
    moved.offset = operand.offset;
    for (int i : order) {
      moved.strides.push_back(i < 0 ? 0 : operand.strides[static_cast<std::size_t>(i)]);
      moved.windows.push_back(i < 0 ? MapWindow{0, 1} : operand.windows[static_cast<std::size_t>(i)]);
    }
  }
  loop = std::move(ordered);
}

}  // namespace

void flatten_product(Flattener& in, const Step& step, FlatStep& out) {
  Operand a = step.inputs[0], b = step.inputs[1];
  const std::vector<AxisId> k_axes = contraction_order(in, step, a, b);
  const View a_view = in.view(a), b_view = in.view(b);
  DSC_CHECK(a_view.full() && b_view.full(), "a product reads outside its operand: " + step.name);
  Loop loop = product_loop(in, step, a_view, b_view, k_axes);
  order_dims(loop);

  ProductSpec spec;
  const std::size_t m = loop.dims.size() - 2, n = m + 1;
  const std::vector<std::int64_t>&a_strides = loop.operands[0].strides, &b_strides = loop.operands[1].strides;
  for (std::size_t i = 0; i < m; ++i) spec.batch.push_back({loop.dims[i].size, a_strides[i], b_strides[i]});
  spec.m = loop.dims[m].size;
  spec.n = loop.dims[n].size;
  spec.k = in.sizes.count(k_axes);
  spec.a_type = in.tensor(a.tensor).type;
  spec.b_type = in.tensor(b.tensor).type;
  spec.a_m = a_strides[m];
  spec.b_n = b_strides[n];
  spec.a_k = *collapsed_stride(a_view, k_axes, in.sizes);
  spec.b_k = *collapsed_stride(b_view, k_axes, in.sizes);
  spec.a_offset = a_view.offset;
  spec.b_offset = b_view.offset;
  spec.epilogue = step.program;
  in.localise(spec.epilogue, loop.dims);
  spec.inputs.push_back({DType::f32, std::vector<std::int64_t>(loop.dims.size(), 0), 0, {}});
  out.inputs = {{a.tensor, 0}, {b.tensor, 0}};
  for (std::size_t i = 2; i < step.inputs.size(); ++i) {
    const TensorId tensor = step.inputs[i].tensor;
    spec.inputs.push_back(Flattener::map_input(loop.operands[i], loop.dims, in.tensor(tensor).type));
    out.inputs.push_back({tensor, 0});
  }
  for (std::size_t i = 0; i < step.outputs.size(); ++i) {
    const LoopOperand& operand = loop.operands[step.inputs.size() + i];
    spec.outputs.push_back({in.tensor(step.outputs[i]).type, operand.strides, operand.offset, false});
    out.outputs.push_back(step.outputs[i]);
  }
  out.spec = std::move(spec);
}

}  // namespace dsc::local
