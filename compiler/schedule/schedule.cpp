#include "compiler/schedule/schedule.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "compiler/schedule/gathers.h"
#include "compiler/schedule/waits.h"

namespace dsc::local {
namespace {

// What the parameters of a bucket have in common, for people: "block[3].attn", "wte", "wte and 3 more".
std::string common_path(const Partitioned& partitioned, const std::vector<ParameterId>& parameters) {
  const std::string& first = partitioned.parameter_paths[parameters.front().index()];
  if (parameters.size() == 1) return first;
  std::size_t length = first.size();
  for (ParameterId id : parameters) {
    const std::string& path = partitioned.parameter_paths[id.index()];
    std::size_t same = 0;
    while (same < length && same < path.size() && path[same] == first[same]) ++same;
    // Whole words alone.
    const bool ends = (same == path.size() || path[same] == '.') && (same == first.size() || first[same] == '.');
    if (!ends) {
      const std::size_t dot = first.rfind('.', same == 0 ? 0 : same - 1);
      same = dot == std::string::npos ? 0 : dot;
    }
    length = same;
  }
  return length > 0 ? first.substr(0, length) : first + " and " + std::to_string(parameters.size() - 1) + " more";
}

class SectionScheduler {
 public:
  SectionScheduler(const Partitioned& partitioned, const LayoutSpec& layout, const Section& section, std::vector<Buffer>& buffers)
      : partitioned_(partitioned), layout_(layout), section_(section), buffers_(buffers),
        gathers_(plan_gathers(section.instructions, partitioned, layout)) {}

  ScheduledSection run() {
    result_.name = section_.name;
    result_.first_micro_batch = section_.first_micro_batch;
    result_.iterations = section_.iterations;
    gathered_.resize(gathers_.gathers.size());
    for (std::size_t i = 0; i < section_.instructions.size(); ++i) {
      if (i == section_.tail) finish_backward();
      for (; next_gather_ < gathers_.gathers.size() && gathers_.gathers[next_gather_].before == i; ++next_gather_) gather(next_gather_);
      append(with_gathered(i));
      reductions_after(i);
      publications_after(i);
    }
    if (section_.tail >= section_.instructions.size()) finish_backward();
    publish();
    set_waits();
    return std::move(result_);
  }

 private:
  void append(Instruction instruction) { result_.instructions.push_back({std::move(instruction), {}}); }

  Instruction collective(CollectiveKind kind, std::string name, std::string cause, std::vector<CollectivePart> parts) const {
    Instruction made;
    made.name = std::move(name);
    made.engine = Engine::communication;
    made.source = partitioned_.zero_stage == 0 ? partitioned_.split_source : partitioned_.zero_source;
    made.op = Collective{kind, partitioned_.mesh_axes, kind != CollectiveKind::all_gather && layout_.wire_bf16, std::move(parts), std::move(cause)};
    return made;
  }
  std::string zero_rule() const { return "zero " + std::to_string(partitioned_.zero_stage) + " over " + partitioned_.data_axes; }

  void gather(std::size_t index) {
    const Gather& gather = gathers_.gathers[index];
    std::vector<CollectivePart> parts;
    for (ParameterId id : gather.parameters) {
      const ShardedParameter& sharded = *partitioned_.sharded[id.index()];
      buffers_.push_back({.name = sharded.path + " gathered", .role = BufferRole::gathered, .cls = BufferClass::gathered, .type = sharded.type,
                          .elements = sharded.whole_elements, .parameter = id, .source = sharded.source});
      const BufferId buffer(buffers_.size() - 1);
      gathered_[index].push_back(buffer);
      parts.push_back({sharded.piece, {buffer, Bytes(0), Bytes(0), buffers_.back().bytes()}, sharded.piece_elements, sharded.type});
    }
    const std::string what = common_path(partitioned_, gather.parameters);
    append(collective(CollectiveKind::all_gather, "gather " + what,
                      zero_rule() + ": gather of " + what + " for the " + (gather.backward ? "backward" : "forward") + " pass", std::move(parts)));
  }

  Instruction with_gathered(std::size_t i) const {
    Instruction instruction = section_.instructions[i];
    for (std::size_t k = 0; k < instruction.reads.size(); ++k) {
      const ParameterRead& read = instruction.reads[k];
      const std::size_t index = gathers_.served_by[i][k];
      const std::vector<ParameterId>& parameters = gathers_.gathers[index].parameters;
      const std::size_t place = static_cast<std::size_t>(std::find(parameters.begin(), parameters.end(), read.parameter) - parameters.begin());
      instruction.inputs[read.input].buffer = gathered_[index][place];
    }
    return instruction;
  }

  // A bucket goes out when its last gradient is complete. ZeRO 1 keeps whole gradients: there all buckets stand after the
  // backward pass in the order, though each starts as soon as its own gradients are there.
  void reductions_after(std::size_t i) {
    for (; next_reduction_ < section_.reductions.size() && section_.reductions[next_reduction_].after == i; ++next_reduction_) {
      const Reduction& reduction = section_.reductions[next_reduction_];
      bucket_.push_back(&reduction);
      bucket_elements_ += size(reduction);
      const bool more = next_reduction_ + 1 < section_.reductions.size();
      if (more && bucket_elements_ + size(section_.reductions[next_reduction_ + 1]) <= layout_.bucket.value) continue;
      if (partitioned_.zero_stage == 1) {
        held_.push_back(std::move(bucket_));
      } else {
        reduce(bucket_);
      }
      bucket_.clear();
      bucket_elements_ = 0;
    }
  }
  std::int64_t size(const Reduction& reduction) const { return reduction.piece_elements * partitioned_.data_ranks; }

  void reduce(const std::vector<const Reduction*>& bucket) {
    std::vector<CollectivePart> parts;
    std::vector<ParameterId> parameters;
    for (const Reduction* reduction : bucket) {
      parts.push_back({reduction->from, reduction->to, reduction->piece_elements, DType::f32});
      parameters.push_back(reduction->parameter);
    }
    const std::string what = common_path(partitioned_, parameters);
    const bool whole = partitioned_.zero_stage == 0;
    const std::string cause = whole ? "batch over " + partitioned_.data_axes + ": gradients of " + what + " summed"
                                    : zero_rule() + ": gradients of " + what + " summed, a piece for each rank";
    append(collective(whole ? CollectiveKind::all_reduce : CollectiveKind::reduce_scatter, "reduce " + what, cause, std::move(parts)));
    // What adds this bucket's sums waits for the next bucket, so that compute does not stand still meanwhile.
    if (layout_.overlap) accumulate_sums();
    for (const Reduction* reduction : bucket) {
      if (reduction->finish) sums_.push_back(&*reduction->finish);
    }
    if (!layout_.overlap) accumulate_sums();
  }

  void accumulate_sums() {
    for (const Instruction* sum : sums_) append(*sum);
    sums_.clear();
  }

  void finish_backward() {
    for (const std::vector<const Reduction*>& bucket : held_) reduce(bucket);
    held_.clear();
    accumulate_sums();
  }

  void publications_after(std::size_t i) {
    for (; next_publication_ < section_.publications.size() && section_.publications[next_publication_].after == i; ++next_publication_) {
      const Publication& publication = section_.publications[next_publication_];
      const std::int64_t elements = publication.piece_elements * partitioned_.data_ranks;
      if (!published_.empty() && published_elements_ + elements > layout_.bucket.value) publish();
      published_.push_back(&publication);
      published_elements_ += elements;
    }
  }

  void publish() {
    if (published_.empty()) return;
    std::vector<CollectivePart> parts;
    std::vector<ParameterId> parameters;
    for (const Publication* publication : published_) {
      parts.push_back({publication->from, publication->to, publication->piece_elements, publication->type});
      parameters.push_back(publication->parameter);
    }
    const std::string what = common_path(partitioned_, parameters);
    append(collective(CollectiveKind::all_gather, "publish " + what, zero_rule() + ": " + what + " as updated, from the rank of each piece",
                      std::move(parts)));
    published_.clear();
    published_elements_ = 0;
  }

  void set_waits() {
    struct Touched {
      std::array<int, kEngines> written = {-1, -1, -1}, read = {-1, -1, -1};
    };
    std::vector<Touched> touched(buffers_.size());
    WaitReducer reducer;
    std::array<int, kEngines> last = {-1, -1, -1};
    constexpr int communication = static_cast<int>(Engine::communication);
    for (std::size_t i = 0; i < result_.instructions.size(); ++i) {
      ScheduledInstruction& scheduled = result_.instructions[i];
      const int engine = static_cast<int>(scheduled.instruction.engine);
      std::array<int, kEngines> required = {-1, -1, -1};
      const std::vector<Access> accesses = accesses_of(scheduled.instruction);
      for (const Access& access : accesses) {
        const Touched& before = touched[access.buffer.index()];
        for (int e = 0; e < kEngines; ++e) {
          required[e] = std::max(required[e], before.written[e]);
          if (access.write) required[e] = std::max(required[e], before.read[e]);
        }
      }
      // `overlap off`: a collective and what stands beside it in the order run one after the other.
      if (!layout_.overlap) {
        for (int e = 0; e < kEngines; ++e) {
          if (engine == communication || e == communication) required[e] = std::max(required[e], last[e]);
        }
      }
      scheduled.waits = reducer.add(scheduled.instruction.engine, required);
      for (const Access& access : accesses) {
        Touched& now = touched[access.buffer.index()];
        (access.write ? now.written : now.read)[engine] = static_cast<int>(i);
      }
      last[engine] = static_cast<int>(i);
    }
  }

  const Partitioned& partitioned_;
  const LayoutSpec& layout_;
  const Section& section_;
  std::vector<Buffer>& buffers_;
  GatherPlan gathers_;
  std::vector<std::vector<BufferId>> gathered_;  // by gather, its buffers
  ScheduledSection result_;
  std::size_t next_gather_ = 0, next_reduction_ = 0, next_publication_ = 0;
  std::vector<const Reduction*> bucket_;
  std::int64_t bucket_elements_ = 0;
  std::vector<std::vector<const Reduction*>> held_;
  std::vector<const Instruction*> sums_;
  std::vector<const Publication*> published_;
  std::int64_t published_elements_ = 0;
};

}  // namespace
}  // namespace dsc::local

namespace dsc {

local::Scheduled schedule(const local::Partitioned& partitioned, const LayoutSpec& layout) {
  local::Scheduled out;
  out.buffers = partitioned.buffers;
  for (const local::Program& program : partitioned.programs) {
    local::ScheduledProgram& scheduled = out.programs.emplace_back();
    scheduled.name = program.name;
    for (const local::Section& section : program.sections) {
      scheduled.sections.push_back(local::SectionScheduler(partitioned, layout, section, out.buffers).run());
    }
  }
  return out;
}

}  // namespace dsc
