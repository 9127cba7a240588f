// Where the gradients of parameters go, micro-batch by micro-batch (semantics.md, Loss and gradients). Internal to partition.
//   reduce once:  an accumulator A for each (parameter, segment) over all micro-batches; in the last one the segments are
//                 added in order, then the sum is reduced over ranks.
//   reduce each:  in every micro-batch the segments' gradients are added, reduced over ranks, then added to S.
// With one micro-batch the two are the same, and a step writes straight into what is reduced.
#pragma once

#include <optional>
#include <vector>

#include "compiler/partition/partition.h"
#include "compiler/partition/storage.h"

namespace dsc::local {

Instruction kernel(std::string name, KernelSpec spec, std::vector<Use> inputs, std::vector<Use> outputs, SourceRange source);

class Gradients {
 public:
  Gradients(const PartitionInput& input, const Graph& graph, const Storage& storage, std::int64_t micro_batches, Partitioned& out);

  void begin_section(bool first, bool last);
  // Where a step writes this gradient; may turn the spec into one that accumulates. `before`: zeroes padding; `after`: adds
  // what the step could not accumulate itself.
  Use write(TensorId gradient, std::size_t output, KernelSpec& spec, const Instruction& step, std::vector<Instruction>& before,
            std::vector<Instruction>& after);
  // To be called after each `write`'s instructions: where this was the last segment, the sums that follow and the reduction.
  std::optional<Reduction> complete(TensorId gradient, SourceRange source, std::vector<Instruction>& sums);

  // The parameters that have a gradient, ascending, and in the order of `complete` in the section at hand.
  std::vector<ParameterId> parameters() const;
  const std::vector<ParameterId>& completion_order() const { return completion_order_; }
  std::int64_t column(ParameterId id) const;
  // What norm and update read in the last section: all pieces, or this rank's one.
  Use final_gradient(ParameterId id) const;

 private:
  struct OfParameter {
    std::vector<TensorId> segments;
    std::vector<std::optional<BufferId>> accumulators;  // A, one for each segment, across sections (once)
    std::vector<std::optional<BufferId>> current;       // of the section at hand
    std::optional<BufferId> sum;                        // S, across sections (each)
    std::optional<BufferId> piece;                      // the reduced piece of the last section (once)
    std::size_t written = 0;
  };
  bool once(const OfParameter& of) const { return !each_ || (out_.data_ranks == 1 && of.segments.size() == 1); }
  BufferId add_whole(ParameterId id, std::size_t segment, const char* what);
  BufferId add_piece(ParameterId id, const char* what);
  void zero_padding(ParameterId id, BufferId buffer, SourceRange source, std::vector<Instruction>& before) const;
  Instruction add_into(ParameterId id, BufferId to, BufferId from, std::int64_t elements, const std::string& what, SourceRange source) const;

  const PartitionInput& input_;
  const Storage& storage_;
  Partitioned& out_;
  bool each_ = false;
  bool first_ = false, last_ = false;
  std::vector<OfParameter> of_;                                           // by ParameterId
  std::vector<std::pair<std::uint32_t, std::uint32_t>> place_of_tensor_;  // by TensorId: parameter, ordinal of the segment
  std::vector<int> segment_of_tensor_;
  std::vector<ParameterId> completion_order_;
};

}  // namespace dsc::local
