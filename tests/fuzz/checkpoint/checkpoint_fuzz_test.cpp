// The short form for checkpoints and safetensors, and seeded mutations of a pretrained folder's JSON. Each must end in a
// value or an error, and what is accepted must be safe to read. Where the format changes, DSC_UPDATE_GOLDENS=1 writes
// the seeds anew.
#include <gtest/gtest.h>

#include <cstring>

#include "runtime/exchange/huggingface.h"
#include "runtime/exchange/safetensors.h"
#include "tests/fuzz/entry.h"
#include "tests/fuzz/mutate.h"
#include "tests/fuzz/short_form.h"
#include "tests/support/sanitized.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc::fuzz {
namespace {

using dsc_test::kThinned;

const std::string kFolder = "tests/fuzz/checkpoint/seeds/";

// A new file each time: writing over an old one makes some file systems wait for the disk.
void put(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

// The manifest of a checkpoint whose every number is zero, as the entry puts zeros beside it.
std::string manifest_of_zeros(OptimizerKind optimizer) {
  RunFolder folder;
  Contract contract = small_contract();
  contract.train.optimizer.kind = optimizer;
  HandPlan plan(contract, {2, 1, DType::f32});
  StateBlock block = initial_block(plan.contract().train);
  block.attempts = block.applied = 3;
  plan.state().set_block(block);
  Status written = write_checkpoint(folder.run(), folder.identity(plan), plan.state(), 3 * plan.contract().train.batch);
  return written ? read_bytes(folder.step(3) / "manifest.json") : written.error().message;
}

std::string small_safetensors() {
  TemporaryFolder dir;
  Result<SafetensorsWriter> writer =
      SafetensorsWriter::create(dir / "good", {{"model.a.weight", {4, 6}}, {"model.b.bias", {6}}, {"scalar", {}}});
  if (!writer || !writer->append(std::vector<float>(31, 1.0f)) || !writer->finish()) return "";
  return read_bytes(dir / "good");
}

// Two tensors of 16 bits, which are widened when they are read.
std::string half_safetensors() {
  std::string header = R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[6,10]}})";
  std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string("\x01\x00\x00\x7c\x01\xfc\x80\x3f\xc0\x7f", 10);
}

TEST(CheckpointFuzz, SeedsAreAccepted) {
  update_seed(kFolder + "adamw.json", manifest_of_zeros(OptimizerKind::adamw));
  update_seed(kFolder + "sgd.json", manifest_of_zeros(OptimizerKind::sgd));
  update_seed(kFolder + "small.safetensors", small_safetensors());
  update_seed(kFolder + "half.safetensors", half_safetensors());
  std::vector<Seed> seeds = seeds_in({kFolder}, "");
  ASSERT_GE(seeds.size(), 4u);
  for (const Seed& seed : seeds)
    EXPECT_EQ(accepts(seed.bytes), !seed.path.ends_with("sgd.json"))  // the run's optimizer is another
        << seed.path << " is of an older format: DSC_UPDATE_GOLDENS=1 writes it anew";
}

TEST(CheckpointFuzz, FoundByFuzzing) {
  for (const Seed& seed : seeds_in({"tests/fuzz/checkpoint/found"}, "")) accepts(seed.bytes);
}

// Half of them with the header's length made right again, so that what is inside is reached.
TEST(CheckpointFuzz, Safetensors) {
  std::mt19937 random = generator(20240601);
  std::vector<Seed> seeds = seeds_in({kFolder}, ".safetensors");
  Outcome outcome = run_mutations(seeds, 1000 / kThinned, random);
  for (int i = 0; i < 2000 / kThinned; ++i) {
    const std::string& good = seeds[random() % seeds.size()].bytes;
    std::uint64_t header = 0;
    std::memcpy(&header, good.data(), 8);
    std::string text = mutate_text(good.substr(8, header), random);
    std::uint64_t length = text.size();
    bool accepted = accepts(std::string(reinterpret_cast<const char*>(&length), 8) + text + good.substr(8 + header));
    ++(accepted ? outcome.accepted : outcome.refused);
  }
  EXPECT_GT(outcome.refused, 1500 / kThinned);
  EXPECT_GT(outcome.accepted, 50 / kThinned);
}

TEST(CheckpointFuzz, Manifests) {
  std::mt19937 random = generator(7);
  std::vector<Seed> seeds = seeds_in({kFolder}, ".json");
  Outcome texts = run_mutations(seeds, 1000 / kThinned, random), values = run_json_mutations(seeds, 2000 / kThinned, random);
  EXPECT_GT(texts.accepted + values.accepted, 50 / kThinned);
  EXPECT_GT(texts.refused + values.refused, 1500 / kThinned);
}

TEST(CheckpointFuzz, PretrainedFolders) {
  RunFolder folder;
  Contract contract = small_contract();
  contract.exports.present = true;
  contract.exports.config = {{{"n_embd"}, "6", true}, {{"a.b", "c.d.e"}, "[1.5]", true}};
  contract.exports.tensors = {{{"w"}, {{ParameterId(0), {1, 0}, {5, 6}, -1, 0}}, 0},
                              {{"b"}, {{ParameterId(1), {0}, {5}, -1, 0}}, 0},
                              {{"g"}, {{ParameterId(2), {0}, {6}, -1, 0}}, 0},
                              {{"z"}, {{ParameterId(3), {0, 1}, {36}, -1, 0}}, 0}};
  HandPlan plan(contract, {1, 0, DType::f32});
  ASSERT_TRUE(folder.write(plan, 1));
  std::filesystem::path out = folder.dir.path() / "hf", shards = folder.dir.path() / "shards";
  ASSERT_TRUE(export_huggingface(contract, folder.run(), out));
  std::filesystem::create_directory(shards);
  std::filesystem::copy(out / "config.json", shards / "config.json");
  std::filesystem::copy(out / "model.safetensors", shards / "one.safetensors");
  std::string config = read_bytes(out / "config.json");
  std::string index = R"({"weight_map":{"w":"one.safetensors","b":"one.safetensors","g":"one.safetensors","z":"one.safetensors"}})";
  std::mt19937 random = generator(11);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 3000 / kThinned; ++i) {
    bool sharded = i % 2 == 1;
    plan.contract().train.init_pretrained = (sharded ? shards : out).string();
    if (sharded) put(shards / "model.safetensors.index.json", mutate_text(index, random));
    else put(out / "config.json", mutate_text(config, random));
    Result<std::vector<std::string>> notes = import_pretrained(plan.contract(), plan.state());
    ++(notes ? accepted : refused);
    if (!notes) {
      EXPECT_EQ(notes.error().code.rfind("DSM083", 0), 0u) << notes.error().code;
    }
  }
  EXPECT_GT(accepted, 50 / kThinned);
  EXPECT_GT(refused, 500 / kThinned);
}

}  // namespace
}  // namespace dsc::fuzz
