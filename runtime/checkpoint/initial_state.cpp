#include "runtime/checkpoint/initial_state.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "compiler/support/philox.h"

namespace dsc {
namespace {

// Four elements share one Philox block: two pairs of words, each of which Box-Muller turns into two normals.
std::array<double, 4> block_of(const Parameter& parameter, PhiloxKey key, std::uint64_t path, std::uint64_t block) {
  PhiloxCounter words = philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                                static_cast<std::uint32_t>(path), static_cast<std::uint32_t>(path >> 32)},
                               key);
  std::array<double, 4> out{};
  if (parameter.init == InitKind::uniform) {
    for (int i = 0; i < 4; ++i) out[i] = ((words[i] + 0.5) * 0x1p-31 - 1.0) * parameter.init_value;
    return out;
  }
  for (int pair = 0; pair < 2; ++pair) {
    double radius = std::sqrt(-2.0 * std::log((words[2 * pair] + 1.0) * 0x1p-32));
    double angle = 2.0 * std::numbers::pi * (words[2 * pair + 1] * 0x1p-32);
    out[2 * pair] = radius * std::cos(angle) * parameter.init_value;
    out[2 * pair + 1] = radius * std::sin(angle) * parameter.init_value;
  }
  return out;
}

}  // namespace

void initial_values(const Parameter& parameter, std::uint64_t seed, std::int64_t begin, std::span<float> out) {
  if (parameter.init == InitKind::zeros || parameter.init == InitKind::ones) {
    std::fill(out.begin(), out.end(), parameter.init == InitKind::ones ? 1.0f : 0.0f);
    return;
  }
  PhiloxKey key = stream_key(seed, RandomStream::weights);
  std::uint64_t path = path_hash(parameter.path);
  std::size_t i = 0;
  while (i < out.size()) {
    std::uint64_t element = static_cast<std::uint64_t>(begin) + i;
    std::array<double, 4> block = block_of(parameter, key, path, element / 4);
    for (std::size_t lane = element % 4; lane < 4 && i < out.size(); ++lane, ++i) out[i] = static_cast<float>(block[lane]);
  }
}

StateBlock initial_block(const TrainSpec& train) {
  StateBlock block;
  block.loss_scale = block.next_loss_scale = static_cast<float>(train.loss_scale.init);
  if (train.loss_scale.dynamic) block.hysteresis = train.loss_scale.hysteresis;
  return block;
}

void initialise(const Contract& contract, TrainingState& state) {
  constexpr std::int64_t kPart = 1 << 20;
  std::vector<float> values;
  for (std::size_t p = 0; p < contract.model.parameters.size(); ++p) {
    ParameterId id(p);
    std::int64_t elements = element_count(contract.model, id);
    for (std::int64_t begin = 0; begin < elements; begin += kPart) {
      values.assign(static_cast<std::size_t>(std::min(kPart, elements - begin)), 0.0f);
      for (StateSlot slot : {StateSlot::moment1, StateSlot::moment2})
        if (state.has(slot)) state.set(id, slot, begin, values);
      initial_values(contract.model.parameters[p], contract.train.seed, begin, values);
      state.set(id, StateSlot::master, begin, values);
    }
  }
  state.set_block(initial_block(contract.train));
}

}  // namespace dsc
