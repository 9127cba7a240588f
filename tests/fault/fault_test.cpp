// Faults from outside, on the built dsc: each ends with one clear error and the exit status of its kind, nothing that was
// saved is lost, and a resumed run gives the figures of one that was left alone.
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdio>
#include <random>
#include <sstream>

#include "tests/support/run_dsc.h"

namespace {
using namespace dsc_test;
using nlohmann::json;
namespace fs = std::filesystem;

const char* const kProgram = R"(use std.gpt2
data {
  train    = text("text.txt", tokenizer: bytes)
  sequence = 32
  order    = shuffled
}
train {
  model     = gpt2(vocab: 128, context: 32, layers: 2, width: 48, heads: 2)
  steps     = 40
  batch     = 8
  optimizer = adamw(lr: constant(1e-3))
  precision = fp32
  clip_norm = 1.0
  seed      = 3
  checkpoint every 5 to "run"
}
layout zero3 { mesh (data: auto) split batch over data zero 3 over data { persist_below: 0 } }
)";

class Fault : public ::testing::Test {
 protected:
  Fault() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "line " + std::to_string(i) + ": the square is " + std::to_string(i * i) + "\n";
    write_file(folder_.path() / "text.txt", text);
    write_file(folder_.path() / "model.dsm", kProgram);
  }

  // A bash script in the folder, $dsc being the program.
  Finished script(const std::string& text) const {
    write_file(folder_.path() / "script.sh", "cd '" + folder_.path().string() + "'\ndsc='" + DSC_BINARY_DIR + "/compiler/driver/dsc'\n" + text);
    FILE* pipe = popen(("bash '" + (folder_.path() / "script.sh").string() + "' 2>&1 </dev/null").c_str(), "r");
    if (pipe == nullptr) return {127, "popen failed"};
    Finished finished;
    char block[4096];
    for (std::size_t n; (n = std::fread(block, 1, sizeof block, pipe)) > 0;) finished.output.append(block, n);
    const int status = pclose(pipe);
    finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return finished;
  }

  Finished train(const std::string& out, const std::string& more = "") const {
    return run_dsc("train model.dsm --gpus 2 --out " + out + " " + more, folder_.path());
  }

  // Losses and norms of every step, and the final state.
  std::string result(const std::string& out) const {
    std::string text;
    for (const json& step : step_metrics(folder_.path() / out))
      text += step["step"].dump() + " " + step["loss"].dump() + " " + step["grad_norm"].dump() + "\n";
    return text + final_state(folder_.path() / out);
  }

  void expect_resumes_like(const std::string& out, const std::string& whole) const {
    const Finished rest = train(out, "--resume");
    ASSERT_EQ(rest.status, 0) << rest.output;
    EXPECT_EQ(result(out), result(whole));
  }

  ScratchFolder folder_;
};

TEST_F(Fault, signals_end_with_a_checkpoint_and_their_status) {
  ASSERT_EQ(train("whole").status, 0);
  for (const auto& [name, status] : {std::pair<std::string, int>{"INT", 130}, {"TERM", 143}}) {
    // A background job of a script ignores SIGINT, so the run is the script's foreground and the killer its background.
    const Finished stopped = script("(while [ ! -s " + name + "/metrics.jsonl ]; do sleep 0.02; done; kill -" + name +
                                    " $(cat pid)) &\n(echo $BASHPID > pid; exec $dsc train model.dsm --gpus 2 --out " + name +
                                    ")\nstatus=$?\nwait\nexit $status\n");
    const std::size_t done = step_metrics(folder_.path() / name).size();
    if (stopped.status == 0) {
      EXPECT_EQ(done, 40u);  // it had ended before
    } else {
      EXPECT_EQ(stopped.status, status) << stopped.output;
      EXPECT_NE(stopped.output.find("--resume"), std::string::npos) << stopped.output;
    }
    expect_resumes_like(name, "whole");
  }
}

TEST_F(Fault, a_killed_run_resumes_to_the_same_result) {
  ASSERT_EQ(train("whole").status, 0);
  std::mt19937 random(11);
  for (int i = 0; i < 6; ++i) {
    const std::string out = "kill" + std::to_string(i);
    char seconds[16];
    std::snprintf(seconds, sizeof seconds, "0.%03d", static_cast<int>(random() % 900));
    script("$dsc train model.dsm --gpus 2 --out " + out + " & run=$!\nwhile [ ! -s " + out + "/metrics.jsonl ] && kill -0 $run; do sleep 0.01; done\nsleep " +
           seconds + "\nkill -9 $run\nwait $run\n");
    expect_resumes_like(out, "whole");
  }
}

TEST_F(Fault, a_damaged_checkpoint_is_passed_over) {
  ASSERT_EQ(train("whole").status, 0);
  ASSERT_EQ(train("a", "--steps 20").status, 0);
  const fs::path newest = folder_.path() / "a" / "checkpoints" / "step-00000020" / "state.bin";
  fs::resize_file(newest, fs::file_size(newest) / 2);
  const Finished rest = train("a", "--resume");
  ASSERT_EQ(rest.status, 0) << rest.output;
  EXPECT_NE(rest.output.find("step-00000020"), std::string::npos) << rest.output;
  EXPECT_NE(rest.output.find("resumed at step 15"), std::string::npos) << rest.output;
  EXPECT_EQ(result("a"), result("whole"));
}

TEST_F(Fault, a_file_system_that_refuses_writes) {
  ASSERT_EQ(train("whole").status, 0);
  ASSERT_EQ(train("a", "--steps 10").status, 0);
  // With SIGXFSZ ignored, a write past the limit fails as one on a full disk does.
  const Finished refused = script("trap '' XFSZ\nulimit -f 32\n$dsc train model.dsm --gpus 2 --out a --resume\n");
  EXPECT_EQ(refused.status, 1) << refused.output;
  EXPECT_NE(refused.output.find("error[DSM"), std::string::npos) << refused.output;
  EXPECT_EQ(refused.output.find("error[DSM"), refused.output.rfind("error[DSM")) << "one error: " << refused.output;
  expect_resumes_like("a", "whole");
}

TEST_F(Fault, an_output_directory_that_cannot_be_made) {
  write_file(folder_.path() / "file", "");
  const Finished refused = train("file/run");
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.output.find("error[DSM0952]: cannot make the output directory file/run"), std::string::npos) << refused.output;
}

TEST_F(Fault, data_that_shrink_under_the_run) {
  const Finished stopped = script("(while [ ! -s a/metrics.jsonl ]; do sleep 0.02; done; truncate -s 100 text.txt) &\n"
                                  "$dsc train model.dsm --gpus 2 --set train.steps=100000 --out a\nexit $?\n");
  EXPECT_EQ(stopped.status, 1) << stopped.output;
  EXPECT_NE(stopped.output.find("error[DSM0905]"), std::string::npos) << stopped.output;
}

}  // namespace
