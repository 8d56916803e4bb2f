// Goal: commands that read change nothing of a pool, not a byte, and share it with each other.
// Method: the image and its modification time before and after each, also while another reader has it and when the file
// itself may only be read.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include <holdfast/holdfast.h>

#include "support/program.h"
#include "support/sample_tree.h"

namespace holdfast::cli {
namespace {

using test::ProgramPool;

TEST(ReadOnly, NotAByteChanges) {
  const ProgramPool pool;
  test::make_sample_tree(pool.beside("from"));
  test::open_up(pool.beside("from"));
  pool.ok({"put", "-q", "POOL", pool.beside("from"), "/"});
  std::filesystem::permissions(pool.path(), std::filesystem::perms(0444));
  const std::string before = test::read_file(pool.path());
  struct stat then {};
  ASSERT_EQ(stat(pool.path().c_str(), &then), 0);
  Result<Device> other_reader = Device::open_read_only(pool.path());
  ASSERT_TRUE(other_reader.has_value()) << other_reader.error().message();
  const std::vector<std::vector<std::string>> readers{
      {"ls", "-laR", "POOL"},
      {"ls", "--json", "POOL"},
      {"stat", "POOL", "/", "/from/link", "/from/file-4096"},
      {"cat", "POOL", "/from/file-4096"},
      {"get", "--verify", "POOL", "/from", pool.beside("to")},
      {"df", "POOL"},
      {"extents", "POOL", "/from/sparse"},
      {"check", "--read-data", "POOL"},
      {"image", "export", "POOL", pool.beside("export.img")},
  };
  for (const std::vector<std::string>& words : readers) {
    pool.ok(words);
    EXPECT_TRUE(test::read_file(pool.path()) == before) << words[0];
    struct stat now {};
    ASSERT_EQ(stat(pool.path().c_str(), &now), 0);
    EXPECT_EQ(now.st_mtim.tv_sec, then.st_mtim.tv_sec) << words[0];
    EXPECT_EQ(now.st_mtim.tv_nsec, then.st_mtim.tv_nsec) << words[0];
  }
  // And a writer is told that a reader is there.
  const test::Said said = pool.run({"rm", "POOL", "/from/fifo"});
  EXPECT_EQ(said.code, 1);
  EXPECT_TRUE(test::read_file(pool.path()) == before);
  test::open_up(pool.directory());
}

}  // namespace
}  // namespace holdfast::cli
