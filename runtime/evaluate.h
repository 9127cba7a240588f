// The validation loss of the parameters as they stand (semantics.md, Evaluation): the mean over every target of the first
// batches of validation windows. In: the plan's evaluate program, loaded. Moves no training state.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "compiler/plan/plan.h"
#include "compiler/support/result.h"
#include "runtime/executor/executor.h"

namespace dsc {

struct Validation {
  double loss = 0;
  std::int64_t tokens = 0;  // that counted
};

class Evaluator {
 public:
  // `program` indexes plan.programs; `windows`: how many validation windows there are.
  Evaluator(const Plan& plan, std::size_t program, std::vector<std::byte*> arenas, std::int64_t windows);

  // Runs the program once a batch. The reader finds the batch in batch(). std::nullopt: no batch that could be read whole
  // where the model has a loss term that needs whole ones.
  Result<std::optional<Validation>> run(Executor& executor);
  std::int64_t batch() const { return batch_; }

 private:
  double losses() const;  // sum over ranks and micro-batches

  const Plan& plan_;
  std::size_t program_;
  std::vector<std::byte*> arenas_;
  std::int64_t windows_, batch_ = 0;
  bool whole_batches_ = false;
  BufferUse loss_{};
};

}  // namespace dsc
