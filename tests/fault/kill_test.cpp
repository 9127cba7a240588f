// Kill -9 at seeded moments of a run that writes a checkpoint every other step: before a call to the system, in the middle
// of a write, or from outside at any time. A resumed run gives the undisturbed one's losses, norms and checkpoint, bit for
// bit. DSC_FAULT_CAMPAIGN=full makes it 200 kills.
#include <algorithm>
#include <random>

#include "tests/fault/fault_run.h"
#include "tests/fault/fault_table.h"

namespace dsc_fault {
namespace {

constexpr const char* kCalls = "open,write,sync,rename,unlink,mkdir,list";

// The calls that a run makes in its folder, from 1, and which of them are about its checkpoints.
struct Moments {
  std::int64_t calls = 0;
  std::vector<std::int64_t> writes, of_checkpoints;
  std::chrono::microseconds length{0};
};

class Kills : public FaultRuns {
 protected:
  Moments moments(int ranks) {
    const std::string out = "count" + std::to_string(ranks);
    Moments found;
    for (const std::string& line : calls_of(train(out, ranks), kCalls, out + "/")) {
      ++found.calls;
      if (line.find(" write ") != std::string::npos) found.writes.push_back(found.calls);
      if (line.find("/checkpoints/") != std::string::npos) found.of_checkpoints.push_back(found.calls);
    }
    discard(out);
    const auto begun = std::chrono::steady_clock::now();
    undisturbed(ranks);
    found.length = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begun);
    return found;
  }

  // One kill of the run in `out`; whether it fell into the writing of a checkpoint.
  bool kill_once(const std::string& out, int ranks, const std::string& more, const Moments& moments, std::mt19937& random) {
    Launch how;
    how.arguments = train(out, ranks, more);
    const bool outside = random() % 4 == 0;
    if (outside) {
      how.killed_after = std::chrono::microseconds(random() % moments.length.count());
    } else {
      const auto& in_checkpoints = moments.of_checkpoints;
      const std::int64_t call = random() % 2 ? in_checkpoints[random() % in_checkpoints.size()]
                                             : 1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(moments.calls));
      const bool write = std::binary_search(moments.writes.begin(), moments.writes.end(), call);
      how.fault = std::string(kCalls) + " " + out + "/ " + std::to_string(call) + (write && random() % 2 ? " tear" : " kill");
    }
    const Ended ended = launch(how);
    // A run that ends before its moment, as a resumed one may, is not killed.
    EXPECT_TRUE(ended.status == 137 || ended.status == 0) << ended.status << ": " << ended.output;
    kills_ += ended.status == 137;
    if (ended.status != 137) return false;
    if (!outside) return ended.calls.back().find("/checkpoints/") != std::string::npos;
    return fs::exists(at(out) / "checkpoints" / ".writing") || fs::exists(at(out) / "checkpoints" / ".discarded");
  }

  int kills_ = 0;
};

TEST_F(Kills, resume_to_the_undisturbed_result) {
  const int wanted = full_campaign() ? 200 : 20;
  const std::map<int, Moments> of = {{1, moments(1)}, {4, moments(4)}};
  std::mt19937 random(20);
  int inside = 0, killed = 0;
  for (int run = 0; killed < wanted; ++run) {
    ASSERT_LT(run, 2 * wanted) << "too many runs end before they are killed";
    const int ranks = run % 2 ? 4 : 1;
    const std::string out = "killed" + std::to_string(run);
    const int before = kills_;
    inside += kill_once(out, ranks, "", of.at(ranks), random);
    // Every fifth is killed once more while it resumes.
    if (run % 5 == 4) inside += kill_once(out, ranks, "--resume", of.at(ranks), random);
    ASSERT_TRUE(resumes(out, ranks)) << out;
    killed += kills_ > before;
    discard(out);
  }
  std::printf("runs killed: %d (%d kills, %d of them inside the writing of a checkpoint), resumed to the same bits: %d\n", killed, kills_,
              inside, killed);
  EXPECT_GE(4 * inside, kills_);
  note("SIGKILL at seeded calls and times", kills_, "resumes to the same bits");
}

}  // namespace
}  // namespace dsc_fault
