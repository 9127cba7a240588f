// The order of the data, exactly as semantics.md states it.
#include "runtime/data/batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/unit/data/temporary_folder.h"

namespace dsc {
namespace {

// Byte i of the stream is i mod 251, so that a window tells where it begins.
std::string ramp(std::size_t bytes, std::size_t from = 0) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>((from + i) % 251);
  return text;
}

DataSpec spec(const std::string& path, std::int64_t sequence) {
  DataSpec data;
  data.train = {path, TokenFormat::bytes, {}};
  data.sequence = sequence;
  return data;
}

std::vector<std::int32_t> row(std::int64_t first, std::int64_t n) {
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<std::int32_t>((first + i) % 251));
  return tokens;
}

TEST(Windows, Count) {
  EXPECT_EQ(window_count(0, 4), 0);
  EXPECT_EQ(window_count(1, 4), 0);
  EXPECT_EQ(window_count(4, 4), 0);
  EXPECT_EQ(window_count(5, 4), 1);
  EXPECT_EQ(window_count(8, 4), 1);
  EXPECT_EQ(window_count(9, 4), 2);
}

TEST(Windows, ValidationShareIsExact) {
  EXPECT_EQ(validation_share({5, 100}, 100), 5);      // in binary 0.05 * 100 is above 5
  EXPECT_EQ(validation_share({5, 100}, 101), 6);
  EXPECT_EQ(validation_share({1, 10}, 30), 3);        // 0.1 * 30 is above 3 in doubles
  EXPECT_EQ(validation_share({1, 3}, 1), 1);
  EXPECT_EQ(validation_share({29, 100}, 100), 29);    // 0.29 * 100 is above 29
  EXPECT_EQ(validation_share({999999999, 1000000000}, 4000000000000), 3999999996000);
}

TEST(Batches, SequentialEpochsAndStraddling) {
  TemporaryFolder dir;
  Result<Batches> batches = Batches::open(spec(dir.write("t.txt", ramp(20)), 4), 256, 1);  // 4 windows
  ASSERT_TRUE(batches);
  EXPECT_EQ(batches->train_windows(), 4);
  EXPECT_EQ(batches->validation_windows(), 0);
  EXPECT_EQ(batches->train_tokens(), 20);
  std::int32_t tokens[12], targets[12];
  ASSERT_TRUE(batches->read_train(3, 3, tokens, targets));  // windows 3, then 0 and 1 of the next epoch
  std::int64_t starts[] = {12, 0, 4};
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(std::vector<std::int32_t>(tokens + 4 * r, tokens + 4 * r + 4), row(starts[r], 4));
    EXPECT_EQ(std::vector<std::int32_t>(targets + 4 * r, targets + 4 * r + 4), row(starts[r] + 1, 4));
  }
  EXPECT_EQ(batches->window_of(4000000000001), 1);
}

TEST(Batches, AWindowMayStraddleFiles) {
  TemporaryFolder dir;
  dir.write("a.txt", ramp(6));
  dir.write("b.txt", ramp(1, 6));
  dir.write("c.txt", ramp(10, 7));
  Result<Batches> batches = Batches::open(spec(dir / "*.txt", 4), 256, 1);
  ASSERT_TRUE(batches);
  EXPECT_EQ(batches->train_windows(), 4);
  std::int32_t tokens[16], targets[16];
  ASSERT_TRUE(batches->read_train(0, 4, tokens, targets));
  EXPECT_EQ(std::vector<std::int32_t>(tokens, tokens + 16), row(0, 16));
  EXPECT_EQ(std::vector<std::int32_t>(targets, targets + 16), row(1, 16));
}

TEST(Batches, SequenceOfOne) {
  TemporaryFolder dir;
  Result<Batches> batches = Batches::open(spec(dir.write("t.txt", ramp(3)), 1), 256, 1);
  ASSERT_TRUE(batches);
  std::int32_t tokens[2], targets[2];
  ASSERT_TRUE(batches->read_train(0, 2, tokens, targets));
  EXPECT_EQ(tokens[1], 1);
  EXPECT_EQ(targets[1], 2);
}

TEST(Batches, RowsOfRanksAndMicroBatchesTileTheBatch) {
  std::vector<int> seen(24, 0);
  for (int d = 0; d < 4; ++d)
    for (int m = 0; m < 3; ++m)
      for (int i = 0; i < 2; ++i) ++seen[batch_row(24, 4, 2, d, m, i)];
  EXPECT_EQ(seen, std::vector<int>(24, 1));
  EXPECT_EQ(batch_row(24, 4, 2, 1, 2, 1), 6 + 4 + 1);
}

TEST(Batches, PositionAfterResumesWithOtherBatches) {
  DataPosition fresh;
  EXPECT_EQ(fresh.first_sequence(0, 8), 0);
  EXPECT_EQ(fresh.first_sequence(5, 8), 40);
  DataPosition resumed{5, 40};
  EXPECT_EQ(resumed.first_sequence(5, 4), 40);
  EXPECT_EQ(resumed.first_sequence(7, 4), 48);
}

TEST(Batches, ValidationSplitTakesTheLastWindows) {
  TemporaryFolder dir;
  DataSpec data = spec(dir.write("t.txt", ramp(81)), 4);  // 20 windows
  data.validation_split = Share{5, 100};
  Result<Batches> batches = Batches::open(data, 256, 1);
  ASSERT_TRUE(batches);
  EXPECT_EQ(batches->train_windows(), 19);
  EXPECT_EQ(batches->validation_windows(), 1);
  data.validation_split = Share{101, 1000};
  batches = Batches::open(data, 256, 1);
  ASSERT_TRUE(batches);
  EXPECT_EQ(batches->train_windows(), 17);
  EXPECT_EQ(batches->validation_windows(), 3);
  EXPECT_EQ(batches->window_of(17), 0);
  std::int32_t tokens[12], targets[12];
  ASSERT_TRUE(batches->read_validation(1, 3, tokens, targets));  // windows 18 and 19, and one past the end
  EXPECT_EQ(std::vector<std::int32_t>(tokens, tokens + 8), row(72, 8));
  EXPECT_EQ(std::vector<std::int32_t>(targets, targets + 8), row(73, 8));
  EXPECT_EQ(std::vector<std::int32_t>(tokens + 8, tokens + 12), std::vector<std::int32_t>(4, 0));
  EXPECT_EQ(std::vector<std::int32_t>(targets + 8, targets + 12), std::vector<std::int32_t>(4, -1));
}

TEST(Batches, ValidationSourceOfItsOwn) {
  TemporaryFolder dir;
  DataSpec data = spec(dir.write("t.txt", ramp(81)), 4);
  data.validation_source = DataSource{dir.write("v.txt", ramp(10, 100)), TokenFormat::bytes, {}};
  Result<Batches> batches = Batches::open(data, 256, 1);
  ASSERT_TRUE(batches);
  EXPECT_EQ(batches->train_windows(), 20);
  EXPECT_EQ(batches->validation_windows(), 2);
  std::int32_t tokens[4], targets[4];
  ASSERT_TRUE(batches->read_validation(1, 1, tokens, targets));
  EXPECT_EQ(std::vector<std::int32_t>(tokens, tokens + 4), row(104, 4));
  EXPECT_EQ(batches->data_bytes(), 91);
}

TEST(Batches, TooShortInEachWay) {
  TemporaryFolder dir;
  std::string path = dir.write("t.txt", ramp(8)), tiny = dir.write("v.txt", ramp(8));
  Result<Batches> none = Batches::open(spec(path, 8), 256, 1);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, "DSM0904");
  EXPECT_EQ(none.error().message, path + " holds 8 tokens; one window of sequence = 8 needs 9");
  DataSpec data = spec(path, 7);
  data.validation_split = Share{1, 100};
  Result<Batches> split = Batches::open(data, 256, 1);
  ASSERT_FALSE(split);
  EXPECT_EQ(split.error().code, "DSM0904");
  EXPECT_EQ(split.error().message, path + " holds 1 windows of 7 tokens, and the validation split takes all of them");
  data.validation_split.reset();
  data.sequence = 2;
  data.validation_source = DataSource{dir.write("w.txt", ramp(2)), TokenFormat::bytes, {}};
  Result<Batches> validation = Batches::open(data, 256, 1);
  ASSERT_FALSE(validation);
  EXPECT_EQ(validation.error().message, (dir / "w.txt") + " holds 2 tokens; one window of sequence = 2 needs 3");
}

TEST(Batches, ShuffleIsABijectionPerEpoch) {
  for (std::int64_t windows : {1, 2, 3, 4, 5, 7, 16, 17, 64, 65, 1000, 4097}) {
    std::set<std::vector<std::int64_t>> orders;
    for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
      std::vector<std::int64_t> order;
      for (std::int64_t i = 0; i < windows; ++i) order.push_back(shuffled_window(42, epoch, i, windows));
      orders.insert(order);
      std::sort(order.begin(), order.end());
      std::vector<std::int64_t> expected(static_cast<std::size_t>(windows));
      std::iota(expected.begin(), expected.end(), 0);
      EXPECT_EQ(order, expected) << windows << " windows, epoch " << epoch;
    }
    if (windows > 16) {
      EXPECT_EQ(orders.size(), 3u) << windows;
    }
  }
}

TEST(Batches, ShuffleIsTheSameEverywhere) {
  std::vector<std::int64_t> first, second, other;
  for (std::int64_t i = 0; i < 8; ++i) {
    first.push_back(shuffled_window(42, 0, i, 1000));
    second.push_back(shuffled_window(42, 1, i, 1000));
    other.push_back(shuffled_window(7, 0, i, 10));
  }
  EXPECT_EQ(first, (std::vector<std::int64_t>{133, 158, 49, 393, 665, 283, 576, 998}));
  EXPECT_EQ(second, (std::vector<std::int64_t>{867, 941, 196, 560, 53, 381, 167, 874}));
  EXPECT_EQ(other, (std::vector<std::int64_t>{4, 6, 7, 1, 8, 2, 5, 9}));
  EXPECT_EQ(shuffled_window(1, 1ll << 40, 123456789012, 1000000000000), 174800589407);
}

// No window of a shuffled epoch should tell where the next one is: counts of steps up are near half.
TEST(Batches, ShuffleMixes) {
  int up = 0;
  for (std::int64_t i = 0; i + 1 < 10000; ++i)
    up += shuffled_window(3, 0, i, 10000) < shuffled_window(3, 0, i + 1, 10000);
  EXPECT_GT(up, 4900);
  EXPECT_LT(up, 5100);
}

TEST(Batches, ShuffledReadsFollowTheBijection) {
  TemporaryFolder dir;
  DataSpec data = spec(dir.write("t.txt", ramp(201)), 4);  // 50 windows
  data.shuffled = true;
  Result<Batches> batches = Batches::open(data, 256, 9);
  ASSERT_TRUE(batches);
  std::int32_t tokens[4], targets[4];
  for (std::int64_t n : {0, 49, 50, 137}) {
    ASSERT_TRUE(batches->read_train(n, 1, tokens, targets));
    std::int64_t window = shuffled_window(9, n / 50, n % 50, 50);
    EXPECT_EQ(std::vector<std::int32_t>(tokens, tokens + 4), row(4 * window, 4)) << n;
  }
}

TEST(Batches, FingerprintsAreSha256) {
  TemporaryFolder dir;
  DataSpec data = spec(dir.write("t.txt", "abc"), 1);
  data.validation_source = DataSource{dir.write("v.txt", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), TokenFormat::bytes, {}};
  Result<Batches> batches = Batches::open(data, 256, 1);
  ASSERT_TRUE(batches);
  Result<std::vector<DataFingerprint>> train = batches->train_fingerprints();
  ASSERT_TRUE(train);
  EXPECT_EQ(*train, (std::vector<DataFingerprint>{
                        {dir / "t.txt", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}));
  Result<std::vector<DataFingerprint>> validation = batches->validation_fingerprints();
  ASSERT_TRUE(validation);
  ASSERT_EQ(validation->size(), 1u);
  EXPECT_EQ((*validation)[0].sha256, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

}  // namespace
}  // namespace dsc
