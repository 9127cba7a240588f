// Opening and validating data files: every mistake with its exact message, and what is read where files meet.
#include "runtime/data/token_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "tests/unit/data/temporary_folder.h"

namespace dsc {
namespace {

std::string little(std::initializer_list<std::uint32_t> values, int bytes) {
  std::string text;
  for (std::uint32_t value : values)
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string header(std::uint32_t magic, std::uint32_t version, std::uint32_t tokens) {
  std::string text = little({magic, version, tokens}, 4);
  text.resize(1024, '\0');
  return text;
}

DataSource source(const std::string& path, TokenFormat format) { return {path, format, {}}; }

std::vector<std::int32_t> all(const TokenFiles& files) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(files.tokens()));
  EXPECT_TRUE(files.read(0, files.tokens(), tokens.data()));
  return tokens;
}

Error open_error(const std::string& path, TokenFormat format, std::int64_t vocabulary = 0) {
  Result<TokenFiles> files = TokenFiles::open(source(path, format), vocabulary);
  if (files) return {"none", "", ""};
  return files.error();
}

TEST(TokenFiles, GlobIsSortedBytewiseAndConcatenated) {
  TemporaryFolder dir;
  dir.write("b.txt", "34");
  dir.write("B.txt", "12");
  dir.write("c.txt", "");
  dir.write("d.txt", "5");
  dir.write("note.md", "x");
  std::filesystem::create_directory(dir / "folder.txt");
  Result<TokenFiles> files = TokenFiles::open(source(dir / "*.txt", TokenFormat::bytes), 256);
  ASSERT_TRUE(files);
  EXPECT_EQ(all(*files), (std::vector<std::int32_t>{'1', '2', '3', '4', '5'}));
  std::int32_t middle[3];
  ASSERT_TRUE(files->read(1, 3, middle));
  EXPECT_EQ(middle[0], '2');
  EXPECT_EQ(middle[2], '4');
}

TEST(TokenFiles, RealPathsStandOnce) {
  TemporaryFolder dir;
  dir.write("b.txt", "b");
  dir.write("c.txt", "c");
  std::filesystem::create_symlink(dir / "c.txt", dir / "a.txt");
  Result<TokenFiles> files = TokenFiles::open(source(dir / "*.txt", TokenFormat::bytes), 0);
  ASSERT_TRUE(files);
  EXPECT_EQ(all(*files), (std::vector<std::int32_t>{'c', 'b'}));
}

TEST(TokenFiles, ANameWithBracketsIsItself) {
  TemporaryFolder dir;
  dir.write("a[1].txt", "x");
  Result<TokenFiles> files = TokenFiles::open(source(dir / "a[1].txt", TokenFormat::bytes), 0);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->tokens(), 1);
}

TEST(TokenFiles, RawAndLlmcFormats) {
  TemporaryFolder dir;
  dir.write("u16.bin", little({1, 50256, 65535}, 2));
  dir.write("u32.bin", little({1, 128255, 70000}, 4));
  dir.write("gpt2.bin", header(20240520, 1, 2) + little({7, 50256}, 2));
  dir.write("llama.bin", header(20240801, 7, 2) + little({7, 128000}, 4));
  auto read = [&](const char* name, TokenFormat format) {
    Result<TokenFiles> files = TokenFiles::open(source(dir / name, format), 200000);
    EXPECT_TRUE(files);
    return all(*files);
  };
  EXPECT_EQ(read("u16.bin", TokenFormat::u16), (std::vector<std::int32_t>{1, 50256, 65535}));
  EXPECT_EQ(read("u32.bin", TokenFormat::u32), (std::vector<std::int32_t>{1, 128255, 70000}));
  EXPECT_EQ(read("gpt2.bin", TokenFormat::u16), (std::vector<std::int32_t>{7, 50256}));
  EXPECT_EQ(read("llama.bin", TokenFormat::u32), (std::vector<std::int32_t>{7, 128000}));
}

TEST(TokenFiles, EachMistakeHasItsMessage) {
  TemporaryFolder dir;
  auto expect = [&](const std::string& name, TokenFormat format, std::int64_t vocabulary, const char* code,
                    const std::string& message) {
    Error error = open_error(dir / name, format, vocabulary);
    EXPECT_EQ(error.code, code) << name;
    EXPECT_EQ(error.message, message) << name;
    EXPECT_FALSE(error.help.empty()) << name;
  };
  dir.write("empty.txt", "");
  dir.write("odd.bin", "abc");
  dir.write("text.txt", "plain caf\xc3\xa9");
  dir.write("u16.bin", little({1, 2, 1000, 5}, 2));
  dir.write("cut.bin", header(20240520, 1, 1000) + little({7, 8}, 2));
  dir.write("far.bin", header(20240520, 1, 3) + little({7, 8, 60000}, 2));
  dir.write("big.bin", little({1, 0x80000000u}, 4));
  std::filesystem::create_directory(dir / "folder");
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  expect("none*.txt", TokenFormat::bytes, 256, "DSM0900", "no file matches " + (dir / "none*.txt"));
  expect("folder", TokenFormat::bytes, 256, "DSM0901", "cannot read " + (dir / "folder") + ": it is a folder");
  expect("fifo", TokenFormat::bytes, 256, "DSM0901", "cannot read " + (dir / "fifo") + ": it is not a regular file");
  expect("text.txt", TokenFormat::bytes, 128, "DSM0902",
         (dir / "text.txt") + ": token 9 (byte offset 9) is 195, the vocabulary has 128");
  expect("u16.bin", TokenFormat::u16, 1000, "DSM0902",
         (dir / "u16.bin") + ": token 2 (byte offset 4) is 1,000, the vocabulary has 1,000");
  expect("far.bin", TokenFormat::u16, 50257, "DSM0902",
         (dir / "far.bin") + ": token 2 (byte offset 1,028) is 60,000, the vocabulary has 50,257");
  expect("big.bin", TokenFormat::u32, 0, "DSM0902",
         (dir / "big.bin") + ": token 1 (byte offset 4) is 2,147,483,648, the vocabulary has 2,147,483,648");
  expect("odd.bin", TokenFormat::u16, 0, "DSM0903",
         (dir / "odd.bin") + " has 3 bytes, not a multiple of 2, the size of one u16 token");
  expect("cut.bin", TokenFormat::u16, 0, "DSM0903",
         (dir / "cut.bin") + ": its header states 1,000 tokens (2,000 bytes) and 4 bytes follow it");
  expect("cut.bin", TokenFormat::u32, 0, "DSM0903",
         (dir / "cut.bin") + " has llm.c's header for u16 tokens and is read as u32");
  expect("empty.txt", TokenFormat::bytes, 256, "DSM0904", (dir / "empty.txt") + " is empty");
}

TEST(TokenFiles, OneBadTokenIsFoundAtEveryPlace) {
  TemporaryFolder dir;
  for (std::size_t place : {0, 1, 4095, 4096, 4097, 9999}) {
    std::string text(10000, 'a');
    text[place] = '\x90';
    dir.write("t.txt", text);
    EXPECT_NE(open_error(dir / "t.txt", TokenFormat::bytes, 128).message.find("is 144,"), std::string::npos) << place;
  }
  dir.write("t.txt", std::string(10000, '\x7f'));
  EXPECT_EQ(open_error(dir / "t.txt", TokenFormat::bytes, 128).code, "none");
}

TEST(TokenFiles, AFileThatShrinksIsAnErrorAndNoSignal) {
  TemporaryFolder dir;
  std::string path = dir.write("t.txt", std::string(100000, 'a'));
  Result<TokenFiles> files = TokenFiles::open(source(path, TokenFormat::bytes), 256);
  ASSERT_TRUE(files);
  std::vector<std::int32_t> tokens(100000);
  ASSERT_TRUE(files->read(0, 100000, tokens.data()));
  ASSERT_EQ(truncate(path.c_str(), 10), 0);
  Status status = files->read(50000, 10, tokens.data());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, "DSM0905");
  EXPECT_EQ(status.error().message, path + " had 100,000 bytes when it was opened and now has 10");
}

TEST(TokenFiles, AnOverwrittenFileCannotGiveATokenOutOfRange) {
  TemporaryFolder dir;
  std::string path = dir.write("t.bin", little({1, 2, 3, 4}, 2));
  Result<TokenFiles> files = TokenFiles::open(source(path, TokenFormat::u16), 10);
  ASSERT_TRUE(files);
  dir.write("t.bin", little({1, 2, 300, 4}, 2));
  std::int32_t tokens[4];
  Status status = files->read(0, 4, tokens);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, "DSM0905");
  EXPECT_EQ(status.error().message, path + " was overwritten: a token between 0 and 3 is now 300, the limit is 10");
}

}  // namespace
}  // namespace dsc
