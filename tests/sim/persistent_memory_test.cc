// Goal: on persistent memory a program that stores through a window or a pin and flushes its own lines has lost nothing
// when the power fails, without any sync; and a sync flushes what may have been stored to, and no more. Method: a pool
// on a recording device; after a store the least that may be left of it is mounted, and must hold the bytes.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <holdfast/holdfast.h>

#include "support/durable_pool.h"
#include "support/mark_stop.h"
#include "support/skip.h"

namespace holdfast::test {
namespace {

class PersistentMemory : public DurablePool {
 protected:
  explicit PersistentMemory(sim::Medium medium = sim::Medium::lines) : DurablePool(medium) {}
};

using Reach = PersistentMemory;

TEST_F(Reach, AFreshBlockUnderAPin) {
  File file = make();
  file.truncate(64 * KiB).value();
  const Pin pin = write_pin(file, 8 * KiB, 4096);
  store(pin, 'p');
  persist(pin);
  EXPECT_EQ(least(8 * KiB, 4096), std::string(4096, 'p'));
  EXPECT_EQ(least(12 * KiB, 4096), std::string(4096, '\0'));
}

TEST_F(Reach, AFreshBlockInAWindow) {
  File file = make();
  file.truncate(64 * KiB).value();
  Window window = file.map(0, 64 * KiB).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "it serves the windows of this test");
  std::memset(window.data() + 8 * KiB, 'w', 4096);
  persist(file, 8 * KiB, 4096);
  EXPECT_EQ(least(8 * KiB, 4096), std::string(4096, 'w'));
}

TEST_F(Reach, WhatAWriteHasLeftUnrecorded) {
  File file = make();
  write(file, 0, 64 * KiB, 'a');
  const Pin pin = write_pin(file, 4096, 4096);
  store(pin, 'p');
  persist(pin);
  EXPECT_EQ(least(0, 4096), std::string(4096, 'a'));
  EXPECT_EQ(least(4096, 4096), std::string(4096, 'p'));
}

// The entry is there before the file grows over more of its page.
TEST_F(Reach, AFileThatGrowsUnderAPin) {
  File file = make();
  write(file, 0, 100, 'a');
  const Pin pin = write_pin(file, 0, 100);
  write(file, 100, 100, 'b');
  const Pin grown = write_pin(file, 100, 100);
  store(grown, 'c');
  persist(grown);
  EXPECT_EQ(least(0, 4096), std::string(100, 'a') + std::string(100, 'c'));
}

// And before it grows over more of its unit.
TEST_F(Reach, AFileThatGrowsUnderAUnit) {
  File file = make();
  file.allocate(0, 4 * MiB, Allocate::keep_size).value();
  write(file, 0, 2 * MiB + 4096, 'a');
  const Pin pin = write_pin(file, 2 * MiB, 4096);
  write(file, 2 * MiB + 4096, 8192, 'b');
  const Pin grown = write_pin(file, 2 * MiB + 8192, 4096);
  store(grown, 'c');
  persist(grown);
  EXPECT_EQ(least(2 * MiB + 8192, 4096), std::string(4096, 'c'));
}

// What is pinned is durable; the rest of its unit is written while the pin is about to make one entry of all of it.
TEST_F(Reach, AnEntryMeetsAConversion) {
  File file = make();
  file.allocate(0, 2 * MiB).value();
  write(file, 0, 4096, 'a');
  file.sync().value();
  MarkStop held("pin.held");
  auto pin = std::async(std::launch::async, [&] { return write_pin(file, 0, 4096); });
  ASSERT_TRUE(held.wait_until_stopped());
  write(file, 4096, 2 * MiB - 4096, 'b');
  held.go_on();
  static_cast<void>(pin.get());
  const Pin other = write_pin(file, 1 * MiB, 4096);
  store(other, 'c');
  persist(other);
  EXPECT_EQ(least(1 * MiB, 4096), std::string(4096, 'c'));
}

TEST_F(Reach, AnEntryMeetsAGrowth) {
  File file = make();
  write(file, 0, 100, 'a');
  file.sync().value();
  MarkStop inserts("pin.inserts");
  auto pin = std::async(std::launch::async, [&] { return write_pin(file, 0, 100); });
  ASSERT_TRUE(inserts.wait_until_stopped());
  write(file, 100, 100, 'b');
  const std::string before = least(0, 4096);  // the entry, which is not there yet, will show all of it
  inserts.go_on();
  static_cast<void>(pin.get());
  EXPECT_EQ(before.size(), 200U);
}

// Others write to the file without an end, and each change would make the entry wait again.
TEST_F(Reach, AnEntryOvertakesWriters) {
  File file = make();
  write(file, 0, 4096, 'a');
  std::atomic<bool> over{false};
  auto writer = std::async(std::launch::async, [&] {
    for (std::uint64_t page = 2; !over; page += 2) write(file, page % 1024 * 4096, 4096, 'b');
  });
  for (int i = 0; i < 20; ++i) {
    static_cast<void>(write_pin(file, 0, 4096));
    file.truncate(0).value();
    write(file, 0, 4096, 'a');
  }
  over = true;
  writer.get();
}

TEST_F(Reach, OneCommitForAllBlocksOfAPinAndNoneForTheNext) {
  File file = make();
  file.truncate(8 * MiB).value();
  const MarkCount commits("reach.commits");
  static_cast<void>(write_pin(file, 0, 8 * MiB));
  EXPECT_EQ(commits.passings(), 1U);
  const std::uint64_t fences = recorder_.fences();
  static_cast<void>(write_pin(file, 4 * MiB, 4096));
  EXPECT_EQ(recorder_.fences(), fences);
  EXPECT_EQ(commits.passings(), 1U);
}

TEST_F(Reach, WhatASyncHasCommittedWaitsForNothing) {
  File file = make();
  write(file, 0, 64 * KiB, 'a');
  file.sync().value();
  const MarkCount commits("reach.commits");
  static_cast<void>(write_pin(file, 0, 64 * KiB));
  EXPECT_EQ(commits.passings(), 0U);
}

TEST_F(Reach, SynchronousIsToBeHad) {
  File file = make();
  write(file, 0, 4096, 'a');
  const Result<Window> window = file.map(0, 4096, {.synchronous = true});
  const bool faults = file.map(0, 4096).value().faults() != Faults::none;
  EXPECT_EQ(window ? 0 : window.error().code(), faults ? 0 : EOPNOTSUPP);
}

class OnADisk : public PersistentMemory {
 protected:
  OnADisk() : PersistentMemory(sim::Medium::pages) {}
};

TEST_F(OnADisk, NothingIsCommittedForAnEntry) {
  File file = make();
  file.truncate(64 * KiB).value();
  const std::uint64_t fences = recorder_.fences();
  static_cast<void>(write_pin(file, 0, 64 * KiB));
  EXPECT_EQ(recorder_.fences(), fences);
}

TEST_F(OnADisk, SynchronousIsRefused) {
  File file = make();
  write(file, 0, 4096, 'a');
  const Result<Window> window = file.map(0, 4096, {.synchronous = true});
  ASSERT_FALSE(window);
  EXPECT_EQ(window.error().code(), EOPNOTSUPP);
}

using Marks = PersistentMemory;

// Windows: a load brings what is around, so some pages are marked. The journal takes the rest.
TEST_F(Marks, ASyncFlushesWhatWasStoredTo) {
  File file = make();
  write(file, 0, 12 * MiB, 'a');
  file.sync().value();
  Window window = file.map(0, 12 * MiB).value();
  if (window.faults() == Faults::none) HF_SKIP_CAPABILITY("userfaultfd", "it serves the windows of this test");
  for (const char value : {'b', 'c'}) {
    window.data()[4 * MiB + 17 * 4096] = static_cast<std::byte>(value);
    const std::uint64_t before = recorder_.flushed_bytes();
    file.sync().value();
    EXPECT_LE(recorder_.flushed_bytes() - before, 5 * MiB);  // the unit, the one that map itself brings, a commit
    EXPECT_EQ(least(4 * MiB + 17 * 4096, 1), std::string(1, value));
  }
  file.sync().value();
  const std::uint64_t before = recorder_.flushed_bytes();
  file.sync().value();
  fs_->sync().value();
  EXPECT_EQ(recorder_.flushed_bytes(), before);
}

// What its holder stores after a sync is the next one's, as long as he holds it.
TEST_F(Marks, APinThatIsHeldAcrossASync) {
  File file = make();
  write(file, 0, 64 * KiB, 'a');
  Pin pin = write_pin(file, 4096, 8192);
  for (const char value : {'b', 'c', 'd'}) {
    store(pin, value);
    file.sync().value();
    EXPECT_EQ(least(4096, 8192), std::string(8192, value));
  }
  store(pin, 'e');
  pin.release();
  file.sync().value();
  EXPECT_EQ(least(4096, 8192), std::string(8192, 'e'));
  const std::uint64_t before = recorder_.flushed_bytes();
  file.sync().value();
  EXPECT_EQ(recorder_.flushed_bytes(), before);
}

TEST_F(Marks, APinThatIsTakenAfterASync) {
  File file = make();
  write(file, 0, 64 * KiB, 'a');
  static_cast<void>(write_pin(file, 0, 64 * KiB));
  file.sync().value();
  Pin pin = file.try_pin(4096, 8192, {.access = Access::write}).value();
  store(pin, 'b');
  pin.release();
  fs_->sync().value();
  EXPECT_EQ(least(4096, 8192), std::string(8192, 'b'));
}

TEST_F(Marks, WritesInPlaceNeedNone) {
  File file = make();
  write(file, 0, 64 * KiB, 'a');
  file.sync().value();
  write(file, 100, 10000, 'b');
  const std::uint64_t before = recorder_.flushed_bytes();
  file.sync_data().value();
  EXPECT_EQ(recorder_.flushed_bytes(), before);
  EXPECT_EQ(least(100, 10000), std::string(10000, 'b'));
}

// The entry of a page that is cut goes, and with it what says that the rest of the page is to be flushed.
TEST_F(Marks, APageThatIsCutInPart) {
  File file = make();
  write(file, 0, 64 * KiB, 'a');
  file.sync().value();
  {
    const Pin pin = write_pin(file, 0, 8192);
    store(pin, 'b');
  }
  file.truncate(6000).value();
  file.sync().value();
  EXPECT_EQ(least(0, 64 * KiB), std::string(6000, 'b'));
}

// The entry of a unit goes whole; its holder goes on storing to what stays.
TEST_F(Marks, AUnitThatLeavesInPartUnderAPin) {
  File file = make();
  file.allocate(0, 4 * MiB).value();
  Pin pin = write_pin(file, 0, 2 * MiB);
  store(pin, 'a');
  file.punch(1 * MiB, 1 * MiB, {.on_pinned = OnPinned::detach}).value();
  store(pin, 'b');
  file.sync().value();
  EXPECT_EQ(least(0, 1 * MiB), std::string(1 * MiB, 'b'));
  EXPECT_EQ(least(1 * MiB, 4096), std::string(4096, '\0'));
}

}  // namespace
}  // namespace holdfast::test
