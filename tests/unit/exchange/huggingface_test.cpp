// Export of a checkpoint and import of the result, and everything that an import refuses.
#include "runtime/exchange/huggingface.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>

#include "runtime/exchange/safetensors.h"
#include "tests/unit/checkpoint/run_folder.h"

namespace dsc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// w [width, hidden] stored transposed and joined with b as a row; g under two names; z in one tensor for each row.
Contract exported_contract() {
  Contract c = small_contract();
  ExportMap& map = c.exports;
  map.present = true;
  map.architecture = "SmallModel";
  map.config = {{{"model_type"}, "\"small\"", false},
                {{"n_embd"}, "6", true},
                {{"eps"}, "1e-05", true},
                {{"rope_theta", "rope_parameters.rope_theta"}, "10000.0", true},
                {{"nested.deep.list"}, "[1, 2]", true}};
  map.tensors = {{{"h.weight"}, {{ParameterId(0), {1, 0}, {5, 6}, -1, 0}}, 0},
                 {{"model.h.bias", "h.bias"}, {{ParameterId(1), {0}, {5}, -1, 0}}, 0},
                 {{"norm"}, {{ParameterId(2), {0}, {6}, -1, 0}}, 0}};
  for (int i = 0; i < 6; ++i)
    map.tensors.push_back({{"z." + std::to_string(i)}, {{ParameterId(3), {1}, {6}, 0, i}}, 0});
  map.ignored = {"h.mask"};
  return c;
}

struct Folders {
  RunFolder run;
  HandPlan writer{exported_contract(), {2, 3, DType::f32}};
  fs::path out = run.dir.path() / "hf";

  Folders() { EXPECT_TRUE(run.write(writer, 4)); }
  Result<Exported> write() { return export_huggingface(writer.contract(), run.run(), out); }
  Result<std::vector<std::string>> read(HandPlan& plan) {
    plan.contract().train.init_pretrained = out.string();
    return import_pretrained(plan.contract(), plan.state());
  }
  std::vector<float> parameters() {
    std::vector<float> all = writer.everything();
    return std::vector<float>(all.begin(), all.begin() + 77);
  }
};

TEST(Export, WritesTensorsAndConfig) {
  Folders f;
  Result<Exported> exported = f.write();
  ASSERT_TRUE(exported) << exported.error().message;
  EXPECT_EQ(exported->step, 4);
  EXPECT_EQ(exported->tensors, 9);
  EXPECT_TRUE(exported->lines.empty());
  EXPECT_EQ(read_bytes(f.out / "config.json"), R"({
  "architectures": [
    "SmallModel"
  ],
  "model_type": "small",
  "n_embd": 6,
  "eps": 1e-05,
  "rope_theta": 10000.0,
  "nested": {
    "deep": {
      "list": [
        1,
        2
      ]
    }
  }
}
)");
  Result<SafetensorsReader> reader = SafetensorsReader::open(f.out / "model.safetensors");
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->tensors().size(), 9u);
  std::vector<float> all = f.parameters(), weight(30), row(6);
  const StoredTensor* h = reader->find("h.weight");
  ASSERT_NE(h, nullptr);
  EXPECT_EQ(h->shape, (std::vector<std::int64_t>{5, 6}));
  ASSERT_TRUE(reader->read(*h, 0, weight));
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 6; ++j) EXPECT_EQ(weight[i * 6 + j], all[j * 5 + i]);
  ASSERT_TRUE(reader->read(*reader->find("z.2"), 0, row));
  EXPECT_EQ(row, std::vector<float>(all.begin() + 41 + 12, all.begin() + 41 + 18));
}

TEST(Export, AndImportInEveryLayout) {
  Folders f;
  ASSERT_TRUE(f.write());
  for (HandLayout layout : {HandLayout{1, 0, DType::f32}, {2, 1, DType::bf16}, {3, 2, DType::f16}, {8, 3, DType::f32}}) {
    HandPlan reader(exported_contract(), layout);
    initialise(reader.contract(), reader.state());
    Result<std::vector<std::string>> notes = f.read(reader);
    ASSERT_TRUE(notes) << notes.error().message;
    EXPECT_TRUE(notes->empty());
    std::vector<float> all = reader.everything();
    EXPECT_EQ(std::vector<float>(all.begin(), all.begin() + 77), f.parameters());
    EXPECT_EQ(std::count(all.begin() + 77, all.end(), 0.0f), 154);
  }
}

TEST(Export, UsesTheNewestReadableCheckpoint) {
  Folders f;
  std::vector<float> older = f.parameters();
  ASSERT_TRUE(f.run.write(f.writer, 5));
  std::string state = read_bytes(f.run.step(5) / "state.bin");
  state[100] = static_cast<char>(state[100] ^ 1);
  std::ofstream(f.run.step(5) / "state.bin", std::ios::binary) << state;
  Result<Exported> exported = f.write();
  ASSERT_TRUE(exported);
  EXPECT_EQ(exported->step, 4);
  EXPECT_EQ(exported->lines, (std::vector<std::string>{"checkpoint step-00000005 is damaged and passed over: the checksum of "
                                                       "block[0].w at byte 60 of state.bin does not match"}));
  HandPlan reader(exported_contract(), {1, 0, DType::f32});
  ASSERT_TRUE(f.read(reader));
  std::vector<float> all = reader.everything();
  EXPECT_EQ(std::vector<float>(all.begin(), all.begin() + 77), older);
}

TEST(Export, Refusals) {
  Folders f;
  Result<Exported> nothing = export_huggingface(f.writer.contract(), f.run.dir.path() / "none", f.out);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().code, "DSM0803");
  Contract other = exported_contract();
  other.model.axes[3].size = 7;
  Result<Exported> changed = export_huggingface(other, f.run.run(), f.out);
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, "DSM0804");
  Contract silent = small_contract();
  Result<Exported> no_map = export_huggingface(silent, f.run.run(), f.out);
  ASSERT_FALSE(no_map);
  EXPECT_EQ(no_map.error().code, "DSM0820");
  EXPECT_EQ(no_map.error().message, "model small has no `export huggingface`");
  f.run.dir.write("file", "");
  Result<Exported> blocked = export_huggingface(f.writer.contract(), f.run.run(), f.run.dir.path() / "file" / "hf");
  ASSERT_FALSE(blocked);
  EXPECT_EQ(blocked.error().code, "DSM0821");
  EXPECT_EQ(blocked.error().message, "cannot write " + (f.run.dir / "file") + ": Not a directory");
}

// ---- Import ------------------------------------------------------------------------------------------------------------

struct Tensor {
  std::string name, type;
  std::vector<std::int64_t> shape;
  std::string bytes;
};

void write_safetensors(const fs::path& path, const std::vector<Tensor>& tensors) {
  Json header = Json::object();
  std::string data;
  for (const Tensor& t : tensors) {
    header[t.name] = {{"dtype", t.type}, {"shape", t.shape}, {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
    data += t.bytes;
  }
  std::string text = header.dump();
  std::uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << text << data;
}

// The exported folder's tensors as they lie there.
std::vector<Tensor> tensors_of(const fs::path& path) {
  std::string bytes = read_bytes(path);
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  Json header = Json::parse(bytes.substr(8, length));
  std::vector<Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    tensors.push_back({name, entry["dtype"], entry["shape"].get<std::vector<std::int64_t>>(), bytes.substr(8 + length + begin, end - begin)});
  }
  return tensors;
}

Error import_error(Folders& f) {
  HandPlan reader(exported_contract(), {2, 3, DType::f32});
  initialise(reader.contract(), reader.state());
  std::vector<float> before = reader.everything();
  Result<std::vector<std::string>> notes = f.read(reader);
  if (notes) return {"none", "", ""};
  EXPECT_EQ(reader.everything(), before) << "a refused import leaves the weights alone";
  return notes.error();
}

TEST(Import, RefusalsByTensor) {
  Folders f;
  ASSERT_TRUE(f.write());
  std::vector<Tensor> good = tensors_of(f.out / "model.safetensors");
  auto expect = [&](const char* code, const std::string& message, const std::function<void(std::vector<Tensor>&)>& change) {
    std::vector<Tensor> tensors = good;
    change(tensors);
    write_safetensors(f.out / "model.safetensors", tensors);
    Error error = import_error(f);
    EXPECT_EQ(error.code, code) << message;
    EXPECT_EQ(error.message, message);
  };
  const std::string dir = f.out.string();
  expect("none", "", [](auto&) {});
  expect("DSM0832", dir + " has no tensor norm", [](auto& t) { t.erase(t.begin() + 2); });
  expect("DSM0832", dir + " has no tensor model.h.bias or h.bias", [](auto& t) { t[1].name = "bias"; });
  expect("DSM0833", dir + " holds a tensor that the model does not name: h.extra",
         [](auto& t) { t.push_back({"h.extra", "F32", {1}, std::string(4, '\0')}); });
  expect("DSM0834", dir + ": tensor h.weight is [6, 5], the model needs [5, 6]", [](auto& t) { t[0].shape = {6, 5}; });
  expect("DSM0834", dir + ": tensor h.weight is [30], the model needs [5, 6]", [](auto& t) { t[0].shape = {30}; });
  expect("DSM0835", (f.out / "model.safetensors").string() + ": tensor norm has type I32", [](auto& t) { t[2].type = "I32"; });
  expect("none", "", [](auto& t) { t.push_back({"h.mask", "BOOL", {3}, std::string(3, '\1')}); });
  expect("none", "", [](auto& t) { t[1].name = "h.bias"; });
}

TEST(Import, RefusalsByConfig) {
  Folders f;
  ASSERT_TRUE(f.write());
  Json good = Json::parse(read_bytes(f.out / "config.json"));
  auto read_with = [&](const std::function<void(Json&)>& change) {
    Json config = good;
    change(config);
    std::ofstream(f.out / "config.json") << config.dump();
  };
  const std::string config = (f.out / "config.json").string();
  auto expect = [&](const std::string& message, const std::function<void(Json&)>& change) {
    read_with(change);
    Error error = import_error(f);
    EXPECT_EQ(error.code, "DSM0831") << message;
    EXPECT_EQ(error.message, message);
  };
  expect(config + ": n_embd is 12, the model's is 6", [](Json& j) { j["n_embd"] = 12; });
  expect(config + ": eps is 1e-06, the model's is 1e-05", [](Json& j) { j["eps"] = 1e-6; });
  expect(config + ": n_embd is \"6\", the model's is 6", [](Json& j) { j["n_embd"] = "6"; });
  expect(config + ": nested.deep.list is [1,3], the model's is [1, 2]", [](Json& j) { j["nested"]["deep"]["list"][1] = 3; });
  expect(config + ": rope_parameters.rope_theta is 500000.0, the model's is 10000.0",
         [](Json& j) { j.erase("rope_theta"), j["rope_parameters"]["rope_theta"] = 500000.0; });
  // Equal by value, whatever the form; what is only written is not compared; what is absent is a note.
  read_with([](Json& j) { j["n_embd"] = 6.0, j["rope_theta"] = 10000, j["model_type"] = "other", j["more"] = 1; });
  EXPECT_EQ(import_error(f).code, "none");
  read_with([](Json& j) { j.erase("eps"), j["nested"] = 5; });
  HandPlan reader(exported_contract(), {});
  Result<std::vector<std::string>> notes = f.read(reader);
  ASSERT_TRUE(notes);
  EXPECT_EQ(*notes, (std::vector<std::string>{config + " does not state eps; the model's is 1e-05",
                                              config + " does not state nested.deep.list; the model's is [1, 2]"}));
}

TEST(Import, UnreadableFolders) {
  Folders f;
  EXPECT_EQ(import_error(f).message, f.out.string() + " is not a folder");
  fs::create_directory(f.out);
  EXPECT_EQ(import_error(f).message, f.out.string() + " holds neither model.safetensors nor model.safetensors.index.json");
  ASSERT_TRUE(f.write());
  std::ofstream(f.out / "config.json") << "[]";
  EXPECT_EQ(import_error(f).message, (f.out / "config.json").string() + " is not a JSON object");
  std::ofstream(f.out / "config.json") << R"({"n_embd":)" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_EQ(import_error(f).message, (f.out / "config.json").string() + " is nested more than 64 deep");
  fs::remove(f.out / "config.json");
  Error error = import_error(f);
  EXPECT_EQ(error.code, "DSM0830");
  EXPECT_EQ(error.message, "cannot read " + (f.out / "config.json").string());
  HandPlan silent(small_contract(), {});
  silent.contract().train.init_pretrained = f.out.string();
  Result<std::vector<std::string>> none = import_pretrained(silent.contract(), silent.state());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, "DSM0820");
}

TEST(Import, Shards) {
  Folders f;
  ASSERT_TRUE(f.write());
  std::vector<Tensor> all = tensors_of(f.out / "model.safetensors");
  fs::remove(f.out / "model.safetensors");
  std::vector<Tensor> first(all.begin(), all.begin() + 4), second(all.begin() + 4, all.end());
  write_safetensors(f.out / "model-00001-of-00002.safetensors", first);
  write_safetensors(f.out / "model-00002-of-00002.safetensors", second);
  Json index = {{"metadata", {{"total_size", 308}}}};
  for (const Tensor& t : first) index["weight_map"][t.name] = "model-00001-of-00002.safetensors";
  for (const Tensor& t : second) index["weight_map"][t.name] = "model-00002-of-00002.safetensors";
  const fs::path index_path = f.out / "model.safetensors.index.json";
  std::ofstream(index_path) << index.dump();
  HandPlan reader(exported_contract(), {2, 3, DType::f32});
  Result<std::vector<std::string>> notes = f.read(reader);
  ASSERT_TRUE(notes) << notes.error().message;
  std::vector<float> values = reader.everything();
  EXPECT_EQ(std::vector<float>(values.begin(), values.begin() + 77), f.parameters());

  for (const char* name : {"../model.safetensors", "/etc/passwd", "..", ""}) {
    Json bad = index;
    bad["weight_map"]["norm"] = name;
    std::ofstream(index_path) << bad.dump();
    EXPECT_EQ(import_error(f).message, index_path.string() + ": weight_map names a file outside the folder: " + name);
  }
  std::ofstream(index_path) << "{}";
  EXPECT_EQ(import_error(f).message, index_path.string() + " has no weight_map");
  std::ofstream(index_path) << index.dump();
  second.push_back(first[0]);
  write_safetensors(f.out / "model-00002-of-00002.safetensors", second);
  EXPECT_EQ(import_error(f).message, "tensor h.weight stands in two shards, " +
                                         (f.out / "model-00002-of-00002.safetensors").string() + " is one of them");
  fs::remove(f.out / "model-00002-of-00002.safetensors");
  EXPECT_EQ(import_error(f).message,
            "cannot read " + (f.out / "model-00002-of-00002.safetensors").string() + ": No such file or directory");
}

TEST(Import, SixteenBitWeights) {
  Folders f;
  ASSERT_TRUE(f.write());
  std::vector<Tensor> tensors = tensors_of(f.out / "model.safetensors");
  std::string brain, half;
  for (int i = 0; i < 6; ++i) brain += std::string("\xc0\x3f", 2), half += std::string("\x00\xc1", 2);  // 1.5 and -2.5
  tensors[2] = {"norm", "BF16", {6}, brain};
  tensors[3] = {"z.0", "F16", {6}, half};
  write_safetensors(f.out / "model.safetensors", tensors);
  HandPlan reader(exported_contract(), {1, 0, DType::f32});
  ASSERT_TRUE(f.read(reader));
  std::vector<float> values = reader.everything();
  EXPECT_EQ(std::vector<float>(values.begin() + 35, values.begin() + 41), std::vector<float>(6, 1.5f));
  EXPECT_EQ(std::vector<float>(values.begin() + 41, values.begin() + 47), std::vector<float>(6, -2.5f));
}

}  // namespace
}  // namespace dsc
