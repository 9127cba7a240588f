#include "runtime/run.h"

#include <algorithm>
#include <chrono>

#include "compiler/plan/plan_json.h"
#include "compiler/support/check.h"
#include "compiler/support/diagnostic_codes.h"
#include "runtime/arena/arena.h"
#include "runtime/arena/training_state.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/initial_state.h"
#include "runtime/data/batches.h"
#include "runtime/evaluate.h"
#include "runtime/exchange/huggingface.h"
#include "runtime/metrics/metrics_file.h"
#include "runtime/run_directory.h"
#include "runtime/signals.h"

namespace dsc {
namespace {

std::optional<std::size_t> program_named(const Plan& plan, const std::string& name) {
  for (std::size_t i = 0; i < plan.programs.size(); ++i)
    if (plan.programs[i].name == name) return i;
  return std::nullopt;
}

std::vector<std::byte*> bases(const std::vector<Arena>& arenas) {
  std::vector<std::byte*> list;
  for (const Arena& arena : arenas) list.push_back(arena.base());
  return list;
}

// One run: made ready by start(), then stepped through.
class Run {
 public:
  Run(const Plan& plan, const TrainOptions& options, std::vector<Arena> arenas, Batches batches, CheckpointIdentity identity)
      : plan_(plan), options_(options), train_(plan.contract.train), arenas_(std::move(arenas)), batches_(std::move(batches)),
        identity_(std::move(identity)), state_(plan, bases(arenas_)) {}

  Status start();
  Result<TrainOutcome> steps(HeldSignals& signals);

 private:
  Status begin_state();
  Status load_executor();
  Status write_facts();
  Status one_step(std::int64_t attempt);
  Status validate(std::int64_t step);
  Status checkpoint();
  Status check_status(const StateBlock& block, std::int64_t step) const;
  Status read(const RowsWanted& wanted);

  const Plan& plan_;
  const TrainOptions& options_;
  const TrainSpec& train_;
  std::vector<Arena> arenas_;
  Batches batches_;
  CheckpointIdentity identity_;
  TrainingState state_;
  RunFacts facts_;
  std::optional<Evaluator> evaluator_;
  std::unique_ptr<Executor> executor_;
  std::optional<MetricsFile> metrics_;
  std::optional<Progress> progress_;
  DataPosition position_;
  std::size_t step_program_ = 0;
  std::int64_t first_ = 0, last_ = 0;
  std::int64_t attempt_ = 0;           // the one that is running, for the reader
  std::int64_t checkpointed_at_ = -1;  // the newest checkpoint's step
  TrainOutcome outcome_;
};

Status Run::start() {
  const std::optional<std::size_t> step_program = program_named(plan_, "step");
  DSC_CHECK(step_program.has_value(), "a training plan without a step program");
  step_program_ = *step_program;
  if (Status status = begin_state(); !status) return status;
  last_ = std::max(first_, std::min(train_.steps, options_.steps.value_or(train_.steps)));
  if (const std::optional<std::size_t> evaluate = program_named(plan_, "evaluate"))
    evaluator_.emplace(plan_, *evaluate, bases(arenas_), batches_.validation_windows());
  if (Status status = load_executor(); !status) return status;
  if (Status status = save_plan(plan_, (options_.out / "plan.json").string()); !status)
    return Error{str(Code::run_not_writable), status.error().message, "make room or choose another directory with --out"};
  if (Status status = write_facts(); !status) return status;
  Result<MetricsFile> metrics = MetricsFile::open(options_.out / "metrics.jsonl", first_);
  if (!metrics) return metrics.error();
  metrics_.emplace(std::move(*metrics));
  progress_.emplace(options_.sink, first_, last_);
  if (metrics_->missing() > 0)
    progress_->line("metrics.jsonl lacks " + with_commas(metrics_->missing()) + " of the " + with_commas(first_) +
                    " steps before: their lines were damaged or lost, the run itself is whole");
  return {};
}

Status Run::begin_state() {
  const auto say = [&](const std::string& line) { if (options_.sink.write) options_.sink.write(line + "\n"); };
  if (options_.resume) {
    Result<std::optional<Resumed>> resumed = resume(options_.out, identity_, state_);
    if (!resumed) return resumed.error();
    if (*resumed) {
      for (const std::string& line : (*resumed)->lines) say(line);
      set_aside_after(options_.out, (*resumed)->step);
      first_ = (*resumed)->step;
      position_ = (*resumed)->position;
      checkpointed_at_ = first_;
      say("resumed at step " + with_commas(first_));
      return {};
    }
    say("no checkpoint in " + options_.out.string() + " yet: starting at step 0");
  }
  initialise(plan_.contract, state_);
  if (train_.init_pretrained.empty()) return {};
  Result<std::vector<std::string>> notes = import_pretrained(plan_.contract, state_);
  if (!notes) return notes.error();
  for (const std::string& note : *notes) say(note);
  return {};
}

Status Run::load_executor() {
  ExecutorOptions options;
  options.threads = options_.threads;
  options.profile = options_.profile;
  options.before_tile = options_.before_tile;
  options.reader = [this](const RowsWanted& wanted) { return read(wanted); };
  Result<std::unique_ptr<Executor>> executor = Executor::load(plan_, bases(arenas_), std::move(options));
  if (!executor) return executor.error();
  executor_ = std::move(*executor);
  return {};
}

Status Run::write_facts() {
  std::vector<AddressRange> ranges;
  for (const Arena& arena : arenas_) {
    facts_.ranks.push_back({arena.mapped(), Bytes(0), Bytes(0)});
    ranges.push_back({arena.base(), arena.mapped()});
  }
  facts_.threads = executor_->threads();
  facts_.rest = resident_rest(ranges);
  facts_.data_bytes = batches_.data_bytes();
  return write_run_json(options_.out, plan_, facts_);
}

Status Run::read(const RowsWanted& wanted) {
  const std::int64_t row = batch_row(train_.batch, plan_.contract.layout.data_ranks(), plan_.contract.layout.micro_batch,
                                     wanted.data_rank, wanted.micro_batch, 0);
  if (wanted.validation)
    return batches_.read_validation(evaluator_->batch() * train_.batch + row, wanted.rows, wanted.tokens, wanted.targets);
  return batches_.read_train(position_.first_sequence(attempt_, train_.batch) + row, wanted.rows, wanted.tokens, wanted.targets);
}

Status Run::check_status(const StateBlock& block, std::int64_t step) const {
  if (block.status == static_cast<std::int32_t>(StepStatus::nonfinite))
    return Error{str(Code::not_finite),
                 "step " + std::to_string(step) + ": the loss or the gradient norm is not finite; the parameters are as before the step",
                 "lower the learning rate, set clip_norm, or `on_nonfinite = skip`"};
  if (block.status == static_cast<std::int32_t>(StepStatus::scale_at_minimum))
    return Error{str(Code::loss_scale_at_minimum),
                 "step " + std::to_string(step) + ": gradients overflow, and the loss scale is at its minimum already",
                 "lower `min` of the loss scale or the learning rate, or train in bf16"};
  return {};
}

Status Run::one_step(std::int64_t attempt) {
  attempt_ = attempt;
  const auto begun = std::chrono::steady_clock::now();
  if (Status status = executor_->run(step_program_); !status) return status;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  const StateBlock& block = state_.block();
  const std::int64_t sequence = plan_.contract.data.sequence;
  StepMetrics metrics;
  metrics.step = attempt + 1;
  metrics.loss = block.loss;
  metrics.lr = block.learning_rate;
  metrics.grad_norm = block.grad_norm;
  metrics.loss_scale = static_cast<double>(block.loss_scale);
  metrics.skipped = block.skip != 0;
  metrics.tokens = position_.first_sequence(attempt + 1, train_.batch) * sequence;
  metrics.step_seconds = seconds;
  metrics.tokens_per_second = static_cast<double>(train_.batch * sequence) / std::max(seconds, 1e-9);
  if (!outcome_.first_loss) outcome_.first_loss = metrics.loss;
  outcome_.last_loss = metrics.loss;
  if (Status status = metrics_->write(metrics); !status) return status;
  progress_->step(metrics);
  return check_status(block, metrics.step);
}

Status Run::validate(std::int64_t step) {
  Result<std::optional<Validation>> validation = evaluator_->run(*executor_);
  if (!validation) return validation.error();
  if (!*validation) {
    progress_->line("step " + std::to_string(step) + ": no validation loss, the validation data hold no whole batch");
    return {};
  }
  const ValidationMetrics metrics{step, (*validation)->loss, (*validation)->tokens};
  outcome_.validation_loss = metrics.val_loss;
  progress_->validation(metrics);
  return metrics_->write(metrics);
}

Status Run::checkpoint() {
  const std::int64_t step = state_.block().attempts;
  if (step == checkpointed_at_) return {};
  // First the lines up to here: a run resumed from this checkpoint does not write them again.
  if (Status status = metrics_->sync(); !status) return status;
  if (Status status = write_checkpoint(options_.out, identity_, state_, position_.first_sequence(step, train_.batch)); !status)
    return status;
  checkpointed_at_ = step;
  return {};
}

Result<TrainOutcome> Run::steps(HeldSignals& signals) {
  outcome_.first_step = outcome_.last_step = first_;
  if (first_ >= last_ && first_ > 0) progress_->line("all " + with_commas(last_) + " steps are done already");
  for (std::int64_t attempt = first_; attempt < last_; ++attempt) {
    if (Status status = one_step(attempt); !status) {
      progress_->finish();
      return status.error();
    }
    const std::int64_t step = attempt + 1;
    outcome_.last_step = step;
    // Validation first: once a checkpoint of this step is there, a resumed run does not come by here again.
    if (evaluator_ && train_.evaluate_every > 0 && step % train_.evaluate_every == 0)
      if (Status status = validate(step); !status) return progress_->finish(), status.error();
    if (train_.checkpoint_every > 0 && step % train_.checkpoint_every == 0)
      if (Status status = checkpoint(); !status) return progress_->finish(), status.error();
    if ((outcome_.signal = signals.arrived()) != 0) break;
  }
  if (Status status = checkpoint(); !status) return progress_->finish(), status.error();
  progress_->finish();
  if (options_.profile)
    for (const std::string& line : to_lines(executor_->profile())) progress_->line(line);
  if (Status status = write_run_json(options_.out, plan_, facts_); !status) return status.error();
  return outcome_;
}

}  // namespace

Result<TrainOutcome> train(const Plan& plan, const TrainOptions& options) {
  // Held from the start, so that a signal during start-up too ends the run with a checkpoint; workers inherit it.
  HeldSignals signals;
  Result<RunDirectory> directory = RunDirectory::open(options.out, options.resume);
  if (!directory) return directory.error();
  Result<Batches> batches = Batches::open(plan.contract.data, plan.contract.model.vocabulary, plan.contract.train.seed);
  if (!batches) return batches.error();
  Result<CheckpointIdentity> identity = checkpoint_identity(plan.contract, *batches);
  if (!identity) return identity.error();
  std::vector<Arena> arenas;
  for (std::int64_t rank = 0; rank < plan.contract.layout.world_size(); ++rank) {
    Result<Arena> arena = Arena::map(plan.memory.device_arena, "the arena of rank " + std::to_string(rank));
    if (!arena) return arena.error();
    arenas.push_back(std::move(*arena));
  }
  Run run(plan, options, std::move(arenas), std::move(*batches), std::move(*identity));
  if (Status status = run.start(); !status) return status.error();
  return run.steps(signals);
}

}  // namespace dsc
