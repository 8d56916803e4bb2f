// Goal: check finds what does not fit, alone and with e2fsck, and has fsck's exit codes.
// Method: debugfs breaks one thing of a sound pool at a time.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/program.h"
#include "support/skip.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using test::ProgramPool;
using test::Said;

class CheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::shell("PATH=$PATH:/sbin:/usr/sbin command -v debugfs") != 0) {
      HF_SKIP_CAPABILITY("e2fsprogs", "debugfs is not installed");
    }
    for (const char* name : {"a", "b"}) {
      test::write_file(pool_.beside(name), std::string(100000, *name));
      pool_.ok({"put", "-q", "POOL", pool_.beside(name), "/"});
    }
    pool_.ok({"mkdir", "-p", "POOL", "/d/e"});
  }

  void debugfs(const std::string& request) {
    std::string said;
    EXPECT_EQ(test::shell("PATH=$PATH:/sbin:/usr/sbin debugfs -w -R '" + request + "' '" + pool_.path() + "'", &said),
              0)
        << said;
  }

  // What our own eyes find, without e2fsck.
  std::string found(int code = 4) {
    const Said said = pool_.run({"check", "--no-e2fsck", "POOL"});
    EXPECT_EQ(said.code, code) << said.out << said.err;
    return said.out + said.err;
  }

  ProgramPool pool_;
};

TEST_F(CheckTest, ASoundPool) {
  const json report = json::parse(pool_.ok({"check", "--json", "--read-data", "POOL"}));
  EXPECT_EQ(report.at("clean"), true);
  EXPECT_EQ(report.at("exit"), 0);
  EXPECT_EQ(report.at("files"), 2);
  EXPECT_GE(report.at("directories"), 3);
  EXPECT_EQ(report.at("bytes_read"), 200000);
  EXPECT_EQ(report.at("problems"), json::array());
  EXPECT_EQ(report.at("e2fsck").at("exit"), 0);
  const std::string text = pool_.ok({"check", "POOL"});
  EXPECT_NE(text.find(": clean: 2 files"), std::string::npos) << text;
  EXPECT_NE(text.find("e2fsck -fn finds nothing"), std::string::npos) << text;
}

TEST_F(CheckTest, ABlockOfTwoFiles) {
  const json b = json::parse(pool_.ok({"extents", "--json", "POOL", "/b"})).at(0).at("extents").at(0);
  // b's only extent, rewritten to begin where a's does.
  const json a = json::parse(pool_.ok({"extents", "--json", "POOL", "/a"})).at(0).at("extents").at(0);
  const auto inode = json::parse(pool_.ok({"stat", "--json", "POOL", "/b"})).at(0).at("inode").get<int>();
  ASSERT_NE(a.at("device_offset"), b.at("device_offset"));
  const std::uint64_t block = a.at("device_offset").get<std::uint64_t>() / 4096;
  debugfs("set_inode_field <" + std::to_string(inode) + "> block[5] " + std::to_string(block));
  EXPECT_NE(found().find("shares blocks"), std::string::npos);
  EXPECT_EQ(pool_.run({"check", "POOL"}).code, 4);
}

TEST_F(CheckTest, AWrongLinkCount) {
  debugfs("set_inode_field /a links_count 2");
  EXPECT_NE(found().find("/a: has the link count 2, and 1 names"), std::string::npos) << found();
  debugfs("set_inode_field /a links_count 1");
  debugfs("set_inode_field /d links_count 9");
  EXPECT_NE(found().find("/d: has the link count 9, and 1 subdirectories"), std::string::npos) << found();
}

TEST_F(CheckTest, ANameOfAFreeInode) {
  debugfs("clri /a");
  EXPECT_NE(found().find("/a: "), std::string::npos) << found();
}

TEST_F(CheckTest, ADirectoryWithTwoNames) {
  debugfs("link /d/e /again");
  EXPECT_NE(found().find("again"), std::string::npos) << found();
}

TEST_F(CheckTest, BlocksThatNobodyOwns) {
  debugfs("setb 9000 1");
  EXPECT_NE(found().find("block 9000 is marked as used, and is not"), std::string::npos) << found();
  const Said said = pool_.run({"check", "POOL"});
  EXPECT_EQ(said.code, 4) << said.out;
  EXPECT_NE(said.out.find("e2fsck -fn finds errors"), std::string::npos) << said.out;
}

TEST_F(CheckTest, WhatCannotBeChecked) {
  EXPECT_EQ(test::holdfast({"check", pool_.beside("none")}).code, 8);
  test::write_file(pool_.beside("text"), std::string(100000, 't'));
  EXPECT_EQ(test::holdfast({"check", pool_.beside("text")}).code, 8);
  EXPECT_EQ(test::holdfast({"check", pool_.directory()}).code, 8);
  EXPECT_EQ(test::holdfast({"check"}).code, 16);
}

}  // namespace
}  // namespace holdfast::cli
