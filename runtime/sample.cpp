#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "compiler/support/check.h"
#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/philox.h"
#include "runtime/arena/arena.h"
#include "runtime/arena/round.h"
#include "runtime/arena/training_state.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/initial_state.h"
#include "runtime/run.h"

namespace dsc {
namespace {

// The row of logits of one position, wherever the program leaves it.
class Logits {
 public:
  Logits(const Plan& plan, const std::byte* arena) {
    const Model& model = plan.contract.model;
    DSC_CHECK(model.logits.has_value(), "a sample plan of a model without logits");
    const Buffer* found = nullptr;
    for (const Buffer& buffer : plan.buffers)
      if (buffer.role == BufferRole::value && buffer.op == model.logits) found = &buffer;
    DSC_CHECK(found != nullptr, "the sample plan stores no logits");
    base_ = arena + found->offset.value;
    type_ = found->type;
    // Stored in the order of the value's axes, batch being one row.
    std::int64_t stride = 1;
    const std::vector<AxisId>& axes = model.op(*model.logits).axes;
    for (std::size_t i = axes.size(); i-- > 0;) {
      if (axes[i] == model.batch) continue;
      const std::int64_t size = model.axis(axes[i]).size;
      if (axes[i] == model.seq) {
        position_stride_ = stride;
      } else {
        DSC_CHECK(entries_ == 0, "logits over two vocabularies");
        entry_stride_ = stride;
        entries_ = size;
      }
      stride *= size;
    }
    DSC_CHECK(stride <= found->elements, "logits larger than their buffer");
  }

  std::int64_t entries() const { return entries_; }
  double at(std::int64_t position, std::int64_t entry) const {
    const std::byte* place = base_ + (position * position_stride_ + entry * entry_stride_) * size_of(type_);
    if (type_ == DType::f32) {
      float value = 0;
      std::memcpy(&value, place, sizeof value);
      return static_cast<double>(value);
    }
    std::uint16_t bits = 0;
    std::memcpy(&bits, place, sizeof bits);
    return static_cast<double>(type_ == DType::bf16 ? from_bf16(bits) : from_f16(bits));
  }

 private:
  const std::byte* base_ = nullptr;
  DType type_ = DType::f32;
  std::int64_t entries_ = 0, position_stride_ = 0, entry_stride_ = 1;
};

// A uniform number in [0, 1) for token number `index`.
double uniform(std::uint64_t seed, std::int64_t index) {
  const auto counter = static_cast<std::uint64_t>(index);
  const PhiloxCounter bits = philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0},
                                    stream_key(seed, RandomStream::sample));
  return static_cast<double>((static_cast<std::uint64_t>(bits[0]) << 21) ^ (bits[1] >> 11)) * 0x1p-53;
}

// Among the first `entries` tokens.
std::int64_t choose(const Logits& logits, std::int64_t entries, std::int64_t position, double temperature, double random) {
  std::int64_t best = 0;
  for (std::int64_t entry = 1; entry < entries; ++entry)
    if (logits.at(position, entry) > logits.at(position, best)) best = entry;
  if (temperature <= 0) return best;
  const double highest = logits.at(position, best);
  std::vector<double> weights(static_cast<std::size_t>(entries));
  double sum = 0;
  for (std::int64_t entry = 0; entry < entries; ++entry)
    sum += weights[static_cast<std::size_t>(entry)] = std::exp((logits.at(position, entry) - highest) / temperature);
  double left = random * sum;
  for (std::int64_t entry = 0; entry < entries; ++entry)
    if ((left -= weights[static_cast<std::size_t>(entry)]) < 0) return entry;
  return best;
}

Result<std::vector<std::int32_t>> tokens_of(const std::string& prompt, bool bytes, std::int64_t vocabulary) {
  std::vector<std::int32_t> tokens;
  const auto refuse = [&](const std::string& what) {
    return Error{str(Code::prompt_not_in_vocabulary),
                 what + " in the prompt is no token of the model, whose vocabulary has " + with_commas(vocabulary) + " entries",
                 bytes ? "use characters below that byte value" : "give token numbers below that, separated by spaces"};
  };
  if (bytes) {
    for (unsigned char byte : prompt) {
      if (byte >= vocabulary) return refuse("byte " + std::to_string(byte));
      tokens.push_back(byte);
    }
    if (tokens.empty()) tokens.push_back(vocabulary > '\n' ? '\n' : 0);
    return tokens;
  }
  for (std::size_t at = 0; at < prompt.size();) {
    if (prompt[at] == ' ') {
      ++at;
      continue;
    }
    const std::size_t end = std::min(prompt.find(' ', at), prompt.size());
    std::int32_t token = -1;
    const auto [stop, code] = std::from_chars(prompt.data() + at, prompt.data() + end, token);
    if (code != std::errc() || stop != prompt.data() + end || token < 0 || token >= vocabulary)
      return refuse("`" + prompt.substr(at, end - at) + "`");
    tokens.push_back(token);
    at = end;
  }
  if (tokens.empty()) tokens.push_back(0);
  return tokens;
}

// Where the sample program expects its tokens; nullptr for a model that reads none. Its bytes serve others later in the
// program, so they are written before each run.
std::int32_t* tokens_in(const Plan& plan, std::byte* arena) {
  for (const Buffer& buffer : plan.buffers)
    if (buffer.role == BufferRole::tokens) return reinterpret_cast<std::int32_t*>(arena + buffer.offset.value);
  return nullptr;
}

// The newest tokens that fit, then zeros: what stands after a position does not reach it.
void write_tokens(const std::vector<std::int32_t>& tokens, std::int32_t* input, std::int64_t length) {
  if (input == nullptr) return;
  const auto count = std::min<std::int64_t>(static_cast<std::int64_t>(tokens.size()), length);
  std::fill_n(input, length, 0);
  std::copy(tokens.end() - count, tokens.end(), input);
}

}  // namespace

Result<Sampled> sample(const Plan& plan, const std::filesystem::path& run_dir, const SampleOptions& options) {
  const Contract& contract = plan.contract;
  const bool bytes = contract.data.train.format == TokenFormat::bytes;
  DSC_CHECK(contract.layout.world_size() == 1 && plan.programs.size() == 1, "a sample plan has one rank and one program");
  Result<Arena> arena = Arena::map(plan.memory.device_arena, "the arena");
  if (!arena) return arena.error();
  TrainingState state(plan, {arena->base()});
  state.set_block(initial_block(contract.train));
  Result<Resumed> loaded = load_parameters(run_dir, contract, state);
  if (!loaded) return loaded.error();
  const Logits logits(plan, arena->base());
  const std::int64_t length = contract.model.axis(contract.model.seq).size;
  const std::int64_t vocabulary = contract.model.vocabulary > 0 ? contract.model.vocabulary : logits.entries();
  Result<std::vector<std::int32_t>> tokens = tokens_of(options.prompt, bytes, vocabulary);
  if (!tokens) return tokens.error();

  ExecutorOptions how;
  how.threads = options.threads;
  Result<std::unique_ptr<Executor>> executor = Executor::load(plan, {arena->base()}, std::move(how));
  if (!executor) return executor.error();

  std::int32_t* input = tokens_in(plan, arena->base());
  std::string text;
  for (std::int64_t i = 0; i < options.tokens; ++i) {
    write_tokens(*tokens, input, length);
    if (Status status = (*executor)->run(0); !status) return status.error();
    const std::int64_t position = std::min<std::int64_t>(static_cast<std::int64_t>(tokens->size()), length) - 1;
    const std::int64_t token = choose(logits, bytes ? std::min<std::int64_t>(logits.entries(), 256) : logits.entries(), position, options.temperature, uniform(options.seed, i));
    tokens->push_back(static_cast<std::int32_t>(token));
    if (bytes) text += static_cast<char>(token);
    else text += (text.empty() ? "" : " ") + std::to_string(token);
  }
  return Sampled{std::move(text), std::move(loaded->lines)};
}

}  // namespace dsc
