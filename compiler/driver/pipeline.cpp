#include "compiler/driver/pipeline.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "compiler/driver/files.h"
#include "compiler/emit/emit.h"
#include "compiler/graph/graph.h"
#include "compiler/memory/memory.h"
#include "compiler/partition/partition.h"
#include "compiler/plan/plan_json.h"
#include "compiler/plan/print.h"
#include "compiler/plan/verify.h"
#include "compiler/schedule/schedule.h"
#include "kernels/ops.h"

namespace dsc {
namespace {

// The first number in `path`, or `otherwise` where there is none ("max" included).
std::int64_t number_in(const char* path, std::int64_t otherwise) {
  std::ifstream in(path);
  std::int64_t value = 0;
  return in >> value ? value : otherwise;
}

Bytes total_memory() {
  std::ifstream in("/proc/meminfo");
  std::string word;
  std::int64_t kib = 0;
  while (in >> word)
    if (word == "MemTotal:" && in >> kib) break;
  constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
  std::int64_t limit = number_in("/sys/fs/cgroup/memory.max", unlimited);
  limit = std::min(limit, number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", unlimited));
  return Bytes(std::min(kib * 1024, limit));
}

Contract contract_of(const CheckedProgram& program) {
  Contract contract;
  contract.model = program.model;
  contract.data = program.data;
  contract.train = program.train;
  contract.layout = program.layout;
  contract.exports = program.exports;
  contract.autos = program.autos;
  return contract;
}

template <class Text>
void emit_stage(Emit* emit, const char* stage, Text text) {
  if (emit != nullptr && emit->stage == stage) emit->text = text();
}

// A finished plan is sealed only if the verifier, who shares nothing with the passes, finds nothing.
void prove_and_seal(Plan& plan) {
  VerifyReport report = verify(plan);
  DSC_CHECK(report.ok(), "the verifier rejects the plan: " + str(report.errors.front(), plan));
  seal(plan);
}

// The passes after the graphs, the same for every purpose. Fills buffers, programs and memory of `plan`.
void lower(Plan& plan, const Graph* step, const Graph* evaluate, const Graph* sample, Emit* emit) {
  const Contract& contract = plan.contract;

  // One rank's instructions: local sizes, buffers, and what ZeRO, accumulation and the optimizer add.
  local::Partitioned partitioned = partition({contract.model, contract.train, contract.layout, plan.target, step, evaluate, sample});
  emit_stage(emit, "partition", [&] { return print(partitioned); });

  // One order over the engines. Before memory: lifetimes are positions in this order.
  local::Scheduled scheduled = schedule(partitioned, contract.layout);
  emit_stage(emit, "schedule", [&] { return print(scheduled); });

  // An address for every buffer, and the waits that the reuse of bytes adds.
  MemoryPlan memory = plan_memory(scheduled, plan.target);
  emit_stage(emit, "memory", [&] { return print(memory, scheduled); });

  Emitted emitted = ::dsc::emit(scheduled, memory);
  plan.buffers = std::move(emitted.buffers);
  plan.programs = std::move(emitted.programs);
  plan.memory = emitted.memory;
}

bool fits(const Plan& plan) { return plan.target.capacity.value == 0 || plan.memory.device_arena <= plan.target.capacity; }

Plan compile_one(const CheckedProgram& program, const SourceMap& sources, const CheckOptions& options, const Target& target, Emit* emit) {
  Plan plan;
  plan.compiler_version = DSC_VERSION;
  plan.target = target;
  for (const SourceFile& file : sources.files()) plan.sources.push_back({file.name, file.text});
  plan.sets = options.sets;
  plan.source_folder = options.folder;
  plan.contract = contract_of(program);

  // Forward, backward, fusion.
  Graph step = build_graph(program.model, program.train.activation, Purpose::train);
  emit_stage(emit, "graph", [&] { return print(step, program.model); });
  bool evaluates = program.train.evaluate_every > 0;
  std::optional<Graph> evaluate;
  if (evaluates) evaluate = build_graph(program.model, program.train.activation, Purpose::evaluate);

  lower(plan, &step, evaluates ? &*evaluate : nullptr, nullptr, emit);
  prove_and_seal(plan);
  emit_stage(emit, "plan", [&] { return print(plan); });
  return plan;
}

}  // namespace

Target machine_target(std::int64_t ranks) {
  Target target = cpu_target();
  constexpr std::int64_t reserve = std::int64_t{1} << 30;
  target.capacity = Bytes(std::max<std::int64_t>(1, (total_memory().value - reserve) / ranks));
  return target;
}

Result<Checked> check_file(const std::string& path, CheckOptions options) {
  Result<std::string> text = read_file(path);
  if (!text) return text.error();
  Checked checked;
  std::uint32_t file = checked.sources.add({path, *text});
  checked.program = check(file, checked.sources, options, checked.diagnostics);
  return checked;
}

Result<Plan> compile(const CheckedProgram& program, const SourceMap& sources, const CheckOptions& options, const Target& target, Emit* emit) {
  if (!program.layout.stage_auto || program.layout.data_ranks() == 1) return compile_one(program, sources, options, target, emit);
  // A file without layouts: the lowest ZeRO stage that fits, stage 3 if none does.
  CheckedProgram candidate = program;
  for (int stage = 0;; ++stage) {
    candidate.layout.zero_stage = stage;
    candidate.autos = program.autos;
    candidate.autos.push_back({"layout." + program.layout.name + ".zero", std::to_string(stage), "the lowest stage that fits " + target.name});
    Plan plan = compile_one(candidate, sources, options, target, emit);
    if (stage == 3 || fits(plan)) return plan;
  }
}

Result<Plan> compile_sample(const Plan& training_plan, const Target& target) {
  const Model& model = training_plan.contract.model;
  if (!model.logits) return Error{str(Code::cannot_sample), "this model cannot be sampled from: " + model.no_logits_reason,
                                  "give the model one cross_entropy on `targets`"};
  Plan plan = training_plan;
  plan.target = target;
  plan.buffers.clear();
  plan.programs.clear();
  LayoutSpec single;
  single.name = "sample";
  plan.contract.layout = single;
  plan.contract.autos.clear();
  Graph sample = build_graph(model, plan.contract.train.activation, Purpose::sample);
  lower(plan, nullptr, nullptr, &sample, nullptr);
  prove_and_seal(plan);
  return plan;
}

Status check_fits(const Plan& plan, const CheckedProgram& program, const SourceMap& sources, const CheckOptions& options) {
  if (fits(plan)) return {};
  const LayoutSpec& layout = program.layout;
  std::string help;
  // Candidates from the smallest change on: a smaller micro_batch, a higher stage, then both.
  for (int stage = layout.zero_stage; stage <= 3 && help.empty(); ++stage) {
    if (stage > layout.zero_stage && layout.data_ranks() == 1) break;
    for (std::int64_t rows = layout.micro_batch; rows >= 1 && help.empty(); rows = rows > 1 ? rows / 2 : 0) {
      std::int64_t local = program.train.batch / layout.data_ranks();
      if (local % rows != 0 || (stage == layout.zero_stage && rows == layout.micro_batch)) continue;
      CheckedProgram candidate = program;
      candidate.layout.zero_stage = stage;
      candidate.layout.stage_auto = false;
      candidate.layout.micro_batch = rows;
      if (!fits(compile_one(candidate, sources, options, plan.target, nullptr))) continue;
      if (rows != layout.micro_batch) help += "`micro_batch " + std::to_string(rows) + "`";
      if (stage != layout.zero_stage) help += std::string(help.empty() ? "" : " with ") + "`zero " + std::to_string(stage) + "`";
      help += " fits";
    }
  }
  if (help.empty()) help = "no ZeRO stage and micro_batch of this layout fits; use more ranks or a smaller model";
  return Error{str(Code::does_not_fit),
               "layout `" + layout.name + "` needs " + with_commas(plan.memory.device_arena.value) + " B on each rank; " + plan.target.name +
                   " has " + with_commas(plan.target.capacity.value) + " B",
               help};
}

}  // namespace dsc
