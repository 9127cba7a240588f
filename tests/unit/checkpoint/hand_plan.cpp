#include "tests/unit/checkpoint/hand_plan.h"

#include <algorithm>

#include "compiler/support/philox.h"

namespace dsc {

Contract small_contract() {
  Contract c;
  Model& m = c.model;
  m.name = "small";
  m.axes = {{"batch", 8, {}, false, {}}, {"seq", 4, {}, false, {}}, {"width", 6, {}, false, {}}, {"hidden", 5, {}, false, {}}};
  AxisId width(2), hidden(3);
  m.parameters = {{"block[0].w", {width, hidden}, InitKind::normal, 0.02, true, true, {}},
                  {"b", {hidden}, InitKind::uniform, 0.5, true, false, {}},
                  {"g", {width}, InitKind::ones, 0, true, false, {}},
                  {"z", {width, width}, InitKind::zeros, 0, true, true, {}}};
  Op x, w, rounded, product;
  x.kind = OpKind::parameter, x.parameter = ParameterId(3), x.axes = {width, width};
  rounded.kind = OpKind::round, rounded.operands = {OpId(0)}, rounded.axes = {width, width};
  w.kind = OpKind::parameter, w.parameter = ParameterId(0), w.axes = {width, hidden};
  product.kind = OpKind::dot, product.operands = {OpId(1), OpId(2)}, product.over = {width}, product.axes = {hidden};
  m.ops = {x, rounded, w, product};
  m.loss = OpId(3);
  m.vocabulary = 256;
  c.data.sequence = 4;
  c.train.steps = 100;
  c.train.batch = 8;
  c.train.seed = 42;
  c.train.optimizer.rate.peak = 1e-3;
  c.layout.name = "hand";
  return c;
}

HandPlan::HandPlan(Contract contract, HandLayout layout) {
  plan_.contract = std::move(contract);
  Contract& c = plan_.contract;
  c.train.activation = layout.activation;
  c.layout.mesh = {{"data", layout.ranks, {}}};
  c.layout.batch_axes = {0};
  c.layout.zero_stage = layout.zero;
  bool wide = layout.activation == DType::f32;
  bool adam = c.train.optimizer.kind == OptimizerKind::adamw;
  for (std::size_t p = 0; p < c.model.parameters.size(); ++p) {
    ParameterId id(p);
    std::int64_t piece = c.piece_elements(id), whole = piece * layout.ranks;
    if (layout.zero < 3) add(BufferRole::parameter, layout.activation, whole, id);
    else add(BufferRole::parameter_piece, layout.activation, piece, id);
    bool pieces = layout.zero > 0;
    if (!wide) add(pieces ? BufferRole::master_piece : BufferRole::master, DType::f32, pieces ? piece : whole, id);
    if (adam || c.train.optimizer.momentum > 0)
      add(pieces ? BufferRole::moment1_piece : BufferRole::moment1, DType::f32, pieces ? piece : whole, id);
    if (adam) add(pieces ? BufferRole::moment2_piece : BufferRole::moment2, DType::f32, pieces ? piece : whole, id);
  }
  add(BufferRole::state, DType::u8, sizeof(StateBlock), std::nullopt);
  std::int64_t size = plan_.memory.packed.value;
  std::vector<std::byte*> bases;
  for (std::int64_t r = 0; r < layout.ranks; ++r) arenas_.emplace_back(static_cast<std::size_t>(size));
  for (std::vector<std::byte>& arena : arenas_) bases.push_back(arena.data());
  state_ = std::make_unique<TrainingState>(plan_, bases);
}

void HandPlan::add(BufferRole role, DType type, std::int64_t elements, std::optional<ParameterId> parameter) {
  Buffer buffer;
  buffer.role = role;
  buffer.type = type;
  buffer.elements = elements;
  buffer.bytes = Bytes(elements * size_of(type));
  buffer.offset = plan_.memory.packed;
  buffer.persistent = true;
  buffer.parameter = parameter;
  plan_.memory.packed = align_up(buffer.offset + buffer.bytes, Bytes(64));
  plan_.buffers.push_back(buffer);
}

std::vector<float> HandPlan::everything() const {
  std::vector<float> all;
  for (StateSlot slot : {StateSlot::master, StateSlot::moment1, StateSlot::moment2}) {
    if (!state_->has(slot)) continue;
    for (std::size_t p = 0; p < plan_.contract.model.parameters.size(); ++p)
      for (std::int64_t d = 0; d < plan_.contract.layout.data_ranks(); ++d) {
        std::span<const float> piece = state_->get(ParameterId(p), slot, d);
        all.insert(all.end(), piece.begin(), piece.end());
      }
  }
  return all;
}

void HandPlan::scribble(std::uint64_t seed) {
  std::uint32_t next = 0;
  for (StateSlot slot : {StateSlot::master, StateSlot::moment1, StateSlot::moment2}) {
    if (!state_->has(slot)) continue;
    for (std::size_t p = 0; p < plan_.contract.model.parameters.size(); ++p) {
      std::vector<float> values(static_cast<std::size_t>(element_count(plan_.contract.model, ParameterId(p))));
      for (float& value : values) {
        PhiloxCounter word = philox({next++, 0, 0, 0}, {static_cast<std::uint32_t>(seed), 0});
        value = static_cast<float>(word[0]) * 0x1p-31f - 1;
      }
      state_->set(ParameterId(p), slot, 0, values);
    }
  }
}

}  // namespace dsc
