// Goal: the file commands do inside a pool what their namesakes do outside.
// Method: each is run through the program on a pool; the pool is asked afterwards, and e2fsck at the end of every test.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/mode.h"
#include "support/program.h"

namespace holdfast::cli {
namespace {

using nlohmann::json;
using test::ProgramPool;
using test::Said;

class FilesTest : public ::testing::Test {
 protected:
  ~FilesTest() override {
    const Said checked = pool_.run({"check", "POOL"});
    EXPECT_EQ(checked.code, 0) << checked.out << checked.err;
  }

  void make_file(const std::string& path, const std::string& text) {
    test::write_file(pool_.beside("source"), text);
    pool_.ok({"put", "--quiet", "POOL", pool_.beside("source"), path});
  }
  json stat(const std::string& path) { return json::parse(pool_.ok({"stat", "--json", "POOL", path})).at(0); }
  bool is_there(const std::string& path) { return pool_.run({"stat", "POOL", path}).code == 0; }
  void expect_failure(const std::vector<std::string>& words, const std::string& reason) {
    const Said said = pool_.run(words);
    EXPECT_EQ(said.code, 1) << words[0];
    EXPECT_NE(said.err.find(reason), std::string::npos) << words[0] << ": " << said.err;
    EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 1) << said.err;
  }

  ProgramPool pool_;
};

TEST_F(FilesTest, Mkdir) {
  pool_.ok({"mkdir", "POOL", "/a", "/a/b", "/c/"});
  EXPECT_EQ(stat("/a/b").at("type"), "directory");
  EXPECT_EQ(stat("/a").at("mode"), fmt::format("{:04o}", 0777U & ~current_umask()));
  expect_failure({"mkdir", "POOL", "/a"}, "File exists");
  expect_failure({"mkdir", "POOL", "/x/y"}, "No such file");
  pool_.ok({"mkdir", "-p", "POOL", "/a", "/x/y/z/", "/x//y/./w"});
  EXPECT_TRUE(is_there("/x/y/z"));
  EXPECT_TRUE(is_there("/x/y/w"));
  pool_.ok({"mkdir", "-m", "1750", "POOL", "/m"});
  EXPECT_EQ(stat("/m").at("mode"), "1750");
  make_file("/f", "f");
  expect_failure({"mkdir", "-p", "POOL", "/f"}, "not a directory");
  expect_failure({"mkdir", "-p", "POOL", "/f/g"}, "Not a directory");
  // One that fails does not keep the others from being made.
  EXPECT_EQ(pool_.run({"mkdir", "POOL", "/a", "/new"}).code, 1);
  EXPECT_TRUE(is_there("/new"));
}

TEST_F(FilesTest, Cat) {
  make_file("/a", "first\n");
  make_file("/b", std::string(3000000, 'b'));
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/a", "/b", "/a"}), "first\n" + std::string(3000000, 'b') + "first\n");
  pool_.ok({"ln", "-s", "POOL", "a", "/link"});
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/link"}), "first\n");
  const Said said = pool_.run({"cat", "POOL", "/none", "/a"});
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(said.out, "first\n");
  expect_failure({"cat", "POOL", "/"}, "directory");
}

TEST_F(FilesTest, Rm) {
  make_file("/f", "f");
  pool_.ok({"mkdir", "-p", "POOL", "/d/e", "/empty"});
  make_file("/d/e/g", "g");
  pool_.ok({"ln", "-s", "POOL", "/d", "/link"});
  expect_failure({"rm", "POOL", "/d"}, "is a directory");
  expect_failure({"rm", "POOL", "/none"}, "No such file");
  expect_failure({"rm", "-r", "POOL", "/"}, "root");
  expect_failure({"rm", "-r", "POOL", "/d/."}, "refused");
  expect_failure({"rm", "-r", "POOL", "/d/.."}, "refused");
  expect_failure({"rm", "-d", "POOL", "/d"}, "not empty");
  pool_.ok({"rm", "-f", "POOL", "/none", "/f/below-a-file"});
  pool_.ok({"rm", "-d", "POOL", "/empty"});
  pool_.ok({"rm", "-r", "POOL", "/link"});
  EXPECT_TRUE(is_there("/d/e/g")) << "a link is removed, not what it leads to";
  pool_.ok({"rm", "-r", "POOL", "/f", "/d"});
  EXPECT_FALSE(is_there("/d"));
  EXPECT_FALSE(is_there("/f"));
}

TEST_F(FilesTest, Mv) {
  make_file("/a", "a");
  make_file("/b", "b");
  pool_.ok({"mkdir", "-p", "POOL", "/d/sub", "/e"});
  pool_.ok({"mv", "POOL", "/a", "/c"});
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/c"}), "a");
  pool_.ok({"mv", "-n", "POOL", "/b", "/c"});
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/c"}), "a");
  pool_.ok({"mv", "POOL", "/b", "/c"});
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/c"}), "b");
  EXPECT_FALSE(is_there("/b"));
  pool_.ok({"mv", "POOL", "/c", "/d/", "/e"});
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/e/c"}), "b");
  EXPECT_TRUE(is_there("/e/d/sub"));
  expect_failure({"mv", "POOL", "/e", "/e/d"}, "into itself");
  expect_failure({"mv", "POOL", "/none", "/x"}, "No such file");
  expect_failure({"mv", "POOL", "/e/c", "/e/d", "/none"}, "No such file");
  expect_failure({"mv", "POOL", "/e/c", "/none/"}, "");
  expect_failure({"mv", "-T", "POOL", "/e/c", "/e/d"}, "is a directory");
  expect_failure({"mv", "POOL", "/e/d", "/e/c"}, "not a directory");
  make_file("/one", "1");
  pool_.ok({"ln", "POOL", "/one", "/two"});
  pool_.ok({"mv", "POOL", "/one", "/two"});
  EXPECT_FALSE(is_there("/one")) << "two names of one file: the first goes";
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/two"}), "1");
  expect_failure({"mv", "POOL", "/two", "/two"}, "already");
}

TEST_F(FilesTest, Ln) {
  make_file("/a", "a");
  pool_.ok({"mkdir", "POOL", "/d"});
  pool_.ok({"ln", "POOL", "/a", "/b"});
  EXPECT_EQ(stat("/a").at("inode"), stat("/b").at("inode"));
  EXPECT_EQ(stat("/a").at("links"), 2);
  pool_.ok({"ln", "POOL", "/a", "/b", "/d"});
  EXPECT_EQ(stat("/d/b").at("links"), 4);
  pool_.ok({"ln", "-s", "POOL", "../no where", "/d/link"});
  EXPECT_EQ(stat("/d/link").at("target"), "../no where");
  expect_failure({"ln", "POOL", "/a", "/b"}, "File exists");
  expect_failure({"ln", "POOL", "/d", "/e"}, "one name");
  expect_failure({"ln", "POOL", "/none", "/e"}, "No such file");
  pool_.ok({"ln", "-sf", "POOL", "x", "/d/link"});
  EXPECT_EQ(stat("/d/link").at("target"), "x");
  make_file("/other", "o");
  pool_.ok({"ln", "-f", "POOL", "/a", "/other"});
  EXPECT_EQ(stat("/other").at("inode"), stat("/a").at("inode"));
  pool_.ok({"ln", "-f", "POOL", "/a", "/a"});
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/a"}), "a");
  expect_failure({"ln", "-sfT", "POOL", "x", "/d"}, "is a directory");
}

TEST_F(FilesTest, Truncate) {
  make_file("/a", std::string(10000, 'a'));
  const auto sized = [&](const char* size) {
    pool_.ok({"truncate", "-s", size, "POOL", "/a"});
    return stat("/a").at("size").get<std::uint64_t>();
  };
  EXPECT_EQ(sized("5000"), 5000U);
  EXPECT_EQ(sized("+1K"), 6024U);
  EXPECT_EQ(sized("-24"), 6000U);
  EXPECT_EQ(sized("<7000"), 6000U);
  EXPECT_EQ(sized(">7000"), 7000U);
  EXPECT_EQ(sized("/4K"), 4096U);
  EXPECT_EQ(sized("+1"), 4097U);
  EXPECT_EQ(sized("%4K"), 8192U);
  EXPECT_EQ(sized("-1G"), 0U);
  EXPECT_EQ(sized("1G"), 1U << 30U);
  EXPECT_EQ(sized("10"), 10U);
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/a"}), std::string(10, '\0'));
  pool_.ok({"truncate", "-c", "-s", "1", "POOL", "/none"});
  EXPECT_FALSE(is_there("/none"));
  pool_.ok({"truncate", "-s", "3", "POOL", "/new"});
  EXPECT_EQ(stat("/new").at("size"), 3);
  expect_failure({"truncate", "-s", "1", "POOL", "/"}, "directory");
  expect_failure({"truncate", "-s", "8388607T", "POOL", "/a"}, "");
}

TEST_F(FilesTest, FallocateAndPunch) {
  pool_.ok({"fallocate", "-l", "8M", "POOL", "/a"});
  EXPECT_EQ(stat("/a").at("size"), 8 << 20);
  EXPECT_GE(stat("/a").at("allocated").get<int>(), 8 << 20);
  pool_.ok({"fallocate", "-n", "-o", "8M", "-l", "1M", "POOL", "/a"});
  EXPECT_EQ(stat("/a").at("size"), 8 << 20);
  EXPECT_GE(stat("/a").at("allocated").get<int>(), 9 << 20);
  make_file("/b", std::string(3 << 20, 'b'));
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"punch", "POOL", "4K", "1M", "/b"}, {"punch", "2M", "4096", "POOL", "/b"}}) {
    pool_.ok(words);
  }
  std::string expected(3 << 20, 'b');
  expected.replace(4096, 1 << 20, 1 << 20, '\0');
  expected.replace(2 << 20, 4096, 4096, '\0');
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/b"}), expected);
  EXPECT_LE(stat("/b").at("allocated").get<int>(), (2 << 20) + 8192);
  pool_.ok({"fallocate", "-z", "-o", "0", "-l", "4K", "POOL", "/b"});
  expected.replace(0, 4096, 4096, '\0');
  EXPECT_EQ(pool_.ok({"cat", "POOL", "/b"}), expected);
  expect_failure({"fallocate", "-l", "1G", "POOL", "/c"}, "free");
  expect_failure({"punch", "POOL", "0", "1", "/none"}, "No such file");
}

TEST_F(FilesTest, Chmod) {
  make_file("/a", "a");
  pool_.ok({"mkdir", "-p", "POOL", "/d/e"});
  make_file("/d/e/f", "f");
  pool_.ok({"ln", "-s", "POOL", "/a", "/link"});
  pool_.ok({"ln", "-s", "POOL", "/a", "/d/link"});
  pool_.ok({"chmod", "POOL", "640", "/a"});
  EXPECT_EQ(stat("/a").at("mode"), "0640");
  pool_.ok({"chmod", "POOL", "u+x,o=r", "/link"});
  EXPECT_EQ(stat("/a").at("mode"), "0744");
  pool_.ok({"chmod", "POOL", "-x", "/a"});
  EXPECT_EQ(stat("/a").at("mode"), "0644");
  pool_.ok({"chmod", "-R", "POOL", "u=rwX,go=", "/d"});
  EXPECT_EQ(stat("/d").at("mode"), "0700");
  EXPECT_EQ(stat("/d/e").at("mode"), "0700");
  EXPECT_EQ(stat("/d/e/f").at("mode"), "0600");
  EXPECT_EQ(stat("/a").at("mode"), "0644") << "links below are passed over";
  expect_failure({"chmod", "POOL", "644", "/none"}, "No such file");
}

TEST_F(FilesTest, Chown) {
  make_file("/a", "a");
  pool_.ok({"mkdir", "POOL", "/d"});
  pool_.ok({"ln", "-s", "POOL", "/a", "/d/link"});
  pool_.ok({"chmod", "POOL", "6755", "/a"});
  pool_.ok({"chown", "POOL", "12345:54321", "/a"});
  EXPECT_EQ(stat("/a").at("uid"), 12345);
  EXPECT_EQ(stat("/a").at("gid"), 54321);
  EXPECT_EQ(stat("/a").at("mode"), "0755");
  pool_.ok({"chown", "POOL", ":7", "/d/link"});
  EXPECT_EQ(stat("/a").at("uid"), 12345);
  EXPECT_EQ(stat("/a").at("gid"), 7);
  pool_.ok({"chown", "-h", "POOL", "8", "/d/link"});
  EXPECT_EQ(stat("/d/link").at("uid"), 8);
  EXPECT_EQ(stat("/a").at("uid"), 12345);
  pool_.ok({"chown", "-R", "POOL", "root:9", "/d"});
  EXPECT_EQ(stat("/d").at("gid"), 9);
  EXPECT_EQ(stat("/d/link").at("gid"), 9);
  EXPECT_EQ(stat("/a").at("gid"), 7);
}

TEST_F(FilesTest, StatAndExtents) {
  make_file("/a", std::string(5000, 'a'));
  const std::string text = pool_.ok({"stat", "POOL", "/a"});
  EXPECT_NE(text.find("  File: /a\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  Size: 5000 "), std::string::npos) << text;
  EXPECT_NE(text.find("regular file"), std::string::npos) << text;
  pool_.ok({"ln", "-s", "POOL", "a", "/link"});
  EXPECT_EQ(stat("/link").at("type"), "symlink");
  EXPECT_EQ(json::parse(pool_.ok({"stat", "-L", "--json", "POOL", "/link"})).at(0).at("size"), 5000);
  const json extents = json::parse(pool_.ok({"extents", "--json", "POOL", "/a"})).at(0);
  ASSERT_EQ(extents.at("extents").size(), 1U);
  EXPECT_EQ(extents.at("extents").at(0).at("offset"), 0);
  EXPECT_EQ(extents.at("extents").at(0).at("length"), 8192);
  EXPECT_EQ(extents.at("extents").at(0).at("device_offset").get<std::uint64_t>() % 4096, 0U);
  // What the table says is where the bytes are.
  const std::string image = test::read_file(pool_.path());
  EXPECT_EQ(image.substr(extents.at("extents").at(0).at("device_offset"), 5000), std::string(5000, 'a'));
  EXPECT_NE(pool_.ok({"extents", "POOL", "/a"}).find("written"), std::string::npos);
}

// Memory that is lost: what is free goes to the list, what a file has is named until it is punched.
TEST_F(FilesTest, Badblocks) {
  make_file("/a", std::string(20000, 'a'));
  EXPECT_EQ(pool_.ok({"badblocks", "POOL"}), "");
  EXPECT_EQ(pool_.ok({"badblocks", "--json", "POOL"}), "[]\n");
  const std::string listed = pool_.ok({"badblocks", "POOL", "40M", "10K"});
  EXPECT_NE(listed.find("        41943040            12288  retired\n"), std::string::npos) << listed;
  const auto at = json::parse(pool_.ok({"extents", "--json", "POOL", "/a"}))
                      .at(0)
                      .at("extents")
                      .at(0)
                      .at("device_offset")
                      .get<std::uint64_t>();
  const std::vector<std::string> tells{"badblocks", "--json", "POOL", std::to_string(at + 4096), "1"};
  const test::Said said = pool_.run(tells);
  EXPECT_EQ(said.code, 1);
  EXPECT_NE(said.err.find("lost memory is in use"), std::string::npos) << said.err;
  const json in_use = json::parse(said.out);
  ASSERT_EQ(in_use.size(), 2U);
  EXPECT_EQ(in_use.at(0).at("state"), "in use");
  EXPECT_EQ(in_use.at(0).at("files").at(0).at("path"), "/a");
  EXPECT_EQ(in_use.at(0).at("files").at(0).at("offset"), 4096);
  EXPECT_EQ(in_use.at(1).at("length"), 12288);
  pool_.ok({"punch", "POOL", "4096", "4096", "/a"});
  EXPECT_EQ(json::parse(pool_.ok(tells)).size(), 2U);
  EXPECT_EQ(json::parse(pool_.ok({"df", "--json", "POOL"})).at(0).at("bad"), 16384);
  EXPECT_NE(pool_.ok({"df", "POOL"}).find("16K on the list of bad blocks"), std::string::npos);
  pool_.ok({"check", "POOL"});
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"badblocks", "POOL", "1"}, {"badblocks", "POOL", "x", "1"}, {"badblocks", "POOL", "0", "0"}}) {
    EXPECT_EQ(pool_.run(wrong).code, 2);
  }
  EXPECT_EQ(pool_.run({"badblocks", "POOL", "1T", "1"}).code, 1);
}

}  // namespace
}  // namespace holdfast::cli
