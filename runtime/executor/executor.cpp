#include "runtime/executor/executor.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>

#include "compiler/support/check.h"
#include "runtime/executor/loaded_program.h"
#include "runtime/executor/scheduler.h"

namespace dsc {
namespace {

class CpuExecutor : public Executor {
 public:
  CpuExecutor(std::vector<std::unique_ptr<LoadedProgram>> programs, ProfileKinds kinds, ExecutorOptions options, std::size_t ranks)
      : programs_(std::move(programs)), kinds_(std::move(kinds)) {
    std::size_t largest = 0;
    for (const auto& program : programs_) largest = std::max(largest, program->largest_section);
    threads_ = options.threads > 0 ? options.threads : affinity_cores();
    scheduler_ = std::make_unique<Scheduler>(std::move(options), threads_, ranks, largest, kinds_.list.size());
  }

  Status start() { return scheduler_->start(threads_); }

  Status run(std::size_t program) override {
    DSC_CHECK(program < programs_.size(), "no such program");
    return scheduler_->run(*programs_[program]);
  }
  int threads() const override { return scheduler_->threads(); }

  Profile profile() const override {
    Profile profile;
    for (const auto& [engine, kind] : kinds_.list) profile.rows.push_back({engine, kind, 0, 0, 0, 0});
    scheduler_->add_to(profile);
    double busy = 0;
    for (const ProfileRow& row : profile.rows) busy += row.busy_seconds;
    profile.idle_seconds = std::max(0.0, profile.wall_seconds * profile.threads - busy);
    std::erase_if(profile.rows, [](const ProfileRow& row) { return row.count == 0; });
    std::stable_sort(profile.rows.begin(), profile.rows.end(),
                     [](const ProfileRow& a, const ProfileRow& b) { return a.busy_seconds > b.busy_seconds; });
    return profile;
  }

 private:
  std::vector<std::unique_ptr<LoadedProgram>> programs_;
  ProfileKinds kinds_;
  int threads_ = 0;
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace

Result<std::unique_ptr<Executor>> Executor::load(const Plan& plan, const std::vector<std::byte*>& arenas, ExecutorOptions options) {
  DSC_CHECK(static_cast<std::int64_t>(arenas.size()) == plan.contract.layout.world_size(), "one arena a rank");
  std::vector<std::unique_ptr<LoadedProgram>> programs;
  ProfileKinds kinds;
  for (const Program& program : plan.programs) {
    Result<std::unique_ptr<LoadedProgram>> loaded = load_program(plan, program, arenas, kinds);
    if (!loaded) return loaded.error();
    programs.push_back(std::move(*loaded));
  }
  auto executor = std::make_unique<CpuExecutor>(std::move(programs), std::move(kinds), std::move(options), arenas.size());
  if (Status status = executor->start(); !status) return status.error();
  return std::unique_ptr<Executor>(std::move(executor));
}

int affinity_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

std::vector<std::string> to_lines(const Profile& profile) {
  std::vector<std::string> lines;
  char line[256];
  const double worker_seconds = std::max(profile.wall_seconds * profile.threads, 1e-12);
  const auto runs = static_cast<double>(std::max<std::int64_t>(profile.runs, 1));
  std::snprintf(line, sizeof line, "%lld program runs on %d workers, %.3f s in all; milliseconds of workers and counts are per run",
                static_cast<long long>(profile.runs), profile.threads, profile.wall_seconds);
  lines.push_back(line);
  std::snprintf(line, sizeof line, "%-14s %-24s %9s %11s %7s %11s %13s", "engine", "instruction", "count", "busy ms", "share",
                "waiting ms", "GFLOP/s/core");
  lines.push_back(line);
  double flops = 0, busy_in_products = 0;
  for (const ProfileRow& row : profile.rows) {
    char rate[32] = "";
    if (row.flops > 0) {
      std::snprintf(rate, sizeof rate, "%.1f", row.flops / std::max(row.busy_seconds, 1e-12) * 1e-9);
      flops += row.flops;
      busy_in_products += row.busy_seconds;
    }
    std::snprintf(line, sizeof line, "%-14s %-24s %9.1f %11.3f %6.1f%% %11.3f %13s", name_of(row.engine), row.kind.c_str(),
                  static_cast<double>(row.count) / runs, row.busy_seconds * 1e3 / runs, 100 * row.busy_seconds / worker_seconds,
                  row.waiting_seconds * 1e3 / runs, rate);
    lines.push_back(line);
  }
  std::snprintf(line, sizeof line, "%-14s %-24s %9s %11.3f %6.1f%%", "workers", "idle", "", profile.idle_seconds * 1e3 / runs,
                100 * profile.idle_seconds / worker_seconds);
  lines.push_back(line);
  if (flops > 0) {
    std::snprintf(line, sizeof line, "products and attention: %.1f GFLOP/s inside, %.1f GFLOP/s over the whole time, all cores",
                  flops / std::max(busy_in_products, 1e-12) * profile.threads * 1e-9, flops / std::max(profile.wall_seconds, 1e-12) * 1e-9);
    lines.push_back(line);
  }
  return lines;
}

}  // namespace dsc
