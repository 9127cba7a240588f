// What surrounds a run goes wrong: signals, data, memory, threads, its output and its streams, another run beside it.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <random>
#include <stdexcept>

#include "compiler/driver/pipeline.h"
#include "runtime/run.h"
#include "tests/fault/fault_run.h"
#include "tests/fault/fault_table.h"

namespace dsc_fault {
namespace {

constexpr const char* kCalls = "open,write,sync,rename,unlink,mkdir";

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class Surroundings : public FaultRuns {
 protected:
  std::int64_t count(const std::string& arguments, const std::string& calls, const std::string& path, const std::string& out) {
    const auto number = static_cast<std::int64_t>(calls_of(arguments, calls, path).size());
    discard(out);
    EXPECT_GT(number, 0);
    return number;
  }

  // `rules` joined by ';', "@" in them a seeded call of the run in "s", "#" one a few calls later.
  void signalled(const std::string& kind, const std::string& rules, int status, std::uint32_t seed) {
    std::mt19937 random(seed);
    const int ranks = 2;
    const std::int64_t calls = count(train("s", ranks), kCalls, "s/", "s");
    const int moments = full_campaign() ? 25 : 2;
    for (int i = 0; i < moments; ++i) {
      const std::int64_t first = 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(calls - 1));
      std::string text = rules;
      for (std::size_t at; (at = text.find('@')) != std::string::npos;) text.replace(at, 1, std::to_string(first));
      for (std::size_t at; (at = text.find('#')) != std::string::npos;)
        text.replace(at, 1, std::to_string(first + 1 + static_cast<std::int64_t>(random() % 5)));
      const Ended ended = launch({train("s", ranks), text});
      // One that comes after the last step ends a run that is at its end.
      const bool complete = ended.status == 0 && result("s") == undisturbed(ranks);
      const bool stopped = ended.status == status && !ended.by_signal && has(ended.output, "go on with --resume");
      EXPECT_TRUE(complete || stopped) << ended.status << ended.output;
      EXPECT_NE(newest_checkpoint("s"), "no checkpoint");
      EXPECT_TRUE(resumes("s", ranks)) << text;
      discard("s");
    }
    note(kind, moments, "finishes the step, a checkpoint, exit " + std::to_string(status) + "; resumes to the same bits");
  }
};

std::string rule(const std::string& place, int number) { return std::string(kCalls) + " s/ " + place + " signal:" + std::to_string(number); }

TEST_F(Surroundings, signals) {
  signalled("SIGINT at seeded calls", rule("@", SIGINT), 130, 1);
  signalled("SIGTERM at seeded calls", rule("@", SIGTERM), 143, 2);
  signalled("SIGHUP at seeded calls", rule("@", SIGHUP), 129, 3);
  signalled("SIGINT twice", rule("@", SIGINT) + ";" + rule("#", SIGINT), 130, 4);
}

TEST_F(Surroundings, data_that_cannot_be_read) {
  const std::int64_t reads = count(train("d", 2), "read", "text.txt", "d");
  std::int64_t injected = 0;
  for (std::int64_t call = 1; call <= reads; call += full_campaign() ? std::max<std::int64_t>(1, reads / 40) : reads / 3, ++injected) {
    EXPECT_TRUE(one_error(launch({train("d", 2), "read text.txt " + std::to_string(call) + " fail:EIO"}), "DSM0901"));
    EXPECT_TRUE(resumes("d", 2));
    discard("d");
  }
  note("EIO at a read of the data", injected, "one error; resumes to the same bits");
  for (const char* error : {"EACCES", "EMFILE", "EIO"})
    EXPECT_TRUE(one_error(launch({train("d", 2), std::string("open text.txt 1+ fail:") + error}), "DSM0901")) << error;
  note("data that cannot be opened", 3, "one error");
  for (const char* action : {"fail:EINTR", "short"}) {
    for (const std::int64_t call : {std::int64_t{1}, reads / 2, reads}) {
      EXPECT_EQ(launch({train("d", 2), "read text.txt " + std::to_string(call) + " " + action}).status, 0);
      EXPECT_TRUE(undisturbed_result("d", 2));
      discard("d");
    }
    note(std::string("reads of the data: ") + (action[0] == 's' ? "short" : "EINTR"), 3, "goes on to the same bits");
  }
}

TEST_F(Surroundings, data_that_change_under_the_run) {
  const std::string whole = dsc_test::read_file(at("text.txt")), file = at("text.txt").string();
  const std::int64_t reads = count(train("d", 2), "read", "text.txt", "d");
  std::int64_t injected = 0;
  // From the third read on, the file has been opened, scanned and hashed; the cut falls right before the reading call.
  for (std::int64_t call = 3; call <= reads; call += full_campaign() ? std::max<std::int64_t>(1, reads / 30) : reads / 3, ++injected) {
    EXPECT_TRUE(one_error(launch({train("d", 2), "read text.txt " + std::to_string(call) + " cut:" + file}), "DSM0905"));
    dsc_test::write_file(at("text.txt"), whole);
    EXPECT_TRUE(resumes("d", 2));
    discard("d");
  }
  note("data that shrink between check and read", injected, "one error; resumes to the same bits");
  EXPECT_EQ(launch({train("d", 2), "write d/metrics.jsonl 5 remove:" + file}).status, 0);
  EXPECT_TRUE(undisturbed_result("d", 2));
  EXPECT_TRUE(one_error(launch({train("d", 2, "--resume")}), "DSM0900"));
  dsc_test::write_file(at("text.txt"), whole);
  EXPECT_TRUE(resumes("d", 2));
  note("data removed under the run", 1, "ends well; a resume without them is one error");
}

TEST_F(Surroundings, memory_that_is_refused) {
  const std::int64_t maps = count(train("m", 2), "map", "anonymous", "m");
  std::int64_t injected = 0;
  for (std::int64_t call = 1; call <= maps; call += stride(maps / 4 + 1), ++injected) {
    const Ended ended = launch({train("m", 2), "map anonymous " + std::to_string(call) + " fail:ENOMEM"});
    // The first few belong to a library that makes do without.
    EXPECT_TRUE(ended.status == 0 || one_error(ended, "DSM0950")) << call << " of " << maps << ": " << ended.status << ended.output;
    EXPECT_TRUE(resumes("m", 2));
    discard("m");
  }
  note("ENOMEM at a mapping", injected, "one error; nothing is left half done");
}

std::function<void()> address_space(std::int64_t kibibytes) {
  return [kibibytes] {
    const rlimit limit = {static_cast<rlim_t>(kibibytes) << 10, static_cast<rlim_t>(kibibytes) << 10};
    setrlimit(RLIMIT_AS, &limit);
  };
}

// From the least address space in which dsc begins at all, to what a run needs.
TEST_F(Surroundings, address_space_that_is_limited) {
  std::int64_t too_small = 1 << 10, enough = 1 << 20;
  while (enough - too_small > 100) {
    const std::int64_t middle = (too_small + enough) / 2;
    (launch({"--version", "", address_space(middle)}).status == 0 ? enough : too_small) = middle;
  }
  std::int64_t refused = 0, ended = 0;
  for (std::int64_t limit = enough; ended < 2; limit += full_campaign() ? 1000 : 12000) {
    const Ended run = launch({train("m", 8), "", address_space(limit)});
    EXPECT_TRUE(run.status == 0 || one_error(run, "DSM0950") || one_error(run, "DSM0955")) << limit << " KiB: " << run.status << run.output;
    EXPECT_TRUE(run.status != 0 || undisturbed_result("m", 8));
    ASSERT_LT(limit, enough + (1 << 20)) << "no limit lets it end";
    ++(run.status == 0 ? ended : refused);
    discard("m");
  }
  note("address space limited", refused, "one error");
}

TEST_F(Surroundings, threads_that_are_refused) {
  for (const int number : {1, 2}) {
    const Ended ended = launch({train("t", 2), "thread thread " + std::to_string(number) + " fail:EAGAIN"});
    EXPECT_TRUE(one_error(ended, "DSM0955"));
    EXPECT_TRUE(has(ended.output, "worker thread " + std::to_string(number) + " of 2")) << ended.output;
    EXPECT_TRUE(resumes("t", 2));
    discard("t");
  }
  note("EAGAIN when a thread starts", 2, "one error; resumes to the same bits");
}

// In this process: a worker that throws in the middle of a tile of one rank's program.
TEST_F(Surroundings, a_rank_program_that_fails) {
  dsc::CheckOptions check;
  check.gpus = 4;
  check.folder = folder_.path().string();
  dsc::Result<dsc::Checked> checked = dsc::check_file(at("model.dsm").string(), check);
  ASSERT_TRUE(checked && checked->program);
  dsc::Result<dsc::Plan> plan = dsc::compile(*checked->program, checked->sources, check, dsc::machine_target(4));
  ASSERT_TRUE(plan);
  std::mt19937 random(5);
  const int times = full_campaign() ? 20 : 2;
  for (int i = 0; i < times; ++i) {
    const int failing = static_cast<int>(random() % 4);
    std::atomic<int> left = 1 + static_cast<int>(random() % 2000);
    dsc::TrainOptions options;
    options.out = at("w");
    options.threads = 2;
    options.before_tile = [&](const dsc::Instruction&, std::int64_t rank) {
      if (rank == failing && --left == 0) throw std::runtime_error("a fault");
    };
    const dsc::Result<dsc::TrainOutcome> outcome = dsc::train(*plan, options);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code, "DSM0955");
    EXPECT_TRUE(has(outcome.error().message, "a fault")) << outcome.error().message;
    EXPECT_TRUE(resumes("w", 4));
    discard("w");
  }
  note("a worker fails in a rank's program", times, "one error; resumes to the same bits");
}

TEST_F(Surroundings, output_directories) {
  dsc_test::write_file(at("file"), "");
  EXPECT_TRUE(one_error(launch({train("file", 2)}), "DSM0952"));
  EXPECT_TRUE(one_error(launch({train("file/run", 2)}), "DSM0952"));
  note("the output directory is a file, or in one", 2, "one error");
  EXPECT_TRUE(one_error(launch({train("o", 2), "mkdir * 1 fail:EROFS"}), "DSM0952"));
  EXPECT_TRUE(one_error(launch({train("o", 2), "mkdir,open o/ 1+ fail:EROFS"}), "DSM0952"));
  EXPECT_TRUE(resumes("o", 2));
  note("a file system that is read-only", 2, "one error; resumes once it can be written");
  discard("o");
  fs::create_directories(at("o"));
  dsc_test::write_file(at("o") / "checkpoints", "");
  EXPECT_TRUE(one_error(launch({train("o", 2)}), "DSM0951"));
  EXPECT_TRUE(one_error(launch({train("o", 2, "--resume")}), "DSM0802"));
  fs::remove(at("o") / "checkpoints");
  EXPECT_TRUE(resumes("o", 2));
  note("a file where checkpoints should be", 2, "one error");
}

TEST_F(Surroundings, a_second_run_in_the_same_directory) {
  Launch first{train("b", 2), "open b/checkpoints/.writing 3 signal:" + std::to_string(SIGSTOP)};
  first.while_stopped = [&] {
    EXPECT_TRUE(one_error(launch({train("b", 2)}), "DSM0951"));
    EXPECT_TRUE(one_error(launch({train("b", 2, "--resume")}), "DSM0951"));
  };
  EXPECT_EQ(launch(first).status, 0);
  EXPECT_TRUE(undisturbed_result("b", 2));
  note("a second run in the same directory at once", 2, "one error for the second; the first ends well");
}

// The read end of a pipe that is closed.
void broken_pipe_at(int descriptor) {
  int ends[2];
  if (pipe(ends) != 0) _exit(125);
  close(ends[0]);
  dup2(ends[1], descriptor);
  close(ends[1]);
}

TEST_F(Surroundings, streams) {
  EXPECT_EQ(launch({train("p", 2), "", [] { broken_pipe_at(1), broken_pipe_at(2); }}).status, 0);
  EXPECT_TRUE(undisturbed_result("p", 2));
  note("nobody reads the progress (SIGPIPE)", 1, "goes on to the same bits");
  EXPECT_EQ(launch({train("q", 2), "", [] { close(0), close(1), close(2); }}).status, 0);
  EXPECT_TRUE(undisturbed_result("q", 2));
  note("all three streams are closed", 1, "goes on to the same bits; no file is written into");
  EXPECT_EQ(launch({"sample p --tokens 3", "", [] { broken_pipe_at(1); }}).status, 128 + SIGPIPE);
  const auto full = [] { dup2(open("/dev/full", O_WRONLY), 1); };
  for (const char* arguments : {"sample p --tokens 3", "plan model.dsm --gpus 2", "explain model.dsm --gpus 2", "fmt model.dsm"})
    EXPECT_TRUE(one_error(launch({arguments, "", full}), "DSM0952")) << arguments;
  EXPECT_TRUE(undisturbed_result("p", 2));
  note("what is printed does not fit on the disk", 4, "one error");
}

}  // namespace
}  // namespace dsc_fault
