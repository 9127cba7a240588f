// Files of a run directory cut short and with bits flipped, missing and in excess. A damaged checkpoint is named and the
// one before it used; other files are written again or refused with one error; nothing wrong is taken silently.
#include <random>

#include "tests/fault/fault_run.h"
#include "tests/fault/fault_table.h"

namespace dsc_fault {
namespace {

using dsc_test::read_file;

void put(const fs::path& path, const std::string& bytes) {
  fs::remove(path);
  dsc_test::write_file(path, bytes);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

constexpr const char* kNewest = "checkpoints/step-00000008/";
const std::string kOlder = "named and passed over; the one before it resumes to the same bits";

class Damage : public FaultRuns {
 protected:
  Damage() {
    // Eight steps of twelve, by two ranks: checkpoints 4, 6 and 8.
    EXPECT_EQ(launch({train("base", 2, "--steps 8")}).status, 0);
  }

  void fresh_copy() const {
    discard("hurt");
    fs::copy(at("base"), at("hurt"), fs::copy_options::recursive);
  }

  // 100 cuts or 100 flips of a file of `whole` bytes, a share of them in the short form.
  std::vector<std::string> cuts(const std::string& whole) const {
    std::vector<std::string> list;
    for (std::int64_t i = 0; i < 100; i += stride(50)) list.push_back(whole.substr(0, whole.size() * static_cast<std::size_t>(i) / 100));
    return list;
  }
  std::vector<std::string> flips(const std::string& whole, std::uint32_t seed) const {
    std::mt19937 random(seed);
    std::vector<std::string> list;
    for (std::int64_t i = 0; i < 100; i += stride(50)) {
      std::string hurt = whole;
      char& byte = hurt[random() % hurt.size()];
      byte = static_cast<char>(byte ^ (1 << random() % 8));
      list.push_back(std::move(hurt));
    }
    return list;
  }

  // `check` after each version of the file is in place, in a fresh copy of the run.
  template <class Check>
  void each(const std::string& file, const std::string& kind, const std::string& outcome, Check check) {
    const std::string whole = read_file(at("base") / file);
    const std::vector<std::string> cut = cuts(whole), flipped = flips(whole, 5);
    for (const auto* versions : {&cut, &flipped}) {
      for (const std::string& version : *versions) {
        fresh_copy();
        put(at("hurt") / file, version);
        check();
      }
      note(kind + (versions == &cut ? " truncated" : " with a bit flipped"), static_cast<std::int64_t>(versions->size()), outcome);
    }
  }

  void expect_older_used() {
    std::string said;
    EXPECT_TRUE(resumes("hurt", 2, &said));
    EXPECT_TRUE(has(said, "checkpoint step-00000008 is damaged and passed over: ")) << said;
    EXPECT_TRUE(has(said, "resumed at step 6")) << said;
  }

  std::string sampled(const std::string& out, std::string* said = nullptr) const {
    const Ended ended = launch({"sample " + out + " --tokens 6 --temperature 0 --prompt line"});
    if (said != nullptr) *said = ended.output;
    return ended.status == 0 ? ended.output.substr(ended.output.rfind("line")) : "status " + std::to_string(ended.status);
  }
};

TEST_F(Damage, state_of_the_newest_checkpoint) {
  each(std::string(kNewest) + "state.bin", "state.bin", kOlder, [&] { expect_older_used(); });
}

TEST_F(Damage, manifest_of_the_newest_checkpoint) {
  each(std::string(kNewest) + "manifest.json", "manifest.json", kOlder, [&] {
    // A cut that takes the last line's end alone, and a flip in it, leave all that counts.
    expect_older_used();
  });
}

TEST_F(Damage, samples_come_from_the_checkpoint_before) {
  fresh_copy();
  fs::remove_all(at("hurt") / kNewest);
  const std::string older = sampled("hurt");
  const std::string newest = sampled("base");
  ASSERT_EQ(older.rfind("line", 0), 0u) << older;
  for (const char* file : {"state.bin", "manifest.json"})
    each(std::string(kNewest) + file, std::string("sample: ") + file, "named and passed over; samples from the one before it", [&] {
      std::string said;
      const std::string text = sampled("hurt", &said);
      // Moments are no part of what is sampled, so damage to them alone leaves the newest in use.
      EXPECT_TRUE(has(said, "step-00000008 is damaged and passed over") ? text == older : text == newest) << said;
    });
}

TEST_F(Damage, plan) {
  const std::string good = sampled("base");
  each("plan.json", "plan.json", "sample: one error; resume: written again, same bits", [&] {
    const Ended ended = launch({"sample hurt --tokens 6 --temperature 0 --prompt line"});
    // A flip may fall on a space between two entries.
    const bool refused = ended.status == 1 && has(ended.output, "error[DSM") && ended.output.find("error[") == ended.output.rfind("error[");
    EXPECT_TRUE(refused || (ended.status == 0 && sampled("hurt") == good)) << ended.output;
    EXPECT_TRUE(resumes("hurt", 2));
    EXPECT_EQ(read_file(at("hurt") / "plan.json"), read_file(at("base") / "plan.json"));
  });
}

TEST_F(Damage, run_facts) {
  each("run.json", "run.json", "written again; resumes to the same bits", [&] {
    EXPECT_TRUE(resumes("hurt", 2));
    EXPECT_TRUE(nlohmann::json::accept(read_file(at("hurt") / "run.json")));
  });
}

// Lines carry no checksum: what is still a line of its step stays, what is not is left out, and a line says so.
TEST_F(Damage, metrics) {
  each("metrics.jsonl", "metrics.jsonl", "whole lines stay, missing steps are named; same checkpoint", [&] {
    const std::string hurt = metrics("hurt");
    const Ended rest = launch({train("hurt", 2, "--resume")});
    ASSERT_EQ(rest.status, 0) << rest.output;
    undisturbed(2);
    EXPECT_TRUE(newest_checkpoint("hurt") == newest_checkpoint("whole2"));
    const std::string now = metrics("hurt"), whole = metrics("whole2");
    EXPECT_FALSE(has(now, "<discarded>")) << now;
    std::size_t steps = 0;
    for (const nlohmann::json& step : dsc_test::step_metrics(at("hurt"))) steps += step.is_object();
    EXPECT_EQ(steps < 12, has(rest.output, "metrics.jsonl lacks ")) << rest.output << now;
    const std::string tail = whole.substr(whole.rfind('\n', whole.find("\"step\":9")) + 1);
    EXPECT_TRUE(now.size() >= tail.size() && now.compare(now.size() - tail.size(), tail.size(), tail) == 0) << now;
  });
}

TEST_F(Damage, metrics_that_cannot_be_read) {
  fresh_copy();
  const std::string before = metrics("hurt");
  EXPECT_TRUE(one_error(launch({train("hurt", 2, "--resume"), "read hurt/metrics.jsonl 1 fail:EIO"}), "DSM0952"));
  EXPECT_EQ(metrics("hurt"), before);
  EXPECT_TRUE(resumes("hurt", 2));
  note("EIO at a read of metrics.jsonl", 1, "one error, nothing is replaced; then resumes to the same bits");
}

TEST_F(Damage, data_between_run_and_resume) {
  const std::string whole = read_file(at("text.txt"));
  const std::vector<std::string> cut = cuts(whole), flipped = flips(whole, 9);
  for (const auto* versions : {&cut, &flipped}) {
    for (const std::string& version : *versions) {
      fresh_copy();
      put(at("text.txt"), version);
      const Ended ended = launch({train("hurt", 2, "--resume")});
      // Too short, a byte outside the vocabulary, or other data than before.
      EXPECT_TRUE(one_error(ended, "DSM0904") || one_error(ended, "DSM0902") || one_error(ended, "DSM0805")) << ended.output;
      put(at("text.txt"), whole);
      EXPECT_TRUE(resumes("hurt", 2));
    }
    note(versions == &cut ? "data cut short before a resume" : "a bit of the data flipped before a resume",
         static_cast<std::int64_t>(versions->size()), "one error; with the data restored, the same bits");
  }
}

TEST_F(Damage, source_between_run_and_resume) {
  const std::string whole = read_file(at("model.dsm"));
  const std::vector<std::string> cut = cuts(whole), flipped = flips(whole, 13);
  for (const auto* versions : {&cut, &flipped}) {
    for (const std::string& version : *versions) {
      fresh_copy();
      put(at("model.dsm"), version);
      const Ended ended = launch({train("hurt", 2, "--resume --steps 12")});
      EXPECT_FALSE(ended.by_signal) << ended.output;
      const bool as_before = newest_checkpoint("hurt") == newest_checkpoint("whole2");
      EXPECT_TRUE(ended.status == 0 ? as_before || has(ended.output, "changed since the checkpoint of step 8")
                                    : ended.status == 1 && has(ended.output, "error[DSM"))
          << ended.output << version;
      put(at("model.dsm"), whole);
      if (ended.status == 1) {
        EXPECT_TRUE(resumes("hurt", 2)) << version;
      }
    }
    note(versions == &cut ? "source cut short before a resume" : "a bit of the source flipped before a resume",
         static_cast<std::int64_t>(versions->size()), "diagnosed, or goes on as before or with a line that says what changed");
  }
}

TEST_F(Damage, files_missing_and_in_excess) {
  const std::vector<std::pair<std::string, std::function<void(const fs::path&)>>> newest = {
      {"state.bin missing", [](const fs::path& step) { fs::remove(step / "state.bin"); }},
      {"manifest.json missing", [](const fs::path& step) { fs::remove(step / "manifest.json"); }},
      {"an empty checkpoint folder", [](const fs::path& step) { fs::remove_all(step), fs::create_directory(step); }},
      {"a file where a checkpoint should be", [](const fs::path& step) { fs::remove_all(step), put(step, "x"); }},
      {"files of two checkpoints mixed", [](const fs::path& step) {
         fs::copy_file(step / "../step-00000006/state.bin", step / "state.bin", fs::copy_options::overwrite_existing);
       }}};
  for (const auto& [kind, hurt] : newest) {
    fresh_copy();
    hurt(at("hurt") / "checkpoints" / "step-00000008");
    expect_older_used();
    note(kind, 1, kOlder);
  }
  fresh_copy();
  put(at("hurt") / kNewest / "more", "x");
  put(at("hurt") / "checkpoints" / "step-9", "x");
  fs::create_directory(at("hurt") / "checkpoints" / "step-00000010.tmp");
  fs::create_directories(at("hurt") / "checkpoints" / ".writing" / "deeper");
  EXPECT_TRUE(resumes("hurt", 2));
  note("strange files in checkpoints", 4, "passed by; resumes to the same bits");
}

// One that was passed over is no longer counted among the last N.
TEST_F(Damage, a_damaged_checkpoint_does_not_push_out_good_ones) {
  // Checkpoints 4, 6 and, damaged, 7; resumed from 6 to 8, of which the last three are kept.
  ASSERT_EQ(launch({train("hurt", 2, "--steps 7")}).status, 0);
  put(at("hurt") / "checkpoints" / "step-00000007" / "state.bin", "x");
  ASSERT_EQ(launch({train("hurt", 2, "--resume --steps 8")}).status, 0);
  std::int64_t readable = 0;
  for (const auto& entry : fs::directory_iterator(at("hurt") / "checkpoints")) {
    const bool in_use = entry.path().extension() != ".damaged";
    readable += in_use && fs::file_size(entry.path() / "state.bin") > 1;
  }
  EXPECT_EQ(readable, 3);
  note("a damaged checkpoint among the last N", 1, "set aside: N good ones are kept");
}

TEST_F(Damage, every_checkpoint) {
  fresh_copy();
  for (const char* step : {"step-00000004", "step-00000006", "step-00000008"}) put(at("hurt") / "checkpoints" / step / "state.bin", "x");
  EXPECT_TRUE(one_error(launch({train("hurt", 2, "--resume")}), "DSM0802"));
  EXPECT_TRUE(one_error(launch({"sample hurt"}), "DSM0802"));
  EXPECT_TRUE(one_error(launch({"export hurt -o e"}), "DSM0802"));
  note("every checkpoint damaged", 3, "one error; nothing is overwritten");
}

TEST_F(Damage, checkpoints_that_cannot_be_listed_or_read) {
  for (const char* error : {"EIO", "EMFILE", "EACCES"}) {
    fresh_copy();
    const std::string fault = std::string("list,open hurt/checkpoints 1 fail:") + error;
    EXPECT_TRUE(one_error(launch({train("hurt", 2, "--resume"), fault}), "DSM0802")) << error;
    EXPECT_TRUE(resumes("hurt", 2));
  }
  note("the folder of checkpoints cannot be listed", 3, "one error, no start from step 0; then resumes to the same bits");
  fresh_copy();
  const std::int64_t reads = static_cast<std::int64_t>(calls_of(train("hurt", 2, "--resume"), "read,open", kNewest).size());
  std::int64_t injected = 0;
  for (std::int64_t call = 1; call <= reads; call += stride(30), ++injected) {
    fresh_copy();
    const Ended ended = launch({train("hurt", 2, "--resume"), std::string("read,open ") + kNewest + " " + std::to_string(call) + " fail:EIO"});
    EXPECT_EQ(ended.status, 0) << ended.output;
    EXPECT_TRUE(has(ended.output, "step-00000008 is damaged and passed over")) << ended.calls.back() << ended.output;
    EXPECT_TRUE(undisturbed_result("hurt", 2));
  }
  note("EIO at each read of the newest checkpoint", injected, kOlder);
}

}  // namespace
}  // namespace dsc_fault
