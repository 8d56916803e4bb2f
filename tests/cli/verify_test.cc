// Goal: what Filesystem::verify answers beside problems: totals, progress, and when it does not look at all.
// Method: a pool made by the program, mounted in this process.
#include <gtest/gtest.h>

#include <cerrno>

#include <holdfast/holdfast.h>

#include "support/program.h"

namespace holdfast::cli {
namespace {

using test::ProgramPool;

class VerifyTest : public ::testing::Test {
 protected:
  VerifyTest() {
    pool_.ok({"mkdir", "-p", "POOL", "/d/e"});
    pool_.ok({"ln", "-s", "POOL", "target", "/link"});
    test::write_file(pool_.beside("f"), "f");
    pool_.ok({"put", "-q", "POOL", pool_.beside("f"), "/d"});
    pool_.ok({"ln", "POOL", "/d/f", "/d/e/g"});
  }

  Filesystem mount(bool read_only) {
    Device device = (read_only ? Device::open_read_only(pool_.path()) : Device::open(pool_.path())).value();
    return Filesystem::mount(std::move(device), {.read_only = read_only}).value();
  }

  ProgramPool pool_;
};

TEST_F(VerifyTest, CountsWhatIsThere) {
  const Filesystem fs = mount(true);
  const VerifyReport report = fs.verify().value();
  EXPECT_TRUE(report.sound()) << report.problems.front();
  EXPECT_EQ(report.files, 1U);
  EXPECT_EQ(report.directories, 4U);  // with lost+found
  EXPECT_EQ(report.symlinks, 1U);
  EXPECT_EQ(report.nodes, 0U);
  EXPECT_EQ(report.names, 6U);
}

TEST_F(VerifyTest, TellsHowFarItIsUpToTheEnd) {
  const Filesystem fs = mount(true);
  std::uint64_t last = 0;
  std::uint64_t whole = 0;
  ASSERT_TRUE(fs.verify([&](std::uint64_t done, std::uint64_t of) {
    EXPECT_GE(done, last);
    last = done;
    whole = of;
    return true;
  }));
  EXPECT_GT(whole, 0U);
  EXPECT_EQ(last, whole);
}

TEST_F(VerifyTest, EndsWhenItIsTold) {
  const Filesystem fs = mount(true);
  const Result<VerifyReport> report = fs.verify([](std::uint64_t, std::uint64_t) { return false; });
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), ECANCELED);
}

TEST_F(VerifyTest, AMountForWritingIsNotLookedAt) {
  Filesystem fs = mount(false);
  const Result<VerifyReport> report = fs.verify();
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code(), EINVAL);
  EXPECT_FALSE(report.error().remedy().empty());
  ASSERT_TRUE(fs.unmount());
}

}  // namespace
}  // namespace holdfast::cli
