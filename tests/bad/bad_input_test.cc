// Goal: bad input of every other kind gets one line, the right exit code, and leaves everything as it was.
// Method: the program in this process, on files that are not there, are no pools, or may not be used.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "support/program.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

// A command line of every command, complete but for the pool.
const std::vector<std::vector<std::string>> kEveryCommand{
    {"ls", "POOL"},
    {"stat", "POOL", "/"},
    {"cat", "POOL", "/f"},
    {"df", "POOL"},
    {"extents", "POOL", "/f"},
    {"check", "POOL"},
    {"get", "POOL", "/", "DEST"},
    {"put", "POOL", "/etc/hostname", "/"},
    {"mkdir", "POOL", "/d"},
    {"rm", "POOL", "/f"},
    {"mv", "POOL", "/f", "/g"},
    {"ln", "POOL", "/f", "/g"},
    {"truncate", "-s", "0", "POOL", "/f"},
    {"fallocate", "-l", "1M", "POOL", "/f"},
    {"punch", "POOL", "0", "4K", "/f"},
    {"chmod", "POOL", "644", "/f"},
    {"chown", "POOL", "0:0", "/f"},
    {"image", "export", "POOL", "DEST"},
    {"image", "import", "POOL", "DEST"},
};

class BadInput : public ::testing::Test {
 protected:
  void expect_refused(const std::string& pool) {
    for (std::vector<std::string> words : kEveryCommand) {
      std::replace(words.begin(), words.end(), std::string("POOL"), pool);
      std::replace(words.begin(), words.end(), std::string("DEST"), scratch_.file("dest"));
      const Said said = holdfast(words);
      // A pool is exported as it is, whatever it holds.
      if (words[0] == "image" && words[1] == "export" && said.code == 0) {
        std::filesystem::remove(scratch_.file("dest"));
        continue;
      }
      EXPECT_EQ(said.code, words[0] == "check" ? 8 : 1) << words[0] << ' ' << pool << said.err;
      EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 1) << words[0] << ": " << said.err;
      EXPECT_EQ(said.err.rfind("holdfast: ", 0), 0U) << said.err;
      EXPECT_NE(said.err.find(pool), std::string::npos) << "the object is named: " << said.err;
      EXPECT_FALSE(std::filesystem::exists(scratch_.file("dest"))) << words[0];
    }
  }

  ScratchDirectory scratch_;
};

TEST_F(BadInput, APoolThatIsNotThere) {
  expect_refused(scratch_.file("none"));
  EXPECT_FALSE(std::filesystem::exists(scratch_.file("none")));
}

TEST_F(BadInput, ADirectory) { expect_refused(scratch_.path()); }

TEST_F(BadInput, ADevice) { expect_refused("/dev/null"); }

TEST_F(BadInput, AFifo) {
  ASSERT_EQ(mkfifo(scratch_.file("fifo").c_str(), 0600), 0);
  expect_refused(scratch_.file("fifo"));
}

TEST_F(BadInput, AnEmptyFile) {
  write_file(scratch_.file("empty"), "");
  expect_refused(scratch_.file("empty"));
  EXPECT_EQ(std::filesystem::file_size(scratch_.file("empty")), 0U);
}

TEST_F(BadInput, ATextFile) {
  const std::string text(100000, 't');
  write_file(scratch_.file("text"), text);
  expect_refused(scratch_.file("text"));
  EXPECT_EQ(read_file(scratch_.file("text")), text);
}

TEST_F(BadInput, AFileThatMayNotBeRead) {
  if (geteuid() == 0) HF_SKIP_CAPABILITY("ordinary", "root may read everything");
  write_file(scratch_.file("secret"), std::string(100000, 's'));
  ASSERT_EQ(chmod(scratch_.file("secret").c_str(), 0), 0);
  expect_refused(scratch_.file("secret"));
}

TEST_F(BadInput, PathsInsideAPool) {
  const ProgramPool pool;
  write_file(pool.beside("f"), "f");
  pool.ok({"put", "-q", "POOL", pool.beside("f"), "/"});
  pool.ok({"ln", "-s", "POOL", "/loop", "/loop"});
  const std::string long_name(256, 'n');
  const std::string before = pool.ok({"ls", "-laR", "POOL"});
  const std::vector<std::vector<std::string>> wrong{
      {"cat", "POOL", "/none"},
      {"cat", "POOL", "/f/none"},
      {"cat", "POOL", "/loop"},
      {"cat", "POOL", "/loop/x"},
      {"cat", "POOL", "/" + long_name},
      {"mkdir", "POOL", "/" + long_name},
      {"mkdir", "POOL", "/f/d"},
      {"mkdir", "POOL", "/none/d"},
      {"rm", "POOL", "/none"},
      {"rm", "POOL", "/f/"},
      {"mv", "POOL", "/none", "/x"},
      {"mv", "POOL", "/f", "/" + long_name},
      {"ln", "POOL", "/none", "/x"},
      {"ln", "-s", "POOL", std::string(5000, 't'), "/x"},
      {"truncate", "-s", "8388607T", "POOL", "/f"},
      {"fallocate", "-l", "1G", "POOL", "/f"},
      {"chmod", "POOL", "644", "/none"},
      {"chown", "POOL", "0", "/none"},
      {"extents", "POOL", "/none"},
      {"stat", "POOL", "/none"},
      {"get", "POOL", "/none", pool.beside("out")},
      {"get", "POOL", "/f", pool.beside("no/such/place")},
      {"put", "POOL", pool.beside("none"), "/"},
      {"put", "POOL", pool.beside("f"), "/none/deeper"},
  };
  for (const std::vector<std::string>& words : wrong) {
    const Said said = pool.run(words);
    EXPECT_EQ(said.code, 1) << words[0] << ' ' << words.back();
    EXPECT_EQ(std::count(said.err.begin(), said.err.end(), '\n'), 1) << words[0] << ": " << said.err;
    EXPECT_EQ(said.err.rfind("holdfast: ", 0), 0U) << said.err;
  }
  EXPECT_EQ(pool.ok({"ls", "-laR", "POOL"}), before);
  EXPECT_EQ(pool.run({"check", "POOL"}).code, 0);
}

}  // namespace
}  // namespace holdfast::test
