// Goal: a pool goes out to a plain image and back without a byte changed, and nothing is overwritten unasked.
// Method: pools on tmpfs, and on hugetlbfs where there are huge pages; images are compared and checked.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "support/program.h"

namespace holdfast::cli {
namespace {

using test::holdfast;
using test::ProgramPool;
using test::read_file;
using test::Said;

class ImageTest : public ::testing::Test {
 protected:
  ImageTest() {
    test::write_file(beside("f"), std::string(300000, 'f'));
    pool_.ok({"put", "-q", "POOL", beside("f"), "/"});
  }
  std::string beside(const std::string& name) const { return pool_.beside(name); }

  ProgramPool pool_;
};

TEST_F(ImageTest, OutAndBack) {
  const std::string before = read_file(pool_.path());
  pool_.ok({"image", "export", "POOL", beside("out.img")});
  EXPECT_TRUE(read_file(beside("out.img")) == before);
  EXPECT_TRUE(read_file(pool_.path()) == before) << "export only reads";
  struct stat status {};
  ASSERT_EQ(stat(beside("out.img").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks * 512, 8 << 20) << "zeros are holes";
  EXPECT_EQ(status.st_mode & 0777U, 0644U);
  EXPECT_EQ(holdfast({"image", "import", beside("out.img"), beside("back.img")}).code, 0);
  EXPECT_TRUE(read_file(beside("back.img")) == before);
  EXPECT_EQ(holdfast({"check", beside("back.img")}).code, 0);
  EXPECT_EQ(holdfast({"cat", beside("back.img"), "/f"}).out, std::string(300000, 'f'));
}

TEST_F(ImageTest, NothingIsOverwrittenUnasked) {
  test::write_file(beside("precious"), "precious");
  Said said = pool_.run({"image", "export", "POOL", beside("precious")});
  EXPECT_EQ(said.code, 1);
  EXPECT_NE(said.err.find("--force"), std::string::npos) << said.err;
  EXPECT_EQ(read_file(beside("precious")), "precious");
  pool_.ok({"image", "export", "--force", "POOL", beside("precious")});
  const ProgramPool other;
  const std::string before = read_file(other.path());
  said = holdfast({"image", "import", beside("precious"), other.path()});
  EXPECT_EQ(said.code, 1);
  EXPECT_NE(said.err.find("--force"), std::string::npos) << said.err;
  EXPECT_TRUE(read_file(other.path()) == before);
  EXPECT_EQ(holdfast({"image", "import", "--force", beside("precious"), other.path()}).code, 0);
  EXPECT_EQ(holdfast({"check", other.path()}).code, 0);
  EXPECT_EQ(holdfast({"cat", other.path(), "/f"}).out, std::string(300000, 'f'));
}

TEST_F(ImageTest, OverOldContentHolesAreZeros) {
  pool_.ok({"image", "export", "POOL", beside("out.img")});
  test::write_file(beside("dirty"), std::string(64 << 20, 'd'));
  EXPECT_EQ(holdfast({"image", "import", "--force", beside("out.img"), beside("dirty")}).code, 0);
  EXPECT_TRUE(read_file(beside("dirty")) == read_file(pool_.path()));
}

TEST_F(ImageTest, WhatIsNoImageIsNotImported) {
  test::write_file(beside("text"), std::string(1 << 20, 't'));
  const Said said = holdfast({"image", "import", beside("text"), beside("new.img")});
  EXPECT_EQ(said.code, 1);
  EXPECT_FALSE(std::filesystem::exists(beside("new.img")));
  EXPECT_EQ(holdfast({"image", "import", beside("none"), beside("new.img")}).code, 1);
  EXPECT_EQ(pool_.run({"image", "export", "POOL", "POOL"}).code, 1);
  EXPECT_EQ(pool_.run({"image", "export", "--force", "POOL", "POOL"}).code, 1);
  EXPECT_EQ(pool_.run({"image", "import", "--force", "POOL", "POOL"}).code, 1);
  EXPECT_EQ(pool_.run({"check", "POOL"}).code, 0);
}

TEST_F(ImageTest, APoolThatIsTooSmall) {
  test::write_file(beside("small"), std::string(1 << 20, '\0'));
  const Said said = pool_.run({"image", "import", "POOL", beside("small")});
  EXPECT_EQ(said.code, 1);
  EXPECT_EQ(read_file(beside("small")), std::string(1 << 20, '\0'));
}

TEST(Mkfs, Refusals) {
  const test::ScratchDirectory scratch;
  const std::string pool = scratch.file("p");
  EXPECT_EQ(holdfast({"mkfs", pool}).code, 1) << "no size";
  EXPECT_FALSE(std::filesystem::exists(pool));
  EXPECT_EQ(holdfast({"mkfs", pool, "--size", "4K"}).code, 1) << "too small";
  EXPECT_FALSE(std::filesystem::exists(pool));
  EXPECT_EQ(holdfast({"mkfs", scratch.path(), "--size", "64M"}).code, 1) << "a directory";
  EXPECT_EQ(holdfast({"mkfs", scratch.file("none/p"), "--size", "64M"}).code, 1);
  EXPECT_EQ(holdfast({"mkfs", pool, "--size", "64M", "--page-size", "2M"}).code, 1);
  EXPECT_EQ(holdfast({"mkfs", pool, "--size", "64M", "--label", "one", "--page-size", "4K"}).code, 0);
  const std::string before = read_file(pool);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"mkfs", pool}, {"mkfs", pool, "--size", "64M"}, {"mkfs", pool, "--size", "32M"}}) {
    const Said said = holdfast(words);
    EXPECT_EQ(said.code, 1);
    EXPECT_NE(said.err.find("--force"), std::string::npos) << said.err;
    EXPECT_TRUE(read_file(pool) == before);
  }
  EXPECT_EQ(holdfast({"mkfs", pool, "--force", "--size", "32M"}).code, 0);
  EXPECT_EQ(std::filesystem::file_size(pool), 32U << 20U);
  EXPECT_EQ(holdfast({"mkfs", pool, "--force", "--quiet"}).out, "");
}

}  // namespace
}  // namespace holdfast::cli
