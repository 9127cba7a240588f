// Seeded mutations of every file that is read from outside: safetensors, manifests (with a checksum made right again),
// config.json and shard indices. Each must end in a value or an error, and what is accepted must be safe to read.
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <cstring>
#include <random>

#include "runtime/checkpoint/checkpoint_reader.h"
#include "runtime/checkpoint/checksum.h"
#include "runtime/exchange/huggingface.h"
#include "runtime/exchange/safetensors.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc {
namespace {

using Json = nlohmann::json;

// A new file each time: writing over an old one makes some file systems wait for the disk.
void put(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary) << bytes;
}

// One to four edits: a flipped bit, another byte, bytes removed, inserted or doubled, a digit changed, a cut.
std::string mutate(std::string text, std::mt19937& random) {
  int edits = 1 + static_cast<int>(random() % 4);
  for (int e = 0; e < edits && !text.empty(); ++e) {
    std::size_t at = random() % text.size(), length = 1 + random() % 8;
    switch (random() % 7) {
      case 0: text[at] = static_cast<char>(text[at] ^ (1 << (random() % 8))); break;
      case 1: text[at] = static_cast<char>(random()); break;
      case 2: text.erase(at, length); break;
      case 3: text.insert(at, length, "0123456789[]{}\",:-.eE"[random() % 21]); break;
      case 4: text.insert(at, text.substr(at, 4 * length)); break;
      case 5: {
        std::size_t digit = text.find_first_of("0123456789", at);
        if (digit != std::string::npos) text[digit] = static_cast<char>('0' + random() % 10);
        break;
      }
      default: text.resize(at);
    }
  }
  return text;
}

TEST(Fuzz, Safetensors) {
  TemporaryFolder dir;
  Result<SafetensorsWriter> writer =
      SafetensorsWriter::create(dir / "good", {{"model.a.weight", {4, 6}}, {"model.b.bias", {6}}, {"scalar", {}}});
  ASSERT_TRUE(writer);
  ASSERT_TRUE(writer->append(std::vector<float>(31, 1.0f)));
  ASSERT_TRUE(writer->finish());
  std::string good = read_bytes(dir / "good");
  std::uint64_t header = 0;
  std::memcpy(&header, good.data(), 8);
  std::mt19937 random(20240601);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes;
    if (i % 3 == 0) {
      bytes = mutate(good, random);
    } else {  // the header alone, its length made right again, so that what is inside is reached
      std::string text = mutate(good.substr(8, header), random);
      std::uint64_t length = text.size();
      bytes.assign(reinterpret_cast<const char*>(&length), 8);
      bytes += text + good.substr(8 + header);
    }
    put(dir / "bad", bytes);
    Result<SafetensorsReader> reader = SafetensorsReader::open(dir / "bad");
    if (!reader) {
      ++refused;
      EXPECT_EQ(reader.error().code, "DSM0830");
      continue;
    }
    ++accepted;
    for (const StoredTensor& tensor : reader->tensors()) {
      ASSERT_LE(tensor.elements(), static_cast<std::int64_t>(bytes.size()));
      std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
      Status status = reader->read(tensor, 0, values);
      EXPECT_TRUE(status || status.error().code == "DSM0835" || status.error().code == "DSM0830");
    }
  }
  EXPECT_GT(refused, 1500);
  EXPECT_GT(accepted, 100);
}

// Puts another value at a random place of the document: an edge of the number range, another type, a neighbour's value.
void mutate_value(Json& j, std::mt19937& random) {
  Json* at = &j;
  while (at->is_structured() && !at->empty() && random() % 8 != 0) {
    auto child = at->begin();
    std::advance(child, static_cast<std::ptrdiff_t>(random() % at->size()));
    at = &*child;
  }
  const Json values[] = {0, 1, -1, 5, 29, 30, 31, 9223372036854775807ll, std::numeric_limits<std::int64_t>::min(),
                         18446744073709551615ull, 4611686018427387904ll, 1e308, 0.5, nullptr, true, "", "0000000000000000",
                         Json::array(), Json::object(), Json::array({1, 2, 3})};
  if (at->is_array() && !at->empty() && random() % 2) {
    std::size_t from = random() % at->size();
    if (random() % 2) at->erase(from);
    else at->push_back(Json((*at)[from]));
    return;
  }
  *at = values[random() % std::size(values)];
}

TEST(Fuzz, Manifests) {
  RunFolder folder;
  HandPlan plan(small_contract(), {2, 1, DType::f32});
  ASSERT_TRUE(folder.write(plan, 1));
  std::string text = read_bytes(folder.step(1) / "manifest.json");
  Json good = Json::parse(text);
  std::mt19937 random(7);
  HandPlan reader(small_contract(), {3, 3, DType::f32});
  int loaded = 0, refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad;
    if (i % 4 == 0) {
      bad = mutate(text, random);
    } else {
      Json j = good;
      for (int e = 1 + static_cast<int>(random() % 3); e > 0; --e) mutate_value(j, random);
      if (j.is_object()) {
        j.erase("checksum");
        std::string body = j.dump();
        char hex[17];
        std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(checksum(body.data(), body.size())));
        j["checksum"] = hex;
      }
      bad = j.dump();
    }
    put(folder.step(1) / "manifest.json", bad);
    Result<std::optional<Resumed>> resumed = folder.read(reader);
    ++(resumed ? loaded : refused);
    if (!resumed) {
      EXPECT_EQ(resumed.error().code.rfind("DSM080", 0), 0u) << resumed.error().code;
    }
  }
  EXPECT_GT(loaded, 50);
  EXPECT_GT(refused, 1500);
}

TEST(Fuzz, PretrainedFolders) {
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
  std::mt19937 random(11);
  int accepted = 0, refused = 0;
  for (int i = 0; i < 3000; ++i) {
    bool sharded = i % 2 == 1;
    plan.contract().train.init_pretrained = (sharded ? shards : out).string();
    if (sharded) put(shards / "model.safetensors.index.json", mutate(index, random));
    else put(out / "config.json", mutate(config, random));
    Result<std::vector<std::string>> notes = import_pretrained(plan.contract(), plan.state());
    ++(notes ? accepted : refused);
    if (!notes) {
      EXPECT_EQ(notes.error().code.rfind("DSM083", 0), 0u) << notes.error().code;
    }
  }
  EXPECT_GT(accepted, 50);
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace dsc
