// Goal: memory that is lost is an error to whoever needs it, nobody else notices, and it is never handed out again, in
// this mount or a later one. Method: pages of files and of free space are said to be lost, or met as such by a copy
// (the page's mapping is taken away under the library); what can be read, written, pinned and allocated is compared
// with what ought to be; e2fsck judges the list of bad blocks.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "filesystem/core.h"
#include "support/mark_stop.h"
#include "support/pool_fixture.h"
#include "support/task.h"

namespace holdfast {
namespace {

using std::chrono::milliseconds;
using test::bytes;
using test::code_of;
using test::MarkCount;
using test::MarkStop;
using test::Task;
using testing::HasSubstr;

constexpr std::uint64_t kPage = 4 * KiB;

class Poison : public test::PoolTest {
 protected:
  void TearDown() override {
    fault_point::disarm_all();
    pin_.reset();
    PoolTest::TearDown();
  }
  static std::uint64_t device_offset(const File& file, std::uint64_t offset) {
    const std::vector<ExtentInfo> extents = file.extents().value();
    for (const ExtentInfo& extent : extents) {
      if (extent.offset <= offset && offset < extent.offset + extent.length) {
        return extent.device_offset + (offset - extent.offset);
      }
    }
    ADD_FAILURE() << "byte " << offset << " has no block";
    return 0;
  }
  void lose(const File& file, std::uint64_t offset, std::uint64_t length = kPage) {
    fs().poison(device_offset(file, offset), length).value();
  }
  static std::vector<std::byte> contents(const File& file, std::uint64_t offset, std::uint64_t length) {
    std::vector<std::byte> read(length);
    read.resize(file.read(offset, read).value());
    return read;
  }
  static int read_code(const File& file, std::uint64_t offset) {
    std::vector<std::byte> read(100);
    return code_of(file.read(offset, read));
  }
  std::uint64_t retired() {
    const std::vector<BadRange> ranges = fs().poisoned().value();
    return std::accumulate(ranges.begin(), ranges.end(), std::uint64_t{0}, [](std::uint64_t sum, const BadRange& one) {
      return sum + (one.state == BadState::retired ? one.length : 0);
    });
  }
  // Files until nothing is left. Whether one of them has a byte of the range.
  bool anybody_gets(std::uint64_t offset, std::uint64_t length) {
    bool got = false;
    std::uint64_t size = MiB;
    for (int i = 0; i < 1000; ++i) {
      Result<File> opened = fs().open(fmt::format("/fill-{}", i), Open::read_write | Open::create);
      if (!opened) return got;  // no space for the name
      File& file = *opened;
      const Result<std::size_t> written = file.write(0, bytes(size, 'f'));
      const bool short_of_space = !written || *written < size;
      const bool full = short_of_space && size == kPage;
      if (short_of_space) size = kPage;
      const std::vector<ExtentInfo> extents = file.extents().value();
      for (const ExtentInfo& extent : extents) {
        got = got || (extent.device_offset < offset + length && offset < extent.device_offset + extent.length);
      }
      if (full) return got;
    }
    ADD_FAILURE() << "the pool does not fill";
    return got;
  }
  // Every touch of the page is a bus error from now on, as after a machine check.
  void take_memory_away(std::uint64_t page) {
    const int empty = memfd_create("empty", MFD_CLOEXEC);
    EXPECT_NE(mmap(fs().window() + page, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty, 0), MAP_FAILED);
    ::close(empty);
  }
  void remove_fill() {
    for (int i = 0; fs().unlink(fmt::format("/fill-{}", i)); ++i) {
    }
  }

  std::optional<Pin> pin_;
};

TEST_F(Poison, ARangeOutsideOfTheDeviceIsRefused) {
  EXPECT_EQ(code_of(fs().poison(kPoolBytes, 1)), EINVAL);
  EXPECT_EQ(code_of(fs().poison(0, 0)), EINVAL);
  EXPECT_EQ(code_of(fs().poison(kPoolBytes - 1, ~std::uint64_t{0})), EINVAL);
  EXPECT_TRUE(fs().poisoned().value().empty());
}

TEST_F(Poison, ReadsAndWritesFailThereAndNowhereElse) {
  File file = make_file("/a", 16 * kPage, 'a');
  lose(file, 5 * kPage + 7, 1);
  const auto refused = [&](const auto& result) {
    EXPECT_EQ(code_of(result), EIO);
    if (result) return;
    EXPECT_THAT(result.error().message(), HasSubstr("/a: the memory of byte"));
  };
  std::vector<std::byte> page(kPage);
  refused(file.read(5 * kPage, page));
  refused(file.read(6 * kPage - 1, page));
  refused(file.write(5 * kPage + 100, bytes(3, 'x')));
  refused(file.write(5 * kPage, bytes(kPage, 'x')));
  // As far as it goes.
  EXPECT_EQ(contents(file, 0, 16 * kPage), bytes(5 * kPage, 'a'));
  EXPECT_EQ(file.write(4 * kPage, bytes(2 * kPage, 'x')).value(), kPage);
  EXPECT_EQ(contents(file, 6 * kPage, 16 * kPage), bytes(10 * kPage, 'a'));
  EXPECT_EQ(file.write(6 * kPage, bytes(kPage, 'y')).value(), kPage);
  EXPECT_EQ(file.append(bytes(kPage, 'z')).value(), 16 * kPage);
  EXPECT_EQ(file.next_data(5 * kPage).value(), 5 * kPage) << "what is lost is not a hole";
  const std::vector<BadRange> ranges = fs().poisoned().value();
  ASSERT_EQ(ranges.size(), 1U);
  EXPECT_EQ(ranges[0].offset, device_offset(file, 5 * kPage));
  EXPECT_EQ(ranges[0].length, kPage);
  EXPECT_EQ(ranges[0].state, BadState::in_use);
}

TEST_F(Poison, APunchedPageIsRetiredAndTheFileIsWholeAgain) {
  std::uint64_t lost = 0;
  {
    File file = make_file("/a", 16 * kPage, 'a');
    lost = device_offset(file, 5 * kPage);
    lose(file, 5 * kPage);
    file.punch(5 * kPage, kPage).value();
    EXPECT_EQ(contents(file, 5 * kPage, kPage), bytes(kPage, 0));
    EXPECT_EQ(file.write(5 * kPage, bytes(kPage, 'n')).value(), kPage);
    EXPECT_NE(device_offset(file, 5 * kPage), lost);
    EXPECT_EQ(contents(file, 5 * kPage, kPage), bytes(kPage, 'n'));
  }
  EXPECT_EQ(retired(), 0U) << "its freeing is not committed";
  fs().sync().value();
  EXPECT_EQ(retired(), kPage) << "one sync is enough";
  EXPECT_EQ(fs().space().bad, kPage);
  EXPECT_EQ(fs().space().withheld, 0U);
  remount(true);
  EXPECT_EQ(retired(), kPage);
  EXPECT_FALSE(anybody_gets(lost, kPage));
  remove_fill();
}

TEST_F(Poison, AWholeFileOfLostMemoryIsRetiredAtTheEnd) {
  std::uint64_t lost = 0;
  {
    File file = make_file("/a", 100 * kPage, 'a');
    lost = device_offset(file, 0);
    lose(file, 0, 100 * kPage);
  }
  fs().unlink("/a").value();
  close();
  mount().value();
  EXPECT_EQ(retired(), 100 * kPage) << "unmount commits what was freed, and then the list";
  EXPECT_FALSE(anybody_gets(lost, 100 * kPage));
  remove_fill();
}

TEST_F(Poison, WhatIsFreeIsNeverHandedOut) {
  // A unit and more, so that whole free units are cut, and parts of two.
  const std::uint64_t lost = 40 * MiB + 300 * kPage;
  const std::uint64_t length = 4 * MiB;
  const std::uint64_t free_before = fs().space().free;
  fs().poison(lost, length).value();
  EXPECT_EQ(retired(), length);
  EXPECT_NEAR(static_cast<double>(fs().space().free), static_cast<double>(free_before - length), 4.0 * kPage);
  EXPECT_FALSE(anybody_gets(lost, length));
  remove_fill();
  fs().sync().value();
  remount(true);
  EXPECT_EQ(retired(), length);
  EXPECT_FALSE(anybody_gets(lost, length));
  remove_fill();
}

TEST_F(Poison, OnAFullPoolItIsWithheldUntilThereIsSpaceForTheList) {
  // More than twelve, so that the list needs a block.
  File file = make_file("/a", 64 * kPage, 'a');
  const std::uint64_t lost = device_offset(file, 0);
  EXPECT_FALSE(anybody_gets(lost, 64 * kPage));
  lose(file, 0, 64 * kPage);
  file.truncate(0).value();
  fs().sync().value();
  for (int i = 1000; i < 1100; ++i) {
    Result<File> more = fs().open(fmt::format("/fill-{}", i), Open::read_write | Open::create);
    if (!more || code_of(more->write(0, bytes(kPage, 'm'))) == ENOSPC) break;
    const std::uint64_t got = device_offset(*more, 0);
    EXPECT_FALSE(lost <= got && got < lost + 64 * kPage);
  }
  EXPECT_EQ(fs().space().withheld, 64 * kPage);
  EXPECT_EQ(fs().poisoned()->front().state, BadState::withheld);
  EXPECT_EQ(retired(), 0U);
  for (int i = 0; i < 1100; ++i) static_cast<void>(fs().unlink(fmt::format("/fill-{}", i)));
  static_cast<void>(fs().quarantine());  // what is queued for eviction goes
  fs().sync().value();
  fs().sync().value();
  EXPECT_EQ(retired(), 64 * kPage);
  EXPECT_EQ(fs().space().withheld, 0U);
}

TEST_F(Poison, OnAFullPoolFreeOnesAreWithheldAtOnce) {
  static_cast<void>(anybody_gets(0, 1));
  fs().sync().value();
  std::uint64_t told = 0;
  for (std::uint64_t page = 0; page < kPoolBytes / kPage && told < 20; ++page) {
    if (!fs().core().format().block_free(Pfn(page)).value()) continue;
    fs().poison(page * kPage, kPage).value();
    ++told;
  }
  EXPECT_EQ(told, 20U);
  EXPECT_EQ(fs().space().withheld + retired(), told * kPage);
  EXPECT_GT(fs().space().withheld, 0U) << "the pool is not full";
  remove_fill();
}

TEST_F(Poison, ClustersAreRetiredWhole) {
  make_pool({.cluster = 64 * KiB});
  File file = make_file("/a", 3 * 64 * KiB, 'a');
  const std::uint64_t lost = device_offset(file, 64 * KiB);
  lose(file, 64 * KiB + kPage);
  EXPECT_EQ(contents(file, 64 * KiB, kPage), bytes(kPage, 'a'));
  EXPECT_EQ(read_code(file, 64 * KiB + kPage), EIO);
  file.punch(64 * KiB, 64 * KiB).value();
  fs().poison(40 * MiB, 2 * 64 * KiB + kPage).value();
  fs().sync().value();
  EXPECT_EQ(retired(), 4 * 64 * KiB);
  EXPECT_FALSE(anybody_gets(lost, 64 * KiB));
  remove_fill();
}

TEST_F(Poison, WithoutAJournalToo) {
  make_pool({.journal = NewJournal::none});
  fs().poison(40 * MiB, 20 * kPage).value();
  EXPECT_EQ(retired(), 20 * kPage);
  remount(true);
  EXPECT_EQ(retired(), 20 * kPage);
}

TEST_F(Poison, APinIsRefusedWhateverWasPinnedBefore) {
  File file = make_file("/a", 2 * MiB, 'a');
  pin_.emplace(file.pin(0, 16 * kPage).value());  // entries are there, of all of it
  pin_.reset();
  lose(file, 5 * kPage);
  const auto refused = [&](std::uint64_t offset, std::uint64_t length, int expected) {
    const Result<Pin> pinned = file.pin(offset, length);
    EXPECT_EQ(code_of(pinned), expected) << offset;
    const Result<Pin> tried = file.try_pin(offset, length);
    EXPECT_EQ(code_of(tried) == 0, expected == 0) << offset;
  };
  refused(5 * kPage, kPage, EHWPOISON);
  refused(4 * kPage, 3 * kPage, EHWPOISON);
  refused(4 * kPage, kPage, 0);
  refused(6 * kPage, kPage, 0);
  file.truncate(4 * kPage).value();
  fs().sync().value();
  EXPECT_EQ(retired(), kPage);
}

TEST_F(Poison, APinThatIsHeldStaysGoodAndIsWaitedFor) {
  File file = make_file("/a", 2 * MiB, 'a');
  const std::byte* const address = file.pin(0, kPage).value().segments()[0].address;
  pin_.emplace(file.pin(4 * kPage, 3 * kPage).value());
  lose(file, 5 * kPage);
  EXPECT_EQ(pin_->segments()[0].address, address + 4 * kPage);
  EXPECT_EQ(code_of(file.pin(5 * kPage, kPage)), EHWPOISON);
  EXPECT_EQ(code_of(file.truncate(6 * kPage, {.on_pinned = OnPinned::fail})), EBUSY) << "its neighbour is pinned";
  EXPECT_EQ(code_of(file.truncate(4 * kPage, {.on_pinned = OnPinned::fail})), EBUSY);
  file.truncate(4 * kPage, {.on_pinned = OnPinned::detach}).value();
  fs().sync().value();
  EXPECT_EQ(retired(), 0U) << "it is in quarantine with the pages beside";
  pin_.reset();
  fs().sync().value();
  static_cast<void>(fs().quarantine());
  fs().sync().value();
  EXPECT_EQ(retired(), kPage);
}

// A pin of the lost page alone, with an entry of 4 KiB.
TEST_F(Poison, APinOfALostPageIsWaitedFor) {
  File file = make_file("/a", 3 * kPage, 'a');
  pin_.emplace(file.pin(kPage, kPage, {.released_elsewhere = true}).value());
  lose(file, kPage);
  EXPECT_EQ(code_of(file.pin(kPage, kPage)), EHWPOISON);
  EXPECT_EQ(code_of(file.try_pin(kPage, kPage)) == 0, false);
  EXPECT_EQ(code_of(file.truncate(0, {.on_pinned = OnPinned::fail})), EBUSY);
  EXPECT_EQ(code_of(file.punch(kPage, kPage, {.deadline = milliseconds(20)})), ETIMEDOUT);
  Task waits([&] { return code_of(file.truncate(0)); });
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(waits.done());
  pin_.reset();
  EXPECT_EQ(waits.get(), 0);
  fs().sync().value();
  EXPECT_EQ(retired(), kPage);
}

TEST_F(Poison, AnUnmountWaitsForAPinOfALostPage) {
  {
    File file = make_file("/a", 3 * kPage, 'a');
    pin_.emplace(file.pin(kPage, kPage, {.released_elsewhere = true}).value());
    lose(file, kPage);
  }
  EXPECT_EQ(code_of(fs().unmount()), EBUSY);
  EXPECT_EQ(code_of(fs().unmount({.deadline = milliseconds(20)})), ETIMEDOUT);
  pin_.reset();
}

// An entry of 2 MiB that lost its reference comes back whole, by a pin of another page of it.
TEST_F(Poison, AnEntryThatIsZapDoesNotComeBack) {
  {
    File file = fs().open("/a", Open::read_write | Open::create).value();
    file.allocate(0, 4 * MiB).value();
    file.write(0, bytes(4 * MiB, 'a')).value();
    file.pin(0, 4 * MiB).value();
    file.zero_range(3 * kPage, kPage).value();
    lose(file, 5 * kPage);
    file.pin(7 * kPage, kPage).value();
    EXPECT_EQ(code_of(file.pin(5 * kPage, kPage)), EHWPOISON);
    EXPECT_NE(code_of(file.try_pin(5 * kPage, kPage)), 0);
  }
  fs().unlink("/a").value();
}

// What cannot be zeroed would show old bytes to whoever comes after a remount.
TEST_F(Poison, APartThatCannotBeZeroedIsSaid) {
  File file = make_file("/a", 8 * kPage, 'a');
  lose(file, 2 * kPage);
  EXPECT_EQ(code_of(file.zero_range(kPage, 3 * kPage)), EIO);
  EXPECT_EQ(contents(file, kPage, kPage), bytes(kPage, 0));
  EXPECT_EQ(contents(file, 3 * kPage, kPage), bytes(kPage, 0));
  EXPECT_EQ(code_of(file.truncate(2 * kPage + 100)), EIO);
  EXPECT_EQ(file.size(), 2 * kPage + 100) << "the rest is done";
  EXPECT_EQ(code_of(file.truncate(8 * kPage)), EIO);
  EXPECT_EQ(code_of(file.append(bytes(10, 'b'))), EIO);
  EXPECT_EQ(file.size(), 2 * kPage + 100);
  file.truncate(2 * kPage).value();
  file.append(bytes(10, 'b')).value();
  EXPECT_EQ(contents(file, 2 * kPage, kPage), bytes(10, 'b'));
}

// The worker withdraws what a copy met while the pool is being closed.
TEST_F(Poison, AnUnmountRightAfterALoss) {
  for (int i = 0; i < 30; ++i) {
    {
      File file = make_file("/a", 16 * kPage, 'a');
      take_memory_away(device_offset(file, 5 * kPage));
      fault_point::arm("device.memory_lost", 1);
      EXPECT_EQ(read_code(file, 5 * kPage), EIO);
    }
    remount();
    EXPECT_TRUE(fs().poisoned().value().empty()) << "nobody has told this mount";
  }
}

// A break that waits for a pin stands in the way of taking entries away. Nobody waits for it.
TEST_F(Poison, ABreakOfTheSamePagesIsNotWaitedFor) {
  File file = make_file("/a", 16 * kPage, 'a');
  pin_.emplace(file.pin(4 * kPage, 3 * kPage, {.released_elsewhere = true}).value());
  MarkCount sleeps("layout.break.sleeps");
  Task waits([&] { return code_of(file.punch(6 * kPage, kPage)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  lose(file, 5 * kPage);
  EXPECT_EQ(read_code(file, 5 * kPage), EIO);
  EXPECT_FALSE(waits.done());
  pin_.reset();
  EXPECT_EQ(waits.get(), 0);
  // The worker tries again.
  for (int i = 0; i < 100 && code_of(file.pin(5 * kPage, kPage)) != EHWPOISON; ++i) {
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(code_of(file.pin(5 * kPage, kPage)), EHWPOISON);
}

// The either/or of poison.h.
TEST_F(Poison, AnEntryComesAsThePageIsLost) {
  File file = make_file("/a", 16 * kPage, 'a');
  MarkStop stop("pin.inserts");
  Task<int> pins([&] { return code_of(file.pin(5 * kPage, kPage)); });
  ASSERT_TRUE(stop.wait_until_stopped());
  const std::uint64_t lost = device_offset(file, 5 * kPage);
  Task<int> tells([&] { return code_of(fs().poison(lost, kPage)); });
  std::this_thread::sleep_for(milliseconds(20));
  stop.go_on();
  static_cast<void>(pins.get());
  EXPECT_EQ(tells.get(), 0);
  EXPECT_EQ(code_of(file.pin(5 * kPage, kPage)), EHWPOISON) << "an entry was left";
}

// What the library meets itself.
TEST_F(Poison, WhatACopyMeetsIsLearnt) {
  File file = make_file("/a", 16 * kPage, 'a');
  const std::uint64_t lost = device_offset(file, 5 * kPage);
  take_memory_away(lost);
  EXPECT_EQ(read_code(file, 5 * kPage), EIO);
  EXPECT_TRUE(fs().poisoned().value().empty()) << "a page that is not there may be another time";
  fault_point::arm("device.memory_lost", 1);
  EXPECT_EQ(contents(file, 4 * kPage, 4 * kPage), bytes(kPage, 'a'));
  const std::vector<BadRange> ranges = fs().poisoned().value();
  ASSERT_EQ(ranges.size(), 1U);
  EXPECT_EQ(ranges[0].offset, lost);
  EXPECT_EQ(code_of(file.pin(5 * kPage, kPage)), EHWPOISON);
  file.punch(5 * kPage, kPage).value();
  fs().sync().value();
  EXPECT_EQ(retired(), kPage);
}

TEST_F(Poison, AStoreThatMeetsItIsLearntToo) {
  File file = make_file("/a", 16 * kPage, 'a');
  const std::uint64_t lost = device_offset(file, 5 * kPage);
  take_memory_away(lost);
  fault_point::arm("device.memory_lost", 1);
  EXPECT_EQ(code_of(file.write(5 * kPage, bytes(10, 'x'))), EIO);
  ASSERT_EQ(fs().poisoned().value().size(), 1U);
}

}  // namespace
}  // namespace holdfast
