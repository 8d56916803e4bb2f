// Goal: --verify finds every kind of difference.
// Method: a tree and its copy by cp -a; one thing of the copy is changed at a time.
#include "cli/compare.h"

#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "cli/host_tree.h"
#include "support/program.h"
#include "support/skip.h"

namespace holdfast::cli {
namespace {

using test::write_file;

class CompareTest : public ::testing::Test {
 protected:
  CompareTest() {
    namespace fs = std::filesystem;
    fs::create_directories(at("a/sub"));
    write_file(at("a/file"), std::string(1500000, 'f'));
    write_file(at("a/sub/other"), "other");
    fs::create_hard_link(at("a/file"), at("a/sub/again"));
    fs::create_symlink("file", at("a/link"));
    EXPECT_EQ(test::shell("mkfifo '" + at("a/fifo") + "' && cp -a '" + at("a") + "' '" + at("b") + "'"), 0);
  }

  std::string at(const std::string& name) const { return scratch_.file(name); }

  std::string compare(bool owners = true) {
    std::ostringstream out;
    std::ostringstream err;
    Io io{out, err};
    Progress progress(io, false);
    Comparer comparer(host_, host_, {.owners = owners, .skip = std::nullopt}, progress, io);
    comparer.compare(at("a"), at("b"));
    EXPECT_EQ(comparer.differences() == 0, err.str().empty());
    return err.str();
  }

  // Changes the copy without its modification time.
  void change(const std::string& name, const std::string& command) {
    EXPECT_EQ(test::shell("cd '" + at("b") + "' && " + command + " && touch -h -r '" + at("a/") + name + "' " + name),
              0);
  }

  test::ScratchDirectory scratch_;
  HostTree host_;
};

TEST_F(CompareTest, TheSame) { EXPECT_EQ(compare(), ""); }

TEST_F(CompareTest, Contents) {
  change("file", "printf X | dd of=file bs=1 seek=1234567 conv=notrunc status=none");
  EXPECT_NE(compare().find("b/file: differs: has other contents from byte 1234567 on"), std::string::npos) << compare();
}

TEST_F(CompareTest, Size) {
  change("sub/other", "truncate -s 6 sub/other");
  EXPECT_NE(compare().find("has 6 bytes, not 5"), std::string::npos) << compare();
}

TEST_F(CompareTest, AHoleWhereDataWas) {
  change("file", "fallocate -p -o 0 -l 4096 file");
  EXPECT_NE(compare().find("from byte 0 on"), std::string::npos) << compare();
}

TEST_F(CompareTest, Permissions) {
  change("file", "chmod 4755 file");
  EXPECT_NE(compare().find("has permissions 4755"), std::string::npos) << compare();
}

TEST_F(CompareTest, Owner) {
  if (geteuid() != 0) HF_SKIP_CAPABILITY("root", "only root gives files away");
  change("sub/other", "chown 12:34 sub/other");
  EXPECT_NE(compare().find("belongs to 12:34"), std::string::npos) << compare();
  EXPECT_EQ(compare(false), "");
}

TEST_F(CompareTest, Time) {
  EXPECT_EQ(test::shell("touch -h '" + at("b/link") + "'"), 0);
  EXPECT_NE(compare().find("b/link: differs: was modified at another time"), std::string::npos) << compare();
}

TEST_F(CompareTest, Kind) {
  change("fifo", "rm fifo && touch fifo");
  EXPECT_NE(compare().find("is a regular file, not a fifo"), std::string::npos) << compare();
}

TEST_F(CompareTest, Target) {
  change("link", "ln -sfn elsewhere link");
  EXPECT_NE(compare().find("leads to 'elsewhere', not to 'file'"), std::string::npos) << compare();
}

TEST_F(CompareTest, HardLink) {
  change("sub/again",
         "cp -p file new && mv new sub/again && touch -r '" + at("a/sub") + "' sub && touch -r '" + at("a") + "' .");
  EXPECT_NE(compare().find("is not a name of the same file"), std::string::npos) << compare();
}

TEST_F(CompareTest, Missing) {
  change("sub", "rm sub/other");
  EXPECT_NE(compare().find("b/sub/other: No such file or directory"), std::string::npos) << compare();
}

TEST_F(CompareTest, Attribute) {
  if (setxattr(at("a/file").c_str(), "user.x", "1", 1, 0) != 0) {
    HF_SKIP_CAPABILITY("user-xattr", "no user attributes here");
  }
  EXPECT_NE(compare().find("lacks the attribute user.x"), std::string::npos) << compare();
  ASSERT_EQ(setxattr(at("b/file").c_str(), "user.x", "2", 1, 0), 0);
  EXPECT_NE(compare().find("another value of the attribute user.x"), std::string::npos) << compare();
  ASSERT_EQ(setxattr(at("b/file").c_str(), "user.x", "1", 1, 0), 0);
  EXPECT_EQ(compare(), "");
}

}  // namespace
}  // namespace holdfast::cli
