#include "runtime/data/batches.h"

#include <algorithm>
#include <bit>

#include "compiler/support/check.h"
#include "compiler/support/diagnostic_codes.h"
#include "compiler/support/philox.h"
#include "compiler/support/units.h"
#include "runtime/data/fingerprint.h"

namespace dsc {

std::int64_t window_count(std::int64_t tokens, std::int64_t sequence) {
  return tokens < 1 ? 0 : (tokens - 1) / sequence;
}

std::int64_t validation_share(Share share, std::int64_t windows) {
  __int128 numerator = static_cast<__int128>(share.numerator) * windows;
  return static_cast<std::int64_t>((numerator + share.denominator - 1) / share.denominator);
}

// A balanced Feistel network of 8 rounds over the smallest even number of bits that holds `windows`; a result outside is
// put through it again (cycle walking), on average less than 4 times.
std::int64_t shuffled_window(std::uint64_t seed, std::int64_t epoch, std::int64_t index, std::int64_t windows) {
  DSC_CHECK(0 <= index && index < windows, "window outside its epoch");
  if (windows == 1) return 0;
  int bits = std::bit_width(static_cast<std::uint64_t>(windows - 1));
  int half = std::max(1, (bits + 1) / 2);
  std::uint64_t mask = (std::uint64_t{1} << half) - 1;
  PhiloxKey key = stream_key(seed, RandomStream::data_order);
  std::uint64_t x = static_cast<std::uint64_t>(index);
  do {
    std::uint64_t left = x >> half, right = x & mask;
    for (std::uint32_t round = 0; round < 8; ++round) {
      PhiloxCounter f = philox({static_cast<std::uint32_t>(right), round, static_cast<std::uint32_t>(epoch),
                                static_cast<std::uint32_t>(static_cast<std::uint64_t>(epoch) >> 32)},
                               key);
      std::uint64_t next = left ^ (f[0] & mask);
      left = right;
      right = next;
    }
    x = left << half | right;
  } while (x >= static_cast<std::uint64_t>(windows));
  return static_cast<std::int64_t>(x);
}

Result<Batches> Batches::open(const DataSpec& spec, std::int64_t vocabulary, std::uint64_t seed) {
  Batches batches;
  batches.sequence_ = spec.sequence;
  batches.shuffled_ = spec.shuffled;
  batches.seed_ = seed;
  Result<TokenFiles> train = TokenFiles::open(spec.train, vocabulary);
  if (!train) return train.error();
  batches.train_ = std::move(*train);
  std::int64_t tokens = batches.train_.tokens(), windows = window_count(tokens, spec.sequence);
  std::string needed = "one window of sequence = " + with_commas(spec.sequence) + " needs " + with_commas(spec.sequence + 1);
  if (windows == 0)
    return Error{str(Code::data_too_short), spec.train.path + " holds " + with_commas(tokens) + " tokens; " + needed,
                 "give more data, or a shorter `sequence`"};
  if (spec.validation_split) {
    batches.validation_windows_ = validation_share(*spec.validation_split, windows);
    windows -= batches.validation_windows_;
    batches.validation_first_ = windows;
    if (windows == 0)
      return Error{str(Code::data_too_short),
                   spec.train.path + " holds " + with_commas(batches.validation_windows_) + " windows of " +
                       with_commas(spec.sequence) + " tokens, and the validation split takes all of them",
                   "give more data, a smaller split or a shorter `sequence`"};
  }
  batches.train_windows_ = windows;
  if (spec.validation_source) {
    Result<TokenFiles> validation = TokenFiles::open(*spec.validation_source, vocabulary);
    if (!validation) return validation.error();
    batches.validation_ = std::move(*validation);
    batches.validation_own_ = true;
    batches.validation_windows_ = window_count(batches.validation_.tokens(), spec.sequence);
    if (batches.validation_windows_ == 0)
      return Error{str(Code::data_too_short),
                   spec.validation_source->path + " holds " + with_commas(batches.validation_.tokens()) + " tokens; " + needed,
                   "give more validation data, or a shorter `sequence`"};
  }
  return batches;
}

std::int64_t Batches::window_of(std::int64_t n) const {
  std::int64_t epoch = n / train_windows_, index = n % train_windows_;
  return shuffled_ ? shuffled_window(seed_, epoch, index, train_windows_) : index;
}

// Inputs and targets overlap in all but one token: read the inputs, shift, read the last target.
Status Batches::read_window(const TokenFiles& files, std::int64_t window, std::int32_t* tokens, std::int32_t* targets) const {
  std::int64_t first = window * sequence_;
  if (Status status = files.read(first, sequence_, tokens); !status) return status;
  std::copy(tokens + 1, tokens + sequence_, targets);
  return files.read(first + sequence_, 1, targets + sequence_ - 1);
}

Status Batches::read_train(std::int64_t first_sequence, std::int64_t rows, std::int32_t* tokens, std::int32_t* targets) const {
  DSC_CHECK(first_sequence >= 0 && rows >= 0, "negative sequence number");
  for (std::int64_t r = 0; r < rows; ++r) {
    std::int64_t window = window_of(first_sequence + r), at = r * sequence_;
    if (Status status = read_window(train_, window, tokens + at, targets + at); !status) return status;
  }
  return {};
}

Status Batches::read_validation(std::int64_t first_window, std::int64_t rows, std::int32_t* tokens,
                                std::int32_t* targets) const {
  DSC_CHECK(first_window >= 0 && rows >= 0, "negative window");
  const TokenFiles& files = validation_own_ ? validation_ : train_;
  for (std::int64_t r = 0; r < rows; ++r) {
    std::int64_t window = first_window + r, at = r * sequence_;
    if (window >= validation_windows_) {
      std::fill_n(tokens + at, sequence_, 0);
      std::fill_n(targets + at, sequence_, -1);
      continue;
    }
    if (Status status = read_window(files, validation_first_ + window, tokens + at, targets + at); !status) return status;
  }
  return {};
}

namespace {

Status fill_fingerprints(const TokenFiles& files, std::vector<DataFingerprint>& prints) {
  for (std::size_t i = prints.size(); i < files.files().size(); ++i) {
    const TokenFile& file = files.files()[i];
    Result<std::string> hash = sha256_of(file);
    if (!hash) return hash.error();
    prints.push_back({file.path, file.bytes, *hash});
  }
  return {};
}

}  // namespace

Result<std::vector<DataFingerprint>> Batches::train_fingerprints() {
  if (Status status = fill_fingerprints(train_, train_prints_); !status) return status.error();
  return train_prints_;
}

Result<std::vector<DataFingerprint>> Batches::validation_fingerprints() {
  if (Status status = fill_fingerprints(validation_, validation_prints_); !status) return status.error();
  return validation_prints_;
}

std::int64_t Batches::data_bytes() const {
  std::int64_t bytes = 0;
  for (const TokenFiles* files : {&train_, &validation_})
    for (const TokenFile& file : files->files()) bytes += file.bytes;
  return bytes;
}

}  // namespace dsc
