// Goal: memory that fails under a copy, while a truncate of it waits or commits, is EIO to who copies, and nothing to
// the truncate: R18. The truncate ends with the pin, the blocks come back, and the image is whole.
// Method: the file is the last thing in the pool, and another program cuts the pool file short at one of its pages:
// each touch of those is a bus error until the length is back.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class BrokenMemory : public FileRace {
 protected:
  static constexpr std::uint64_t kBytes = 64 * KiB;
  static constexpr std::uint64_t kBroken = 32 * KiB;  // from here on

  void SetUp() override {
    FileRace::SetUp();
    free_ = fs().space().free;
    file_.emplace(make_file("/file", kBytes));
    const std::vector<ExtentInfo> extents = file_->extents().value();
    ASSERT_EQ(extents.size(), 1U);
    place_ = extents.front().device_offset;
  }
  void TearDown() override {
    repair();
    EXPECT_EQ(references(), 0U);
    file_.reset();
    fs().unlink("/file").value();
    EXPECT_EQ(fs().space().free, free_);
    FileRace::TearDown();
  }
  void set_pool_length(std::uint64_t length) { ASSERT_EQ(::truncate(path().c_str(), static_cast<off_t>(length)), 0); }
  void break_memory() { set_pool_length(place_ + kBroken); }
  void repair() { set_pool_length(kPoolBytes); }
  File& file() { return *file_; }

 private:
  std::optional<File> file_;
  std::uint64_t place_ = 0;
  std::uint64_t free_ = 0;
};

// The truncate waits for a pin when the memory fails: copies say so, each on its own, and it goes on waiting.
TEST_F(BrokenMemory, R18_UnderATruncateThatWaits) {
  std::optional<Pin> pin = file().pin(0, kPage, {.access = Access::write}).value();
  MarkCount sleeps("layout.break.sleeps");
  Task cutting([&] { return code_of(file().truncate(0)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  break_memory();
  std::vector<std::byte> buffer(kPage);
  EXPECT_EQ(code_of(file().read(kBroken, buffer)), EIO);
  EXPECT_EQ(code_of(file().write(kBroken, buffer)), EIO);
  EXPECT_EQ(text_of(file(), 0, 2), "xx") << "the pages that are whole";
  EXPECT_FALSE(cutting.done());
  pin.reset();
  EXPECT_EQ(cutting.get(), 0) << "it takes pages away, broken or not";
  EXPECT_EQ(file().size(), 0U);
}

// The copy is inside its hold when the memory fails, and the truncate waits for the hold: it ends with an error, as it
// would with a success.
class BrokenUnderACopy : public BrokenMemory, public ::testing::WithParamInterface<bool> {};

TEST_P(BrokenUnderACopy, R18_TheTruncateWaitsForTheCopy) {
  const bool writes = GetParam();
  MarkStop held(writes ? "write.held" : "read.held");
  std::vector<std::byte> buffer(kPage);
  Task copier([&] { return code_of(writes ? file().write(kBroken, buffer) : file().read(kBroken, buffer)); });
  ASSERT_TRUE(held.wait_until_stopped());
  MarkCount waits("mapping.gate.waits");
  Task cutting([&] { return code_of(file().truncate(kPage)); });
  ASSERT_TRUE(waits.wait_until(1));
  break_memory();
  held.go_on();
  EXPECT_EQ(copier.get(), EIO);
  EXPECT_EQ(cutting.get(), 0);
  EXPECT_EQ(file().size(), kPage);
  file().truncate(0).value();
}

INSTANTIATE_TEST_SUITE_P(Copies, BrokenUnderACopy, ::testing::Bool(),
                         [](const auto& each) { return each.param ? "write" : "read"; });

// The other arm: the pages are out of the file when the copy comes. It finds the end, not the memory.
TEST_F(BrokenMemory, R18_AfterTheTruncateTookThePages) {
  break_memory();
  MarkStop out("removal.blocks_are_out");
  Task cutting([&] { return code_of(file().truncate(kPage)); });
  ASSERT_TRUE(out.wait_until_stopped());
  MarkCount waits("mapping.hold.waits");
  std::vector<std::byte> buffer(kPage);
  Task copier([&] { return file().read(kBroken, buffer); });
  ASSERT_TRUE(waits.wait_until(1));
  out.go_on();
  EXPECT_EQ(cutting.get(), 0);
  const Result<std::size_t> got = copier.get();
  ASSERT_EQ(code_of(got), 0);
  EXPECT_EQ(*got, 0U);
  file().truncate(0).value();
}

}  // namespace
}  // namespace holdfast::test
