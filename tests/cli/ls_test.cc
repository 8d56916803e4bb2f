// Goal: ls shows what ls(1) shows, in its order and columns; df adds up.
// Method: a tree is put into a pool and listed; long lines are compared with those of ls(1) on the same tree.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "support/program.h"
#include "support/sample_tree.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using test::ProgramPool;

class LsTest : public ::testing::Test {
 protected:
  LsTest() {
    setenv("TZ", "UTC", 1);
    setenv("LC_ALL", "C", 1);
    namespace fs = std::filesystem;
    fs::create_directories(pool_.beside("t/d/e"));
    for (const char* name : {"b", "a", ".hidden", "B", "d/x", "d/e/y"}) {
      test::write_file(pool_.beside(std::string("t/") + name), std::string(1000, 'z'));
    }
    fs::create_symlink("d", pool_.beside("t/link"));
    pool_.ok({"put", "-q", "POOL", pool_.beside("t"), "/"});
  }

  ProgramPool pool_;
};

TEST_F(LsTest, SortedByBytesWithoutDots) { EXPECT_EQ(pool_.ok({"ls", "POOL", "/t"}), "B\na\nb\nd\nlink\n"); }

TEST_F(LsTest, All) { EXPECT_EQ(pool_.ok({"ls", "-a", "POOL", "/t"}), ".\n..\n.hidden\nB\na\nb\nd\nlink\n"); }

TEST_F(LsTest, TheRootWithoutAPath) { EXPECT_NE(pool_.ok({"ls", "POOL"}).find("t\n"), std::string::npos); }

TEST_F(LsTest, Recursive) {
  EXPECT_EQ(pool_.ok({"ls", "-R", "POOL", "/t"}), "/t:\nB\na\nb\nd\nlink\n\n/t/d:\ne\nx\n\n/t/d/e:\ny\n");
}

TEST_F(LsTest, FilesFirstThenDirectories) {
  EXPECT_EQ(pool_.ok({"ls", "POOL", "/t/d/e", "/t/b", "/t/a"}), "/t/a\n/t/b\n\n/t/d/e:\ny\n");
  EXPECT_EQ(pool_.ok({"ls", "-d", "POOL", "/t"}), "/t\n");
  EXPECT_EQ(pool_.ok({"ls", "POOL", "/t/link"}), "e\nx\n") << "a link that is named leads on";
}

TEST_F(LsTest, WhatIsMissingDoesNotHideTheRest) {
  const test::Said said = pool_.run({"ls", "POOL", "/none", "/t/a"});
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(said.out, "/t/a\n");
  EXPECT_NE(said.err.find("/none: No such file"), std::string::npos);
}

// The lines of ls -l, without the directory's own size and the counts that file systems give directories.
TEST_F(LsTest, LongAsTheNamesake) {
  const test::SampleTree sample = test::make_sample_tree(pool_.beside("s"));
  if (geteuid() != 0) test::open_up(pool_.beside("s"));
  pool_.ok({"put", "-q", "POOL", pool_.beside("s"), "/"});
  std::string theirs;
  const std::string list = "cd '" + pool_.beside("s") + "' && ls -lA | sed -e '/^d/d' -e '/^total/d'";
  ASSERT_EQ(test::shell(list, &theirs), 0);
  std::string ours;
  std::istringstream lines(pool_.ok({"ls", "-la", "POOL", "/s"}));
  for (std::string line; std::getline(lines, line);) {
    if (line[0] != 'd' && line.rfind("total", 0) != 0) ours += line + "\n";
  }
  EXPECT_GE(sample.files, 20U);
  // Columns are as wide as the widest entry, and directories of the host may be wider: spaces are made one.
  const auto squeezed = [](const std::string& text) {
    std::string out;
    for (const char c : text) {
      if (c != ' ' || out.empty() || out.back() != ' ') out += c;
    }
    return out;
  };
  EXPECT_EQ(squeezed(ours), squeezed(theirs));
}

TEST_F(LsTest, Json) {
  const json list = json::parse(pool_.ok({"ls", "-R", "--json", "POOL", "/t"}));
  ASSERT_EQ(list.size(), 8U);
  EXPECT_EQ(list.at(0).at("path"), "/t/B");
  EXPECT_EQ(list.at(4).at("target"), "d");
  EXPECT_EQ(list.at(1).at("size"), 1000);
}

TEST_F(LsTest, InodesAndHumanSizes) {
  const std::string inode =
      std::to_string(json::parse(pool_.ok({"stat", "--json", "POOL", "/t/a"})).at(0).at("inode").get<int>());
  EXPECT_NE(pool_.ok({"ls", "-i", "POOL", "/t"}).find(inode + " a\n"), std::string::npos);
  pool_.ok({"truncate", "-s", "1536K", "POOL", "/t/a"});
  EXPECT_NE(pool_.ok({"ls", "-lh", "POOL", "/t"}).find(" 1.5M "), std::string::npos);
}

TEST_F(LsTest, DfAddsUp) {
  const json before = json::parse(pool_.ok({"df", "--json", "POOL"})).at(0);
  EXPECT_EQ(before.at("used").get<std::uint64_t>() + before.at("free").get<std::uint64_t>(),
            before.at("total").get<std::uint64_t>());
  EXPECT_EQ(before.at("files"), 6);
  EXPECT_EQ(before.at("file_bytes"), 6 * 4096);
  EXPECT_EQ(before.at("quarantined"), 0);
  pool_.ok({"fallocate", "-l", "16M", "POOL", "/large"});
  const json after = json::parse(pool_.ok({"df", "--json", "POOL"})).at(0);
  EXPECT_GE(after.at("used").get<std::uint64_t>(), before.at("used").get<std::uint64_t>() + (16U << 20U));
  EXPECT_EQ(after.at("file_bytes").get<std::uint64_t>(), before.at("file_bytes").get<std::uint64_t>() + (16U << 20U));
  const json& units = after.at("units");
  EXPECT_EQ(units.at("in_2m").get<std::uint64_t>() + units.at("carrier").get<std::uint64_t>(), 16U << 20U)
      << "a large file lies in whole units";
  EXPECT_EQ(units.at("file_end"), 6 * 4096) << "small files have none";
  EXPECT_EQ(after.at("share_in_2m_units"), 1.0);
  const std::string text = pool_.ok({"df", "POOL", "POOL"});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  EXPECT_NE(pool_.ok({"df", "--units", "POOL"}).find("behind the last whole unit"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cli
