// Truncate and punch against pins: who waits for whom, what each policy does, and that no block is reused under a pin.
// Threads are stopped at marks; where a call must wait, the test sees it still waiting at the moment that matters.
#include <chrono>

#include "base/fault_point.h"
#include "filesystem/attributes.h"
#include "filesystem/fallocate.h"
#include "pagemap/pin_table.h"
#include "support/mark_stop.h"
#include "support/memory_pool.h"
#include "support/task.h"

namespace holdfast::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Breaks : public MemoryPool {
 protected:
  static Status punch(const FilePtr& file, std::uint64_t offset, std::uint64_t length,
                      OnPinned on_pinned = OnPinned::wait, Deadline deadline = Deadline::never()) {
    return filesystem::punch(*file->inode, offset, length, on_pinned, deadline);
  }
  static int code_of(const Status& status) { return status ? 0 : status.error().code(); }

  FilePtr file_of(std::size_t bytes, const std::string& path = "/file") {
    FilePtr file = open(path);
    EXPECT_EQ(write(file, 0, pattern(bytes, 1)), bytes);
    return file;
  }
};

TEST_F(Breaks, TruncateWaitsForThePinOfAnotherThread) {
  start();
  const FilePtr file = file_of(64 * KiB);
  Pin held = pin(file, 16 * KiB, 4096, {.purpose = "transfer"});
  MarkCount waits("layout.break.found_pin");
  Task cutting([&] { return code_of(truncate(file, 0)); });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_FALSE(cutting.done());
  EXPECT_EQ(size_of(file), 64 * KiB) << "the wait has changed nothing";
  EXPECT_EQ(read(file, 0, 100), Bytes(pattern(100, 1)));
  held.release();
  EXPECT_EQ(cutting.get(), 0);
  EXPECT_EQ(size_of(file), 0U);
}

TEST_F(Breaks, AlsoWhenTheHolderPinsANeighbourBeforeItLetsGo) {
  start();
  const FilePtr file = file_of(64 * KiB);
  static_cast<void>(pin(file, 0, 64 * KiB));
  Pin held = pin(file, 32 * KiB, 4096);
  MarkCount waits("layout.break.found_pin");
  Task cutting([&] { return code_of(truncate(file, 32 * KiB)); });
  ASSERT_TRUE(waits.wait_until(1));
  {
    const Pin neighbour = pin(file, 0, 4096);  // outside of what leaves: granted at once
    held.release();
    EXPECT_EQ(cutting.get(), 0);
  }
}

TEST_F(Breaks, APinOfTheRangeWaitsAndThenFindsTheEnd) {
  start();
  const FilePtr file = file_of(64 * KiB);
  Pin held = pin(file, 32 * KiB, 4096);
  MarkCount breaking("layout.break.found_pin");
  Task cutting([&] { return code_of(truncate(file, 0)); });
  ASSERT_TRUE(breaking.wait_until(1));
  MarkCount waiting("pin.waits");
  Task second([&] {
    const auto late = filesystem::pin(*file->inode, 0, 4096, {});
    return late ? 0 : late.error().code();
  });
  ASSERT_TRUE(waiting.wait_until(1));
  Task failing([&] {
    const auto late = filesystem::pin(*file->inode, 0, 4096, {.on_break = OnBreak::fail});
    return late ? 0 : late.error().code();
  });
  EXPECT_EQ(failing.get(), EAGAIN);
  Task timed([&] {
    const auto late = filesystem::pin(*file->inode, 0, 4096, {.deadline = milliseconds(1)});
    return late ? 0 : late.error().code();
  });
  EXPECT_EQ(timed.get(), ETIMEDOUT);
  const auto own = filesystem::pin(*file->inode, 0, 4096, {.deadline = seconds(5)});
  ASSERT_FALSE(own);
  EXPECT_EQ(own.error().code(), EDEADLK) << "this thread holds the pin that the break waits for";
  held.release();
  EXPECT_EQ(cutting.get(), 0);
  EXPECT_EQ(second.get(), ENXIO);
}

TEST_F(Breaks, FromTheHoldingThreadItIsADeadlock) {
  start();
  const FilePtr file = file_of(64 * KiB);
  const Pin held = pin(file, 0, 4096, {.purpose = "own"});
  const Status status = truncate(file, 0);
  EXPECT_EQ(code_of(status), EDEADLK);
  EXPECT_NE(status.error().message().find("own"), std::string::npos) << status.error().message();
  EXPECT_EQ(size_of(file), 64 * KiB);
}

TEST_F(Breaks, ADeadlineLeavesEverythingAsItWas) {
  start();
  const FilePtr file = file_of(64 * KiB);
  const Pin held = pin(file, 0, 4096, {.purpose = "elsewhere", .released_elsewhere = true});
  const Status status = truncate(file, 0, OnPinned::wait, Deadline::after(milliseconds(5)));
  EXPECT_EQ(code_of(status), ETIMEDOUT);
  EXPECT_EQ(size_of(file), 64 * KiB);
  EXPECT_EQ(read(file, 0, 64 * KiB), pattern(64 * KiB, 1));
  EXPECT_TRUE(filesystem::try_pin(*file->inode, 0, 4096, {})) << "the range takes pins again";
}

TEST_F(Breaks, FailNamesTheHolder) {
  start();
  const FilePtr file = file_of(64 * KiB);
  const Pin held = pin(file, 8192, 4096, {.purpose = "nic read", .released_elsewhere = true});
  const Status status = punch(file, 0, 64 * KiB, OnPinned::fail);
  EXPECT_EQ(code_of(status), EBUSY);
  EXPECT_NE(status.error().message().find("nic read"), std::string::npos) << status.error().message();
  EXPECT_NE(status.error().message().find("/file"), std::string::npos) << status.error().message();
  EXPECT_EQ(read(file, 0, 64 * KiB), pattern(64 * KiB, 1));
}

TEST_F(Breaks, WhatTouchesNothingPinnedWaitsForNobody) {
  start();
  const FilePtr file = file_of(64 * KiB, "/small");
  static_cast<void>(pin(file, 0, 64 * KiB));
  const Pin held = pin(file, 16 * KiB, 4096);
  EXPECT_EQ(code_of(truncate(file, 128 * KiB)), 0) << "growing";
  EXPECT_EQ(code_of(truncate(file, 20 * KiB)), 0) << "behind the pinned page";
  EXPECT_EQ(code_of(punch(file, 0, 16 * KiB)), 0) << "in front of it";
  EXPECT_EQ(code_of(punch(file, 24 * KiB, 4096)), 0);
}

TEST_F(Breaks, With511PinsOnOtherUnitsPunchingAPageOfThe512thWaitsForNobody) {
  // 512 units of 2 MiB; the bytes are allocated, and converted by the pins that make the entries.
  start(1100 * MiB);
  const FilePtr file = open("/units");
  ASSERT_TRUE(filesystem::allocate(*file->inode, 0, 512 * 2 * MiB, false));
  std::vector<Pin> pins;
  for (std::uint64_t unit = 0; unit < 511; ++unit) {
    pins.push_back(pin(file, unit * 2 * MiB, 2 * MiB));
    ASSERT_EQ(file->inode->mapping.lookup(PageIndex(unit * 512)).order(), kOrder2M) << unit;
  }
  static_cast<void>(pin(file, 511 * 2 * MiB, 2 * MiB));
  ASSERT_EQ(file->inode->mapping.lookup(PageIndex(std::uint64_t{511} * 512)).order(), kOrder2M);
  EXPECT_EQ(code_of(punch(file, 511 * 2 * MiB + 40960, 4096, OnPinned::wait, Deadline::after(seconds(10)))), 0);
  Task busy([&] { return code_of(punch(file, 5 * 2 * MiB, 4096, OnPinned::fail)); });
  EXPECT_EQ(busy.get(), EBUSY) << "and one of a pinned unit does";
}

// --- detach ---

TEST_F(Breaks, DetachEndsWhileAPinIsHeldThatNeverEnds) {
  start();
  const FilePtr file = file_of(64 * KiB);
  const std::uint64_t free_before = free_pages();
  Pin held = pin(file, 16 * KiB, 8192, {.purpose = "for ever"});
  const Bytes kept(held.segments()[0].address, held.segments()[0].address + 8192);
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(code_of(truncate(file, 0, OnPinned::detach)), 0);
  // Far above what it takes on a busy machine, far below any wait.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(2));
  EXPECT_EQ(size_of(file), 0U);
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), 8192U);
  EXPECT_EQ(free_pages(), free_before + 14);
  // The pool is filled completely; the pinned bytes stay.
  const FilePtr filler = open("/filler");
  write(filler, 0, pattern(20 * MiB, 7));
  EXPECT_EQ(free_pages(), 0U);
  EXPECT_EQ(Bytes(held.segments()[0].address, held.segments()[0].address + 8192), kept);
  held.release();
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), 0U);
  EXPECT_EQ(free_pages(), 2U);
}

TEST_F(Breaks, DetachInsideAPageKeepsTheHoldersBytesAndTheFilesRest) {
  start();
  const FilePtr file = file_of(8192);
  const Bytes before = pattern(8192, 1);
  Pin held = pin(file, 0, 8192);
  std::byte* const address = held.segments()[0].address;
  ASSERT_EQ(code_of(truncate(file, 1000, OnPinned::detach)), 0);
  EXPECT_EQ(Bytes(address, address + 8192), before) << "the holder's";
  ASSERT_EQ(code_of(truncate(file, 8192)), 0);
  Bytes expected(8192);
  std::copy(before.begin(), before.begin() + 1000, expected.begin());
  EXPECT_EQ(read(file, 0, 8192), expected) << "the file's";
  std::fill(address, address + 8192, std::byte{0x11});  // the device writes on
  EXPECT_EQ(read(file, 0, 8192), expected) << "the holder's stores reach the file no more";
  held.release();
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), 0U);
}

TEST_F(Breaks, DetachPunchesAndZeroesUnderPins) {
  start();
  const FilePtr file = file_of(64 * KiB);
  Bytes expected = pattern(64 * KiB, 1);
  Pin held = pin(file, 0, 64 * KiB);
  ASSERT_EQ(code_of(punch(file, 5000, 20'000, OnPinned::detach)), 0);
  std::fill(expected.begin() + 5000, expected.begin() + 25'000, std::byte{0});
  ASSERT_TRUE(filesystem::zero_range(*file->inode, 40'000, 9000, OnPinned::detach, Deadline::never()));
  std::fill(expected.begin() + 40'000, expected.begin() + 49'000, std::byte{0});
  EXPECT_EQ(read(file, 0, 64 * KiB), expected);
  std::uint64_t length = 0;
  Bytes held_bytes;
  for (const Segment& segment : held.segments()) {
    held_bytes.insert(held_bytes.end(), segment.address, segment.address + segment.length);
    length += segment.length;
  }
  EXPECT_EQ(length, 64 * KiB);
  EXPECT_EQ(held_bytes, pattern(64 * KiB, 1));
  settle();
  EXPECT_GT(core_->quarantine().bytes(), 0U);
  held.release();
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), 0U);
}

TEST_F(Breaks, DetachThatCannotKeepTheBlocksHasChangedNothing) {
  for (const char* const fails :
       {"quarantine.inode", "format.create_inode", "format.allocate", "quarantine.move", "format.move"}) {
    for (unsigned countdown = 1; countdown <= 3; ++countdown) {
      SCOPED_TRACE(fmt::format("{} {}", fails, countdown));
      start();
      const FilePtr file = file_of(64 * KiB);
      const Pin first = pin(file, 3000, 100);
      const Pin second = pin(file, 16 * KiB, 4096);
      const Pin third = pin(file, 40 * KiB, 4096);
      fault_point::arm(fails, countdown);
      const Status status = truncate(file, 3000, OnPinned::detach);
      fault_point::disarm_all();
      if (status) continue;  // it needed fewer steps than that
      EXPECT_EQ(status.error().code(), ENOSPC);
      EXPECT_EQ(size_of(file), 64 * KiB);
      EXPECT_EQ(read(file, 0, 64 * KiB), pattern(64 * KiB, 1));
      settle();
      EXPECT_EQ(free_pages(), all_free_ - 16);
      EXPECT_TRUE(core_->quarantine().empty()) << "an inode without pages is in the way of unmount";
    }
  }
}

// What was cut is cut, and said to be so everywhere; only the bytes behind the new end are not zeros.
TEST_F(Breaks, MemoryThatCannotBeZeroedLeavesATruncateWhole) {
  start();
  const FilePtr file = file_of(64 * KiB);
  static_cast<void>(pin(file, 0, 64 * KiB));  // entries for all of it
  fault_point::arm("removal.zero", 1);
  EXPECT_EQ(code_of(truncate(file, 100)), EIO);
  fault_point::disarm_all();
  EXPECT_EQ(size_of(file), 100U);
  EXPECT_EQ(filesystem::attributes_of(*file->inode).size, 100U);
  EXPECT_EQ(file->inode->mapping.lookup(PageIndex(5)).has_page(), false) << "a page that left is tracked still";
  settle();
  EXPECT_EQ(free_pages(), all_free_ - 1);
  ASSERT_EQ(code_of(truncate(file, 64 * KiB)), 0);
  EXPECT_EQ(read(file, 8 * KiB, 100), Bytes(100, std::byte{0}));
}

TEST_F(Breaks, DetachOfPartOfAPinnedUnit) {
  start();
  FilePtr file = file_of(4 * MiB);
  Pin unit = pin(file, 2 * MiB, 4096);
  ASSERT_EQ(file->inode->mapping.lookup(PageIndex(512)).order(), kOrder2M);
  ASSERT_EQ(code_of(truncate(file, 3 * MiB + 100, OnPinned::detach)), 0);
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), MiB);
  Task cutting([&] { return code_of(truncate(file, 2 * MiB, OnPinned::fail)); });
  EXPECT_EQ(cutting.get(), EBUSY) << "what stays of the unit is pinned still";
  // The half that stays is pinned still: unlinked now, it waits as well.
  ASSERT_TRUE(unlink("/file"));
  file.reset();
  settle();
  EXPECT_EQ(free_pages(), all_free_ - 512) << "the unit, and nothing else";
  unit.release();
  settle();
  EXPECT_EQ(free_pages(), all_free_);
  EXPECT_TRUE(core_->quarantine().empty());
}

TEST_F(Breaks, APageOfAUnitThatLeftInPartIsItsFiles) {
  start();
  FilePtr file = file_of(4 * MiB);
  Pin unit = pin(file, 2 * MiB, 4096);
  ASSERT_EQ(code_of(truncate(file, 3 * MiB, OnPinned::detach)), 0);
  EXPECT_EQ(file->inode->mapping.check().value_or(""), "") << "the unit counts in a page that stays";
  unit.release();
  settle();
  EXPECT_TRUE(core_->quarantine().empty());
  // Pinned by the entry of before, and unlinked: its last put is told to the file, and not to who had the unit.
  Pin page = pin(file, 2 * MiB, 4096);
  ASSERT_TRUE(unlink("/file"));
  file.reset();
  settle();
  EXPECT_EQ(core_->quarantine().bytes(), 4096U);
  page.release();
  settle();
  EXPECT_EQ(free_pages(), all_free_);
  EXPECT_TRUE(core_->quarantine().empty());
}

// --- unlink and the last close ---

TEST_F(Breaks, UnlinkAndLastCloseWithAPinReturnAtOnceAndNothingIsReused) {
  start();
  FilePtr file = file_of(MiB);
  const filesystem::InodeNumber number = file->inode->number;
  Pin held = pin(file, 64 * KiB, 12 * KiB);
  const Bytes kept(held.segments()[0].address, held.segments()[0].address + 12 * KiB);
  ASSERT_TRUE(unlink("/file"));
  file.reset();
  settle();
  ASSERT_EQ(core_->quarantine().list().size(), 1U);
  EXPECT_EQ(core_->quarantine().list()[0].bytes, 12 * KiB);
  EXPECT_TRUE(core_->quarantine().list()[0].evicted);
  EXPECT_TRUE(format_->is_orphan(number));
  FilePtr filler = open("/filler");
  write(filler, 0, pattern(20 * MiB, 7));
  EXPECT_EQ(free_pages(), 0U);
  EXPECT_EQ(Bytes(held.segments()[0].address, held.segments()[0].address + 12 * KiB), kept);
  held.release();
  settle();
  EXPECT_EQ(free_pages(), 3U);
  EXPECT_FALSE(format_->is_orphan(number));
  const iovec one{const_cast<std::byte*>(kept.data()), 8192};
  EXPECT_EQ(filesystem::write(*filler->inode, size_of(filler), {&one, 1}).value(), 8192U);
}

TEST_F(Breaks, EvictionSeesTheUnpinThatComesDuringItsLook) {
  start();
  FilePtr file = file_of(64 * KiB);
  Pin held = pin(file, 0, 4096);
  ASSERT_TRUE(unlink("/file"));
  MarkStop looking("evict.looks");
  file.reset();
  ASSERT_TRUE(looking.wait_until_stopped());
  held.release();  // the look may have passed the page, or not
  looking.go_on();
  settle();
  EXPECT_EQ(free_pages(), all_free_);
}

TEST_F(Breaks, PinsOutliveTheFileSystem) {
  start();
  FilePtr file = file_of(64 * KiB);
  Pin live = pin(file, 0, 4096);
  FilePtr orphan = open("/orphan");
  write(orphan, 0, pattern(8192, 3));
  Pin last = pin(orphan, 0, 8192);
  ASSERT_TRUE(unlink("/orphan"));
  orphan.reset();
  file.reset();
  end();
  EXPECT_FALSE(ending_.closed);
  EXPECT_EQ(Bytes(last.segments()[0].address, last.segments()[0].address + 8192), pattern(8192, 3));
  live.release();
  EXPECT_FALSE(ending_.closed);
  MarkCount closed("core.closed");
  last.release();
  ASSERT_TRUE(closed.wait_until(1));
  EXPECT_TRUE(ending_.clean);
  EXPECT_EQ(ending_.orphans, 0U);
  EXPECT_EQ(ending_.free_pages, all_free_ - 16);
}

TEST_F(Breaks, UnmountNamesWhoIsInTheWay) {
  start();
  FilePtr file = file_of(64 * KiB);
  Pin held = pin(file, 0, 4096, {.purpose = "rdma region"});
  const Status open_file = core_->unmount(Deadline::after(Nanoseconds(0)));
  ASSERT_EQ(code_of(open_file), EBUSY);
  EXPECT_NE(open_file.error().message().find("/file"), std::string::npos);
  file.reset();
  Task waiting([&] {
    const Status status = core_->unmount(Deadline::after(milliseconds(5)));
    return status ? std::string() : fmt::format("{} {}", status.error().code(), status.error().message());
  });
  const std::string text = waiting.get();
  EXPECT_EQ(text.find(std::to_string(ETIMEDOUT)), 0U) << text;
  EXPECT_NE(text.find("rdma region"), std::string::npos) << text;
  EXPECT_TRUE(open("/file", false)) << "still mounted";
  held.release();
  EXPECT_EQ(code_of(core_->unmount(Deadline::after(seconds(10)))), 0);
  EXPECT_TRUE(ending_.clean);
  EXPECT_EQ(code_of(core_->usable()), ENODEV);
}

}  // namespace
}  // namespace holdfast::test
