// Errors of the file system as values.
#include "runtime/checkpoint/durable_file.h"

#include <gtest/gtest.h>

#include "tests/unit/data/temporary_folder.h"

namespace dsc {
namespace {

TEST(DurableFile, ADeviceWithoutRoom) {
  Result<DurableFile> file = DurableFile::create("/dev/full", Code::export_unwritable);
  ASSERT_TRUE(file);
  Status status = file->write("abc", 3);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, "DSM0821");
  EXPECT_EQ(status.error().message, "cannot write /dev/full: No space left on device");
  EXPECT_EQ(status.error().help, "make room, or name another folder");
}

TEST(DurableFile, AFolderThatIsNotThere) {
  TemporaryFolder dir;
  Result<DurableFile> file = DurableFile::create(dir / "none/file", Code::checkpoint_unwritable);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message, "cannot write " + (dir / "none/file") + ": No such file or directory");
}

TEST(DurableFile, WritesRenamesAndMakesFolders) {
  TemporaryFolder dir;
  ASSERT_TRUE(make_folder(dir.path() / "a/b/c", Code::checkpoint_unwritable));
  ASSERT_TRUE(make_folder(dir.path() / "a/b/c", Code::checkpoint_unwritable));
  Result<DurableFile> file = DurableFile::create(dir / "a/b/c/x", Code::checkpoint_unwritable);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write("one", 3));
  ASSERT_TRUE(file->write("two", 3));
  ASSERT_TRUE(file->close());
  dir.write("a/b/c/y", "old");
  ASSERT_TRUE(rename_durably(dir / "a/b/c/x", dir / "a/b/c/y", Code::checkpoint_unwritable));
  EXPECT_EQ(read_bytes(dir / "a/b/c/y"), "onetwo");
  EXPECT_FALSE(std::filesystem::exists(dir / "a/b/c/x"));
}

}  // namespace
}  // namespace dsc
