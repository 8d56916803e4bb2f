// Goal: a file that grows shows zeros where nobody wrote, whatever entry its unit gets meanwhile. An entry of a whole
// unit may come before the file reaches its end: the blocks behind the end are allocated, but their bytes are whatever
// was there. Either the growth zeroes them, or who looks at the unit sees the new size.
// Method: a pool whose free blocks are all full of another file's bytes; one side stopped at a mark, the other run past
// it.
#include <gtest/gtest.h>

#include <optional>

#include "race/file_race.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

class GrowthRace : public FileRace {
 protected:
  static constexpr std::uint64_t kUnitBytes = 2 * MiB;
  static constexpr std::uint64_t kHole = 1200 * KiB;

  void SetUp() override {
    FileRace::SetUp();
    {
      File old = make_file("/old");
      while (old.append(bytes(256 * KiB, 'x'))) {
      }
    }
    fs().unlink("/old").value();
    settle();
    fs().sync().value();
    file_.emplace(make_file("/file"));
    file_->allocate(0, kUnitBytes, Allocate::keep_size).value();
    file_->write(0, bytes(kPage, 'y')).value();
  }
  void TearDown() override {
    file_.reset();
    FileRace::TearDown();
  }
  Pin pin(std::uint64_t offset) { return file_->pin(offset, kPage, {.access = Access::read}).value(); }
  void expect_zeros_from(std::uint64_t offset) {
    ASSERT_EQ(entry_of(*file_, offset).order(), kOrder2M) << "the unit is not one entry, and the test shows nothing";
    for (; offset < kUnitBytes; offset += 64 * KiB) {
      EXPECT_EQ(text_of(pin(offset)), std::string(kPage, '\0')) << offset;
      EXPECT_EQ(text_of(*file_, offset, kPage), std::string(kPage, '\0')) << offset;
    }
  }

  std::optional<File> file_;
};

// The pin makes the unit one entry when the growth has looked at it, and the size is still the old one.
TEST_F(GrowthRace, AUnitComesBetweenTheLookAndTheNewSize) {
  MarkStop stop("growth.size");
  Task grower([&] { return code_of(file_->truncate(kUnitBytes)); });
  ASSERT_TRUE(stop.wait_until_stopped());
  EXPECT_EQ(text_of(pin(0)), std::string(kPage, 'y'));
  stop.go_on();
  EXPECT_EQ(grower.get(), 0);
  expect_zeros_from(64 * KiB);
}

// The reverse: the pin has read the old size; then the file grows, and the unit's last hole gets its block back.
TEST_F(GrowthRace, AUnitIsLookedAtWithAnOldSize) {
  file_->punch(kHole, kPage).value();
  fs().sync().value();
  MarkStop stop("units.size_known");
  Task pinner([&] { return text_of(pin(0)); });
  ASSERT_TRUE(stop.wait_until_stopped());
  file_->truncate(kUnitBytes).value();
  file_->allocate(kHole, kPage).value();
  stop.go_on();
  EXPECT_EQ(pinner.get(), std::string(kPage, 'y'));
  EXPECT_EQ(text_of(pin(kHole)), std::string(kPage, '\0'));
  EXPECT_EQ(text_of(pin(kHole + kPage)), std::string(kPage, '\0'));
}

}  // namespace
}  // namespace holdfast::test
