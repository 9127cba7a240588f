// The data of a run as batches of windows (semantics.md, Data). In: the data part of the contract, the vocabulary, the
// seed. Out: the tokens and targets of any sequence number; nothing depends on rank, layout or the order of calls.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/support/result.h"
#include "compiler/support/training.h"
#include "runtime/data/token_files.h"

namespace dsc {

// Where the data of attempt `a` begins, after any number of resumes with other batch sizes: the sequence number of row 0
// is consumed + (a - attempt) * batch. {0, 0} for a fresh run; a checkpoint gives its own.
struct DataPosition {
  std::int64_t attempt = 0, consumed = 0;
  std::int64_t first_sequence(std::int64_t a, std::int64_t batch) const { return consumed + (a - attempt) * batch; }
};

// The row within the optimizer batch that data rank d reads as row i of micro-batch m.
constexpr std::int64_t batch_row(std::int64_t batch, std::int64_t data_ranks, std::int64_t micro_batch, std::int64_t d,
                                 std::int64_t m, std::int64_t i) {
  return d * (batch / data_ranks) + m * micro_batch + i;
}

// A data file as a checkpoint remembers it.
struct DataFingerprint {
  std::string path;
  std::int64_t bytes = 0;
  std::string sha256;
  friend bool operator==(const DataFingerprint&, const DataFingerprint&) = default;
};

// floor((tokens - 1) / sequence), at least 0.
std::int64_t window_count(std::int64_t tokens, std::int64_t sequence);
// ceil(share * windows), exactly.
std::int64_t validation_share(Share share, std::int64_t windows);
// A bijection of [0, windows) for each (seed, epoch), computed without a table.
std::int64_t shuffled_window(std::uint64_t seed, std::int64_t epoch, std::int64_t index, std::int64_t windows);

class Batches {
 public:
  // Opens and validates every file. An error names the file, the place and the next step.
  static Result<Batches> open(const DataSpec& spec, std::int64_t vocabulary, std::uint64_t seed);

  std::int64_t sequence() const { return sequence_; }
  std::int64_t train_windows() const { return train_windows_; }            // W, the validation share taken away
  std::int64_t validation_windows() const { return validation_windows_; }  // 0: none
  std::int64_t train_tokens() const { return train_.tokens(); }
  // The window that sequence n reads.
  std::int64_t window_of(std::int64_t n) const;

  // Sequences first_sequence .. first_sequence + rows - 1, `sequence` tokens and as many targets each.
  Status read_train(std::int64_t first_sequence, std::int64_t rows, std::int32_t* tokens, std::int32_t* targets) const;
  // Validation windows first_window .. first_window + rows - 1 in order; rows past the last have tokens 0, targets -1.
  Status read_validation(std::int64_t first_window, std::int64_t rows, std::int32_t* tokens, std::int32_t* targets) const;

  // Every file with size and SHA-256; hashed on the first call, then remembered. Call it before the first step.
  Result<std::vector<DataFingerprint>> train_fingerprints();
  Result<std::vector<DataFingerprint>> validation_fingerprints();  // of a source of its own; else empty

  // Bytes of all files, for run.json.
  std::int64_t data_bytes() const;

 private:
  Status read_window(const TokenFiles& files, std::int64_t window, std::int32_t* tokens, std::int32_t* targets) const;

  TokenFiles train_, validation_;
  std::vector<DataFingerprint> train_prints_, validation_prints_;
  std::int64_t sequence_ = 0, train_windows_ = 0, validation_windows_ = 0;
  std::int64_t validation_first_ = 0;  // the first validation window in its stream
  bool validation_own_ = false, shuffled_ = false;
  std::uint64_t seed_ = 0;
};

}  // namespace dsc
