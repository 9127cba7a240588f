// An error at each call by which a run writes: in a checkpoint, and in the files beside it. Either the run goes on, where
// that is right, or it ends with one error; what was saved before stays, and a resumed run gives the undisturbed result.
#include <set>

#include "tests/fault/fault_run.h"
#include "tests/fault/fault_table.h"

namespace dsc_fault {
namespace {

constexpr const char* kCalls = "open,write,sync,rename,unlink,mkdir,list";

struct Call {
  std::int64_t number = 0;
  std::string name, path;
  bool lists = false;  // opens a folder to list or empty it, not to sync it
};

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

class WriteFaults : public FaultRuns {
 protected:
  std::vector<Call> all_calls(int ranks) {
    const std::string out = "count" + std::to_string(ranks);
    std::vector<Call> calls;
    for (const std::string& line : calls_of(train(out, ranks), kCalls, out + "/")) {
      const std::size_t name = line.find(' ', 2) + 1, path = line.find(' ', name) + 1;
      calls.push_back({static_cast<std::int64_t>(calls.size()) + 1, line.substr(name, path - name - 1), line.substr(path)});
    }
    for (std::size_t i = 0; i + 1 < calls.size(); ++i)
      calls[i].lists = calls[i].name == "open" && !has(calls[i].path, ".json") && !has(calls[i].path, ".bin") && calls[i + 1].name != "sync";
    discard(out);
    return calls;
  }

  // Those from the fourth checkpoint's beginning to the fifth's: the first that deletes an old one, and steps behind it.
  std::vector<Call> calls_of_one_checkpoint(int ranks) {
    std::vector<Call> list;
    int begun = 0;
    for (const Call& call : all_calls(ranks)) {
      begun += call.name == "mkdir" && has(call.path, "/.writing");
      if (begun == 4) list.push_back(call);
    }
    EXPECT_GE(list.size(), 20u);
    return list;
  }

  // Runs with the fault at `call`, then resumes. Deleting an old checkpoint may fail, and `harmless` faults are retried.
  void inject(const Call& call, int ranks, const std::string& action, bool harmless) {
    const std::string out = "hurt", code = has(call.path, "checkpoints") ? "DSM0801" : "DSM0952";
    const std::string plus = action.back() == '+' ? "+" : "";
    const std::string bare = plus.empty() ? action : action.substr(0, action.size() - 1);
    const Ended ended = launch({train(out, ranks), std::string(kCalls) + " " + out + "/ " + std::to_string(call.number) + plus + " " + bare});
    ASSERT_FALSE(ended.calls.empty()) << "not reached";
    const bool deletes = call.lists || has(call.path, ".discarded") || call.name == "unlink" || call.name == "list";
    if (harmless || (deletes && plus.empty())) {
      EXPECT_EQ(ended.status, 0) << action << " at " << call.name << " " << call.path << ": " << ended.output;
      EXPECT_TRUE(undisturbed_result(out, ranks)) << action << " at " << call.name << " " << call.path;
    } else {
      // A disk that stays full may let the checkpoint pass and refuse the next line of metrics.
      EXPECT_TRUE(one_error(ended, code) || (!plus.empty() && one_error(ended, "DSM0952")))
          << action << " at " << call.name << " " << call.path << ended.output;
    }
    EXPECT_TRUE(resumes(out, ranks)) << action << " at " << call.name << " " << call.path;
    discard(out);
  }

  // `action` at each of the calls named `name`, every step-th of them.
  void at_each(const std::vector<Call>& calls, const std::set<std::string>& names, int ranks, const std::string& action,
               std::int64_t step, const std::string& kind, const std::string& outcome, bool harmless = false) {
    std::int64_t injected = 0, matching = 0;
    for (const Call& call : calls) {
      if (!names.count(call.name) || matching++ % step != 0) continue;
      inject(call, ranks, action, harmless);
      ++injected;
    }
    note(kind, injected, outcome);
  }
};

const std::string kEnds = "one error; older checkpoints stay; resumes to the same bits";
const std::string kGoesOn = "goes on to the same bits";

TEST_F(WriteFaults, errors_at_each_call_of_a_checkpoint) {
  const std::vector<Call> calls = calls_of_one_checkpoint(1);
  for (const char* error : {"ENOSPC", "EIO"}) {
    const std::string fail = std::string("fail:") + error, at = std::string(error) + " at ";
    at_each(calls, {"open"}, 1, fail, stride(5), at + "open", kEnds);
    at_each(calls, {"write"}, 1, fail, stride(40), at + "write", kEnds);
    at_each(calls, {"sync"}, 1, fail, stride(3), at + "fsync, files and folders", kEnds);
    at_each(calls, {"rename"}, 1, fail, stride(1), at + "rename", kEnds + "; of an old checkpoint: goes on");
    at_each(calls, {"mkdir"}, 1, fail, stride(1), at + "mkdir", kEnds);
  }
  at_each(calls, {"open"}, 1, "fail:EMFILE", stride(5), "EMFILE at open", kEnds);
  at_each(calls, {"open", "mkdir", "rename"}, 1, "fail:EROFS", stride(5), "EROFS at open, mkdir, rename", kEnds);
  at_each(calls, {"write"}, 1, "fail:EDQUOT", stride(60), "EDQUOT at write", kEnds);
  at_each(calls, {"unlink", "list"}, 1, "fail:EIO", stride(4), "EIO while an old checkpoint is deleted", kGoesOn);
}

TEST_F(WriteFaults, a_disk_that_is_full_from_one_call_on) {
  const std::vector<Call> calls = calls_of_one_checkpoint(1);
  at_each(calls, {"open", "write", "sync", "mkdir"}, 1, "fail:ENOSPC+", stride(30), "the disk is full from a call on", kEnds);
}

TEST_F(WriteFaults, errors_at_each_call_of_several_ranks) {
  const std::vector<Call> calls = calls_of_one_checkpoint(4);
  at_each(calls, {"open", "write", "sync", "rename", "mkdir"}, 4, "fail:ENOSPC", stride(70), "ENOSPC at each call, ZeRO-3, 4 ranks", kEnds);
}

TEST_F(WriteFaults, interruptions_are_retried) {
  const std::vector<Call> calls = calls_of_one_checkpoint(1);
  at_each(calls, {"open", "write", "sync"}, 1, "fail:EINTR", stride(30), "EINTR at open, write, fsync", kGoesOn, true);
  at_each(calls, {"write"}, 1, "short", stride(30), "short write", kGoesOn, true);
}

// plan.json, run.json, metrics.jsonl, as a run begins and as it ends.
TEST_F(WriteFaults, errors_at_each_call_beside_the_checkpoints) {
  std::vector<Call> calls;
  for (const Call& call : all_calls(1))
    if (!has(call.path, "checkpoints") && call.name != "list") calls.push_back(call);
  for (const char* file : {"plan.json", "run.json", "metrics.jsonl"}) {
    std::vector<Call> of_file;
    for (const Call& call : calls)
      if (has(call.path, file)) of_file.push_back(call);
    at_each(of_file, {"open", "write", "sync", "rename"}, 1, "fail:ENOSPC", stride(9), std::string("ENOSPC, ") + file, kEnds);
    at_each(of_file, {"open", "write", "sync"}, 1, "fail:EINTR", stride(9), std::string("EINTR, ") + file, kGoesOn, true);
  }
}

TEST_F(WriteFaults, exports) {
  ASSERT_EQ(launch({train("run", 1)}).status, 0);
  const auto exported = [&](const std::string& out) {
    return dsc_test::read_file(at(out) / "model.safetensors") + dsc_test::read_file(at(out) / "config.json");
  };
  ASSERT_EQ(launch({"export run -o good"}).status, 0);
  const std::int64_t calls = static_cast<std::int64_t>(calls_of("export run -o count", kCalls, "count").size());
  std::int64_t injected = 0;
  for (std::int64_t call = 1; call <= calls; call += stride(8), ++injected) {
    const Ended ended = launch({"export run -o hurt", std::string(kCalls) + " hurt " + std::to_string(call) + " fail:ENOSPC"});
    EXPECT_TRUE(one_error(ended, "DSM0821")) << ended.calls.back();
    // What has its name is whole.
    const std::string written = dsc_test::read_file(at("hurt") / "model.safetensors");
    EXPECT_TRUE(written.empty() || written == dsc_test::read_file(at("good") / "model.safetensors"));
    EXPECT_EQ(launch({"export run -o hurt"}).status, 0);
    EXPECT_TRUE(exported("hurt") == exported("good"));
    discard("hurt");
  }
  note("ENOSPC at each call of an export", injected, "one error; no torn file under its name; works when repeated");
}

}  // namespace
}  // namespace dsc_fault
