// The data and training parts of a file, resolved to plain values (semantics.md). Part of the plan's contract.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "compiler/support/dtype.h"
#include "compiler/support/source.h"

namespace dsc {

enum class TokenFormat : std::uint8_t { bytes, u16, u32 };  // bytes: a text file, one token a byte

struct DataSource {
  std::string path;  // a glob, resolved against the file's folder (or the working directory for --set)
  TokenFormat format = TokenFormat::bytes;
  SourceRange source;
};

// An exact decimal share, numerator / denominator, 0 < share < 1.
struct Share {
  std::int64_t numerator = 0, denominator = 1;
};

struct DataSpec {
  DataSource train;
  std::optional<DataSource> validation_source;  // at most one of these two
  std::optional<Share> validation_split;
  std::int64_t sequence = 0;
  bool shuffled = false;
};

enum class ScheduleKind : std::uint8_t { constant, linear, cosine };
struct LearningRate {
  ScheduleKind kind = ScheduleKind::constant;
  double peak = 0, floor = 0;
  std::int64_t warmup = 0;
};

enum class OptimizerKind : std::uint8_t { adamw, sgd };
struct Optimizer {
  OptimizerKind kind = OptimizerKind::adamw;
  LearningRate rate;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adamw
  double momentum = 0;                            // sgd
  double weight_decay = 0;
};

struct LossScale {
  bool dynamic = false;
  double init = 1;  // a static scale is `init`
  std::int64_t window = 1000, hysteresis = 2;
  double min = 1;
};

enum class Reduce : std::uint8_t { once, each };

struct TrainSpec {
  std::int64_t steps = 0, batch = 0;
  Optimizer optimizer;
  DType activation = DType::f32;  // precision: f32, bf16 or f16
  LossScale loss_scale;           // 1, static, but for fp16
  Reduce reduce = Reduce::once;
  std::optional<double> clip_norm;
  std::uint64_t seed = 0;
  std::int64_t checkpoint_every = 0;  // 0: only the last
  std::string checkpoint_to;          // empty: run/<file stem>
  std::int64_t checkpoint_keep = 0;   // 0: all
  std::int64_t evaluate_every = 0, evaluate_batches = 0;  // 0: never
  bool skip_nonfinite = false;        // on_nonfinite = skip
  std::string init_pretrained;        // a Hugging Face folder; empty: the initialisers
};

}  // namespace dsc
