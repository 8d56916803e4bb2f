// Goal: a pin is all of its range or nothing, whoever it is of: the fast way and the attempts count the same units,
// what is absent is tracked, what breaks is waited for, and reports name who holds. Method: one file of the mapping
// layer, tracked page by page or in units, pinned through a source that a test controls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <holdfast/pin.h>

#include <cerrno>
#include <chrono>
#include <string>

#include "pin/attempt.h"
#include "pin/fast.h"
#include "pin/report.h"
#include "pin/wait.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::pin {
namespace {

using testing::HasSubstr;

class Pins : public test::FileFixture, public Source {
 protected:
  Pins() { size_.store(8 * kPageBytes, std::memory_order_relaxed); }
  Target target() override { return {*file_, size_, nullptr}; }
  std::string name() const override { return "the file"; }
  Status track(PageRange range, Access /*access*/, Deadline /*deadline*/) override {
    ++tracked_;
    insert_pages(range.first.raw(), range.count().raw());
    return {};
  }
  // The fast way alone.
  Result<Pin> fast(std::uint64_t offset, std::uint64_t length) {
    return take(true, target(), offset, length, {}, [] { return Result<Pin>(Error(EAGAIN, "", "slowly")); });
  }
  static int code_of(const Result<Pin>& result) { return result ? 0 : result.error().code(); }

  Atomic<std::uint64_t> size_;
  int tracked_ = 0;
};

TEST_F(Pins, TheFastWayTakesWhatOneUnitCovers) {
  insert(0);
  insert(1);
  const Pin one = fast(100, 200).value();
  EXPECT_EQ(one.segments()[0].device_offset, page_of(0).bytes() + 100);
  EXPECT_EQ(pins(0), 1U);
  EXPECT_EQ(code_of(fast(100, 2 * kPageBytes)), EAGAIN) << "two units";
  EXPECT_EQ(code_of(fast(2 * kPageBytes, 1)), EAGAIN) << "nothing there";
  EXPECT_EQ(code_of(fast(0, 0)), EAGAIN);
  EXPECT_EQ(pins(0), 1U);
  EXPECT_EQ(pins(1), 0U);
}

TEST_F(Pins, TheFastWayTakesALargeUnitAtOnce) {
  insert(0, kOrder2M);
  size_.store(kOrder2M.pages().bytes(), std::memory_order_relaxed);
  const Pin all = fast(0, kOrder2M.pages().bytes()).value();
  EXPECT_EQ(pins(0, kOrder2M), 1U);
  // The unit reaches past the end of the file, the pin does not.
  size_.store(10 * kPageBytes, std::memory_order_relaxed);
  EXPECT_EQ(code_of(fast(9 * kPageBytes, kPageBytes + 1)), EAGAIN);
  EXPECT_TRUE(fast(9 * kPageBytes, kPageBytes));
  EXPECT_EQ(pins(0, kOrder2M), 1U);
}

TEST_F(Pins, WhatIsAbsentIsTrackedOnce) {
  EXPECT_EQ(try_take_slowly(*this, 0, 3 * kPageBytes, {}).error().code(), EAGAIN);
  {
    const Pin pin = take_slowly(*this, kPageBytes / 2, 3 * kPageBytes, {}).value();
    EXPECT_EQ(pin.length(), 3 * kPageBytes);
    ASSERT_EQ(pin.segments().size(), 1U);
    EXPECT_EQ(pin.segments()[0].device_offset, page_of(0).bytes() + kPageBytes / 2);
    for (std::uint64_t page = 0; page < 4; ++page) EXPECT_EQ(pins(page), 1U);
    EXPECT_TRUE(try_take_slowly(*this, 0, 3 * kPageBytes, {}));
  }
  EXPECT_EQ(tracked_, 1);
  for (std::uint64_t page = 0; page < 4; ++page) EXPECT_EQ(pins(page), 0U);
}

TEST_F(Pins, PagesThatDoNotFollowEachOtherAreSegments) {
  insert(0, page_of(0), kOrder4K);
  insert(1, page_of(7), kOrder4K);
  const Pin pin = take_slowly(*this, 10, kPageBytes, {}).value();
  ASSERT_EQ(pin.segments().size(), 2U);
  EXPECT_EQ(pin.segments()[0].length + pin.segments()[1].length, kPageBytes);
  EXPECT_EQ(pin.segments()[1].device_offset, page_of(7).bytes());
  EXPECT_EQ(pin.length(), kPageBytes);
}

TEST_F(Pins, NothingIsTakenPastTheEnd) {
  insert_pages(0, 8);
  const Result<Pin> past = take_slowly(*this, 7 * kPageBytes, kPageBytes + 1, {});
  ASSERT_EQ(code_of(past), ENXIO);
  EXPECT_THAT(past.error().message(), HasSubstr("the file"));
  // The file is cut between the first look and the count.
  test::MarkStop counted("pin.counted");
  test::Task cut([&] { return code_of(take_slowly(*this, 6 * kPageBytes, 2 * kPageBytes, {})); });
  ASSERT_TRUE(counted.wait_until_stopped());
  size_.store(7 * kPageBytes, std::memory_order_relaxed);
  counted.go_on();
  EXPECT_EQ(cut.get(), ENXIO);
  EXPECT_EQ(pins(6), 0U);
}

TEST_F(Pins, ABreakIsWaitedForOrNamed) {
  insert_pages(0, 4);
  Mapping::BreakMark mark = file_->queue_mark(pages_at(0, 4));
  ASSERT_TRUE(file_->try_activate(mark));
  PinOptions at_once;
  at_once.on_break = OnBreak::fail;
  const Result<Pin> named = take_slowly(*this, 0, 1, at_once);
  ASSERT_EQ(code_of(named), EAGAIN);
  EXPECT_THAT(named.error().message(), HasSubstr("a break of bytes 0 to 16384 is waiting"));
  PinOptions bounded;
  bounded.deadline = std::chrono::milliseconds(5);
  EXPECT_EQ(code_of(take_slowly(*this, 0, 1, bounded)), ETIMEDOUT);
  test::MarkCount waits("pin.waits");
  test::Task waiter([&] { return code_of(take_slowly(*this, 0, 1, {})); });
  ASSERT_TRUE(waits.wait_until(1));
  file_->unmark(mark);
  EXPECT_EQ(waiter.get(), 0);
}

TEST_F(Pins, ReportsNameWhoHolds) {
  const std::uint32_t number = new_filesystem_number();
  EXPECT_NE(number, new_filesystem_number());
  insert(0);
  PinOptions options;
  options.access = Access::write;
  options.purpose = "a transfer";
  options.released_elsewhere = true;
  const Pin pin = take_slowly(*this, 5, 10, options).value();
  const std::vector<PinInfo> held = report(file_->file().filesystem, 10);
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].purpose, "a transfer");
  EXPECT_EQ(held[0].offset, 5U);
  EXPECT_EQ(held[0].length, 10U);
  EXPECT_EQ(held[0].access, Access::write);
  EXPECT_EQ(held[0].deadline, kForever);
  EXPECT_TRUE(held[0].released_elsewhere);
  EXPECT_TRUE(report(file_->file().filesystem, 0).empty());
}

}  // namespace
}  // namespace holdfast::pin
