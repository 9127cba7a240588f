// Damage of every kind: it is found, said in one line, and the checkpoint before is used.
#include <gtest/gtest.h>

#include <functional>

#include <nlohmann/json.hpp>

#include "runtime/checkpoint/checksum.h"
#include "runtime/checkpoint/manifest.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc {
namespace {

namespace fs = std::filesystem;

// Two checkpoints, steps 1 and 2; `hurt` damages the second.
struct Damage {
  RunFolder folder;
  HandPlan plan{small_contract(), {2, 1, DType::f32}};
  std::vector<float> older;

  Damage() {
    EXPECT_TRUE(folder.write(plan, 1));
    older = plan.everything();
    EXPECT_TRUE(folder.write(plan, 2));
  }
  fs::path file(const char* name) const { return folder.step(2) / name; }
  void put(const char* name, const std::string& bytes) { std::ofstream(file(name), std::ios::binary) << bytes; }
  // The line about step 2, having checked that step 1 was loaded.
  std::string line() {
    HandPlan reader(small_contract(), {3, 3, DType::f32});
    Result<std::optional<Resumed>> resumed = folder.read(reader);
    if (!resumed) return "error: " + resumed.error().message;
    EXPECT_EQ((*resumed)->step, 1);
    EXPECT_EQ(reader.everything(), older);
    EXPECT_EQ(reader.state().block().attempts, 1);
    return (*resumed)->lines.at(0);
  }
};

const std::string kStart = "checkpoint step-00000002 is damaged and passed over: ";

TEST(DamagedCheckpoint, FilesMissing) {
  Damage damage;
  fs::remove(damage.file("state.bin"));
  EXPECT_EQ(damage.line(), kStart + "it has no readable state.bin");
  fs::remove(damage.file("manifest.json"));
  EXPECT_EQ(damage.line(), kStart + "it has no readable manifest.json");
  fs::create_directory(damage.file("manifest.json"));
  EXPECT_EQ(damage.line(), kStart + "it has no readable manifest.json");
}

TEST(DamagedCheckpoint, Truncated) {
  Damage damage;
  std::string state = read_bytes(damage.file("state.bin")), manifest = read_bytes(damage.file("manifest.json"));
  EXPECT_EQ(state.size(), 3u * 77 * 4);
  fs::resize_file(damage.file("state.bin"), state.size() - 1);
  EXPECT_EQ(damage.line(), kStart + "its state.bin has 923 bytes and should have 924");
  damage.put("state.bin", state + "x");
  EXPECT_EQ(damage.line(), kStart + "its state.bin has 925 bytes and should have 924");
  damage.put("state.bin", state);
  for (std::size_t length : {std::size_t{0}, std::size_t{1}, manifest.size() / 2, manifest.size() - 2}) {
    damage.put("manifest.json", manifest.substr(0, length));
    EXPECT_EQ(damage.line(), kStart + "its manifest is not JSON") << length;
  }
}

TEST(DamagedCheckpoint, ABitOfTheStateAtEveryByte) {
  Damage damage;
  std::string state = read_bytes(damage.file("state.bin"));
  for (std::size_t at = 0; at < state.size(); at += 7) {
    std::string hurt = state;
    hurt[at] = static_cast<char>(hurt[at] ^ (1 << (at % 8)));
    damage.put("state.bin", hurt);
    std::string line = damage.line();
    EXPECT_EQ(line.rfind(kStart + "the checksum of ", 0), 0u) << at << ": " << line;
    EXPECT_NE(line.find(" of state.bin does not match"), std::string::npos) << line;
  }
}

TEST(DamagedCheckpoint, ABitOfTheManifestAtEveryByte) {
  Damage damage;
  std::string manifest = read_bytes(damage.file("manifest.json"));
  int passed = 0, tried = 0;
  for (std::size_t at = 0; at + 1 < manifest.size(); at += 3) {  // the last byte is the newline
    std::string hurt = manifest;
    hurt[at] = static_cast<char>(hurt[at] ^ (1 << (at % 7)));
    damage.put("manifest.json", hurt);
    ++tried;
    passed += damage.line().rfind(kStart, 0) == 0;
  }
  EXPECT_EQ(passed, tried);
  EXPECT_GT(tried, 500);
}

// Manifests whose checksum is right and whose content is not.
TEST(DamagedCheckpoint, HostileManifests) {
  Damage damage;
  using Json = nlohmann::json;
  Json good = Json::parse(read_bytes(damage.file("manifest.json")));
  auto line_with = [&](const std::function<void(Json&)>& change) {
    Json j = good;
    change(j);
    j.erase("checksum");
    std::string text = j.dump();
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(checksum(text.data(), text.size())));
    j["checksum"] = hex;
    damage.put("manifest.json", j.dump());
    return damage.line();
  };
  EXPECT_EQ(line_with([](Json& j) { j["step"] = 3, j["state"]["attempts"] = 3; }), kStart + "its manifest is of step 3");
  EXPECT_EQ(line_with([](Json& j) { j["step"] = 3; }), kStart + "its manifest: its step and its state disagree");
  EXPECT_EQ(line_with([](Json& j) { j["step"] = -1; }), kStart + "its manifest: a count is negative");
  EXPECT_EQ(line_with([](Json& j) { j["step"] = 2.0; }), kStart + "its manifest: a number is not an integer");
  EXPECT_EQ(line_with([](Json& j) { j["step"] = 18446744073709551615ull; }), kStart + "its manifest: a number is too large");
  EXPECT_EQ(line_with([](Json& j) { j["version"] = 9; }), kStart + "its manifest: it has a version that this dsc does not read");
  EXPECT_EQ(line_with([](Json& j) { j.erase("pieces"); }), kStart + "its manifest lacks an entry");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"] = "none"; }), kStart + "its manifest lacks an entry");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][0] = 4; }), kStart + "its manifest: a piece of an unknown parameter");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][1] = 3; }), kStart + "its manifest: a piece of an unknown parameter");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][3] = 31; }), kStart + "its manifest: a piece is out of range");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][3] = 0; }), kStart + "its manifest: a piece is out of range");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][4] = 920; }), kStart + "its manifest: a piece lies outside the data file");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][4] = 9223372036854775804; }),
            kStart + "its manifest: a piece lies outside the data file");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][4] = 2; }), kStart + "its manifest: a piece lies outside the data file");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"][0][5] = "zz"; }), kStart + "its manifest: a checksum is malformed");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"].erase(0); }), kStart + "its manifest: pieces leave a gap or overlap");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"].push_back(j["pieces"][0]); }), kStart + "its manifest: pieces leave a gap or overlap");
  EXPECT_EQ(line_with([](Json& j) { j["pieces"] = Json::array(); }), kStart + "its manifest: pieces are missing");
  EXPECT_EQ(line_with([](Json& j) { j["state"]["loss_scale"] = -1; }), kStart + "its manifest: the loss scale is not positive");
  EXPECT_EQ(line_with([](Json& j) { j["state"]["loss_scale"] = 1e300; }), kStart + "its manifest: a number is too large");
  EXPECT_EQ(line_with([](Json& j) { j["state"]["applied"] = 3; }), kStart + "its manifest: more updates than steps");
  EXPECT_EQ(line_with([](Json& j) { j["data_bytes"] = 9223372036854775807; }).find("error"), std::string::npos);
  // Another list of parameters under the same hash is another model, not an index out of range.
  EXPECT_EQ(line_with([](Json& j) { j["parameters"].push_back(Json{"extra", 0}); }),
            "error: the model is not the one of checkpoint step 2: the checkpoint has parameter `extra`, the model has not");
}

// The checksum is that of the JSON written again, which goes as deep as the JSON does.
TEST(DamagedCheckpoint, ManifestsThatAskForMuch) {
  Damage damage;
  const std::string start = R"({"format":"dsc checkpoint","version":1,"checksum":"0000000000000000","x":)";
  damage.put("manifest.json", start + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}");
  EXPECT_EQ(damage.line(), kStart + "its manifest is nested more than 64 deep");
  std::string many = start + "[";
  for (int i = 0; i < 6'000'000; ++i) many += "[],";
  damage.put("manifest.json", many + many + many + "[]]}");
  EXPECT_EQ(damage.line(), kStart + "its manifest holds more than 16,777,216 values");
}

TEST(DamagedCheckpoint, AllOfThemIsAnError) {
  Damage damage;
  for (int step : {1, 2}) std::ofstream(damage.folder.step(step) / "manifest.json") << "garbage";
  HandPlan reader(small_contract(), {});
  Result<std::optional<Resumed>> resumed = damage.folder.read(reader);
  ASSERT_FALSE(resumed);
  EXPECT_EQ(resumed.error().code, "DSM0802");
  EXPECT_EQ(resumed.error().message, "every checkpoint in " + (damage.folder.run() / "checkpoints").string() +
                                         " is damaged: " + kStart + "its manifest is not JSON");
  Result<Resumed> loaded = load_parameters(damage.folder.run(), reader.contract(), reader.state());
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, "DSM0802");
}

TEST(DamagedCheckpoint, ADamagedOneIsReplacedWhenItsStepComesAgain) {
  Damage damage;
  damage.put("state.bin", "");
  ASSERT_TRUE(damage.folder.write(damage.plan, 2));
  HandPlan reader(small_contract(), {1, 0, DType::f32});
  Result<std::optional<Resumed>> resumed = damage.folder.read(reader);
  ASSERT_TRUE(resumed);
  EXPECT_EQ((*resumed)->step, 2);
}

}  // namespace
}  // namespace dsc
