// The safetensors format: exact bytes written, every malformed header refused with its reason.
#include "runtime/exchange/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "tests/unit/data/temporary_folder.h"

namespace dsc {
namespace {

std::string file_of(const std::string& header, std::size_t data) {
  std::uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data, '\0');
}

std::string tensor(const char* name, const char* type, const char* shape, long long begin, long long end) {
  return std::string("\"") + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}

TEST(Safetensors, WritesExactBytesAndReadsThem) {
  TemporaryFolder dir;
  Result<SafetensorsWriter> writer = SafetensorsWriter::create(dir / "m.safetensors", {{"b", {2}}, {"a", {1, 3}}, {"s", {}}});
  ASSERT_TRUE(writer);
  std::vector<float> values = {1, 2, 3, 4, 5, 6};
  ASSERT_TRUE(writer->append(std::span(values).first(2)));
  EXPECT_FALSE(std::filesystem::exists(dir / "m.safetensors"));
  ASSERT_TRUE(writer->append(std::span(values).subspan(2)));
  ASSERT_TRUE(writer->finish());
  EXPECT_FALSE(std::filesystem::exists(dir / "m.safetensors.partial"));
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + tensor("b", "F32", "[2]", 0, 8) + "," +
                       tensor("a", "F32", "[1,3]", 8, 20) + "," + tensor("s", "F32", "[]", 20, 24) + "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  std::string expected = file_of(header, 24);
  std::memcpy(expected.data() + expected.size() - 24, values.data(), 24);
  EXPECT_EQ(read_bytes(dir / "m.safetensors"), expected);

  Result<SafetensorsReader> reader = SafetensorsReader::open(dir / "m.safetensors");
  ASSERT_TRUE(reader) << reader.error().message;
  ASSERT_EQ(reader->tensors().size(), 3u);
  EXPECT_EQ(reader->find("none"), nullptr);
  const StoredTensor* a = reader->find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (std::vector<std::int64_t>{1, 3}));
  float part[2];
  ASSERT_TRUE(reader->read(*a, 1, part));
  EXPECT_EQ(part[0], 4);
  EXPECT_EQ(part[1], 5);
  ASSERT_TRUE(reader->read(*reader->find("s"), 0, std::span(part).first(1)));
  EXPECT_EQ(part[0], 6);
}

TEST(Safetensors, AnUnfinishedFileIsRemoved) {
  TemporaryFolder dir;
  {
    Result<SafetensorsWriter> writer = SafetensorsWriter::create(dir / "m.safetensors", {{"b", {2}}});
    ASSERT_TRUE(writer);
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(Safetensors, SixteenBitTypesWiden) {
  TemporaryFolder dir;
  // Every f16 and every bf16, one after the other.
  std::string header = "{" + tensor("half", "F16", "[65536]", 0, 131072) + "," + tensor("brain", "BF16", "[65536]", 131072, 262144) + "}";
  std::string bytes = file_of(header, 262144);
  for (std::uint32_t i = 0; i < 65536; ++i) {
    std::uint16_t bits = static_cast<std::uint16_t>(i);
    std::memcpy(bytes.data() + 8 + header.size() + 2 * i, &bits, 2);
    std::memcpy(bytes.data() + 8 + header.size() + 131072 + 2 * i, &bits, 2);
  }
  dir.write("m.safetensors", bytes);
  Result<SafetensorsReader> reader = SafetensorsReader::open(dir / "m.safetensors");
  ASSERT_TRUE(reader) << reader.error().message;
  std::vector<float> half(65536), brain(65536);
  ASSERT_TRUE(reader->read(*reader->find("half"), 0, half));
  ASSERT_TRUE(reader->read(*reader->find("brain"), 0, brain));
  for (std::uint32_t i = 0; i < 65536; ++i) {
    int exponent = i >> 10 & 31;
    double magnitude = exponent == 0 ? std::ldexp(i & 1023, -24) : std::ldexp(1024 + (i & 1023), exponent - 25);
    if (exponent == 31) magnitude = (i & 1023) ? NAN : INFINITY;
    if (std::isnan(magnitude)) ASSERT_TRUE(std::isnan(half[i])) << i;
    else ASSERT_EQ(half[i], i & 0x8000 ? -magnitude : magnitude) << i;
    ASSERT_EQ(std::signbit(half[i]), (i & 0x8000) != 0) << i;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(brain[i]), i << 16);
  }
}

TEST(Safetensors, OtherTypesAreListedAndNotRead) {
  TemporaryFolder dir;
  dir.write("m.safetensors", file_of("{" + tensor("mask", "BOOL", "[4]", 0, 4) + "," + tensor("i", "I64", "[1]", 4, 12) + "}", 12));
  Result<SafetensorsReader> reader = SafetensorsReader::open(dir / "m.safetensors");
  ASSERT_TRUE(reader) << reader.error().message;
  float value[1];
  Status status = reader->read(*reader->find("i"), 0, value);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, "DSM0835");
  EXPECT_EQ(status.error().message, (dir / "m.safetensors") + ": tensor i has type I64");
}

TEST(Safetensors, MalformedFiles) {
  TemporaryFolder dir;
  auto expect = [&](const std::string& bytes, const std::string& why) {
    dir.write("m.safetensors", bytes);
    Result<SafetensorsReader> reader = SafetensorsReader::open(dir / "m.safetensors");
    ASSERT_FALSE(reader) << why;
    EXPECT_EQ(reader.error().code, "DSM0830");
    EXPECT_EQ(reader.error().message, (dir / "m.safetensors") + " is not a well-formed safetensors file: " + why);
  };
  expect("", "it is too short");
  expect("1234567", "it is too short");
  expect(std::string("\x10\0\0\0\0\0\0\0{}", 10), "its header would have 16 bytes");
  expect(std::string(8, '\xff') + "{}", "its header would have 18446744073709551615 bytes");
  expect(file_of("[]", 0), "its header is not a JSON object");
  expect(file_of("{\"a\":", 0), "its header is not a JSON object");
  expect(file_of("{\"a\":1}", 0), "an entry of its header lacks dtype, shape or data_offsets");
  expect(file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4), "an entry of its header lacks dtype, shape or data_offsets");
  expect(file_of("{" + tensor("a", "Q4", "[1]", 0, 4) + "}", 4), "tensor a has the unknown type Q4");
  expect(file_of("{" + tensor("a", "F32", "[1]", 0, 8) + "}", 8), "tensor a has a shape that its bytes do not fit");
  expect(file_of("{" + tensor("a", "F32", "[2]", 0, 8) + "}", 4), "tensor a lies outside the file");
  expect(file_of("{" + tensor("a", "F32", "[2]", 8, 0) + "}", 8), "tensor a lies outside the file");
  expect(file_of("{" + tensor("a", "F32", "[1]", 0, 4) + "}", 8), "bytes after the last tensor");
  expect(file_of("{" + tensor("a", "F32", "[1]", 4, 8) + "}", 8), "its tensors leave a gap or overlap");
  expect(file_of("{" + tensor("a", "F32", "[1]", 0, 4) + "," + tensor("b", "F32", "[1]", 0, 4) + "}", 4),
         "its tensors leave a gap or overlap");
  expect(file_of("{" + tensor("a", "F32", "[-1]", 0, 4) + "}", 4), "a size or offset is not a natural number");
  expect(file_of("{" + tensor("a", "F32", "[1.0]", 0, 4) + "}", 4), "a size or offset is not a natural number");
  expect(file_of("{" + tensor("a", "F32", "[18446744073709551615]", 0, 4) + "}", 4), "a size or offset is not a natural number");
  expect(file_of("{" + tensor("a", "F32", "[4611686018427387904,4]", 0, 4) + "}", 4), "tensor a is too large");
  expect(file_of("{" + tensor("a", "F32", "[0,4611686018427387904,8]", 0, 0) + "}", 0), "tensor a is empty");
  expect(file_of(std::string(1000000, '['), 0), "its header is nested more than 16 deep");
}

// Time and memory are in proportion to the header.
TEST(Safetensors, HeadersThatAskForMuch) {
  TemporaryFolder dir;
  auto problem = [&](const std::string& header) {
    std::filesystem::remove(dir / "m");
    std::ofstream(dir / "m", std::ios::binary) << file_of(header, 0);
    Result<SafetensorsReader> reader = SafetensorsReader::open(dir / "m");
    return reader ? std::string() : reader.error().message;
  };
  EXPECT_NE(problem("{\"a\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}").find("nested more than 16 deep"), std::string::npos);
  std::string many = "{\"a\":[";
  for (int i = 0; i < 5'000'000; ++i) many += "[],";
  EXPECT_NE(problem(many + "[]]}").find("holds more than 4,194,304 values"), std::string::npos);
  std::string names = "{\"\":0";
  for (int i = 0; i < 300'000; ++i) names += ",\"" + std::to_string(i) + "\":0";
  EXPECT_NE(problem(names + "}").find("lacks dtype"), std::string::npos);
}

}  // namespace
}  // namespace dsc
