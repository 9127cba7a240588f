#include "runtime/evaluate.h"

#include <algorithm>
#include <cstring>

#include "compiler/support/check.h"
#include "runtime/arena/ranks.h"

namespace dsc {

Evaluator::Evaluator(const Plan& plan, std::size_t program, std::vector<std::byte*> arenas, std::int64_t windows)
    : plan_(plan), program_(program), arenas_(std::move(arenas)), windows_(windows) {
  for (const Op& op : plan.contract.model.ops)
    whole_batches_ = whole_batches_ || (op.kind == OpKind::mean && op.type == ValueType::loss);
  bool found = false;
  for (const Section& section : plan.programs[program].sections) {
    for (const Instruction& instruction : section.instructions) {
      const auto* kernel = std::get_if<KernelSpec>(&instruction.op);
      if (kernel == nullptr || !std::holds_alternative<AddLossSpec>(*kernel)) continue;
      loss_ = instruction.outputs.at(0);
      found = true;
    }
  }
  DSC_CHECK(found, "the evaluate program adds up no loss");
}

double Evaluator::losses() const {
  double sum = 0;
  for (std::size_t rank = 0; rank < arenas_.size(); ++rank) {
    const std::int64_t at = data_rank(plan_.contract.layout, static_cast<std::int64_t>(rank));
    double loss = 0;
    std::memcpy(&loss, arenas_[rank] + plan_.buffer(loss_.buffer).offset.value + loss_.offset.value + at * loss_.rank_stride.value,
                sizeof loss);
    sum += loss;
  }
  // Ranks outside the axes that split `batch` repeat what another one computed.
  return sum * static_cast<double>(plan_.contract.layout.data_ranks()) / static_cast<double>(arenas_.size());
}

Result<std::optional<Validation>> Evaluator::run(Executor& executor) {
  const TrainSpec& train = plan_.contract.train;
  const auto in_micro_batch = static_cast<double>(plan_.contract.layout.micro_batch * plan_.contract.data.sequence);
  Validation validation;
  double sum = 0;
  for (batch_ = 0; batch_ < train.evaluate_batches; ++batch_) {
    const std::int64_t rows = std::min(train.batch, windows_ - batch_ * train.batch);
    if (rows <= 0 || (whole_batches_ && rows < train.batch)) break;
    if (Status status = executor.run(program_); !status) return status.error();
    // Every micro-batch's loss is a sum over its valid targets divided by all that it could have.
    sum += losses() * in_micro_batch;
    validation.tokens += rows * plan_.contract.data.sequence;
  }
  if (validation.tokens == 0) return std::optional<Validation>();
  validation.loss = sum / static_cast<double>(validation.tokens);
  return std::optional<Validation>(validation);
}

}  // namespace dsc
