#include "runtime/arena/training_state.h"

#include <algorithm>
#include <cstring>

#include "compiler/support/check.h"
#include "runtime/arena/ranks.h"
#include "runtime/arena/round.h"

namespace dsc {
namespace {

std::byte* place(const Buffer& buffer, std::byte* arena) { return arena + buffer.offset.value; }

// Writes values as the buffer's type from its element `at` on.
void store(const Buffer& buffer, std::byte* arena, std::int64_t at, std::span<const float> values) {
  DSC_CHECK(at >= 0 && at + static_cast<std::int64_t>(values.size()) <= buffer.elements, "outside " + buffer.name);
  std::byte* to = place(buffer, arena) + at * size_of(buffer.type);
  switch (buffer.type) {
    case DType::f32:
      if (!values.empty()) std::memcpy(to, values.data(), values.size_bytes());
      return;
    case DType::bf16:
      for (float value : values) {
        const std::uint16_t bits = to_bf16(value);
        std::memcpy(to, &bits, 2);
        to += 2;
      }
      return;
    case DType::f16:
      for (float value : values) {
        const std::uint16_t bits = to_f16(value);
        std::memcpy(to, &bits, 2);
        to += 2;
      }
      return;
    default: DSC_CHECK(false, "training state of another type in " + buffer.name);
  }
}

}  // namespace

TrainingState::TrainingState(const Plan& plan, std::vector<std::byte*> arenas) : plan_(plan), arenas_(std::move(arenas)) {
  places_.resize(plan.contract.model.parameters.size());
  for (std::size_t i = 0; i < plan.buffers.size(); ++i) {
    const Buffer& buffer = plan.buffers[i];
    if (!buffer.persistent) continue;
    const int index = static_cast<int>(i);
    if (buffer.role == BufferRole::state) {
      DSC_CHECK(buffer.bytes.value >= static_cast<std::int64_t>(sizeof(StateBlock)), "the state block is too small");
      state_ = index;
    }
    if (!buffer.parameter) continue;
    Places& at = places_[buffer.parameter->index()];
    switch (buffer.role) {
      case BufferRole::parameter: at.whole_used = index; break;
      case BufferRole::parameter_piece: at.piece_used = index; break;
      case BufferRole::master: at.whole_master = index; break;
      case BufferRole::master_piece: at.piece_master = index; break;
      case BufferRole::moment1: at.moment1 = index; at.moments_whole = true; break;
      case BufferRole::moment2: at.moment2 = index; at.moments_whole = true; break;
      case BufferRole::moment1_piece: at.moment1 = index; break;
      case BufferRole::moment2_piece: at.moment2 = index; break;
      default: break;
    }
  }
  // In fp32 the parameter as used is the master.
  for (Places& at : places_) {
    if (at.whole_master >= 0 || at.piece_master >= 0) continue;
    if (at.whole_used >= 0 && plan.buffers[at.whole_used].type == DType::f32) at.whole_master = at.whole_used;
    else if (at.piece_used >= 0 && plan.buffers[at.piece_used].type == DType::f32) at.piece_master = at.piece_used;
  }
}

bool TrainingState::has(StateSlot slot) const {
  for (const Places& at : places_) {
    if (slot == StateSlot::master && (at.whole_used >= 0 || at.piece_used >= 0)) return true;
    if (slot == StateSlot::moment1 && at.moment1 >= 0) return true;
    if (slot == StateSlot::moment2 && at.moment2 >= 0) return true;
  }
  return false;
}

std::int64_t TrainingState::piece_begin(ParameterId parameter, std::int64_t piece) const {
  return std::min(element_count(plan_.contract.model, parameter), piece * plan_.contract.piece_elements(parameter));
}

std::int64_t TrainingState::piece_end(ParameterId parameter, std::int64_t piece) const {
  return piece_begin(parameter, piece + 1);
}

std::span<const float> TrainingState::get(ParameterId parameter, StateSlot slot, std::int64_t piece) const {
  const Places& at = places_[parameter.index()];
  int index = -1;
  bool whole = false;
  if (slot == StateSlot::master) {
    // The owner's own piece is the newest copy wherever both exist.
    whole = at.piece_master < 0;
    index = whole ? at.whole_master : at.piece_master;
  } else {
    index = slot == StateSlot::moment1 ? at.moment1 : at.moment2;
    whole = at.moments_whole;
  }
  DSC_CHECK(index >= 0, "the plan holds no such state of " + plan_.contract.model.parameter(parameter).path);
  std::size_t owner = 0;
  while (data_rank(plan_.contract.layout, static_cast<std::int64_t>(owner)) != piece) ++owner;
  const std::int64_t begin = piece_begin(parameter, piece), end = piece_end(parameter, piece);
  const auto* values = reinterpret_cast<const float*>(place(plan_.buffers[index], arenas_[owner]));
  return {values + (whole ? begin : 0), static_cast<std::size_t>(end - begin)};
}

void TrainingState::set(ParameterId parameter, StateSlot slot, std::int64_t begin, std::span<const float> values) {
  const Places& at = places_[parameter.index()];
  const std::int64_t end = begin + static_cast<std::int64_t>(values.size());
  DSC_CHECK(begin >= 0 && end <= element_count(plan_.contract.model, parameter),
            "elements outside " + plan_.contract.model.parameter(parameter).path);
  for (std::size_t rank = 0; rank < arenas_.size(); ++rank) {
    const std::int64_t piece = data_rank(plan_.contract.layout, static_cast<std::int64_t>(rank));
    const std::int64_t own = piece_begin(parameter, piece);
    const std::int64_t lo = std::max(begin, own), hi = std::min(end, piece_end(parameter, piece));
    auto put = [&](int index, bool whole) {
      if (index < 0) return;
      if (whole) store(plan_.buffers[index], arenas_[rank], begin, values);
      else if (hi > lo) store(plan_.buffers[index], arenas_[rank], lo - own, values.subspan(lo - begin, hi - lo));
    };
    if (slot == StateSlot::master) {
      put(at.whole_used, true);
      put(at.piece_used, false);
      if (at.whole_master != at.whole_used) put(at.whole_master, true);
      if (at.piece_master != at.piece_used) put(at.piece_master, false);
    } else {
      put(slot == StateSlot::moment1 ? at.moment1 : at.moment2, at.moments_whole);
    }
  }
}

const StateBlock& TrainingState::block() const {
  DSC_CHECK(state_ >= 0, "the plan has no state block");
  return *reinterpret_cast<const StateBlock*>(place(plan_.buffers[state_], arenas_[0]));
}

void TrainingState::set_block(const StateBlock& block) {
  if (state_ < 0) return;
  for (std::byte* arena : arenas_) std::memcpy(place(plan_.buffers[state_], arena), &block, sizeof block);
}

}  // namespace dsc
