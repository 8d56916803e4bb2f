// Goal: inside an active break nothing new is pinned, whatever is inserted; breaks take turns; marks leave no trace.
// Method: marks over every kind of entry, before and after; queues of overlapping ranges in every order of ends.
#include <gtest/gtest.h>

#include <vector>

#include "base/parker.h"
#include "base/wait_queue.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::mapping {
namespace {

using test::MarkStop;
using test::Task;

class BreaksTest : public test::FileFixture {
 protected:
  Mapping::BreakMark active(PageRange range) {
    Mapping::BreakMark mark = file_->queue_mark(range);
    EXPECT_TRUE(file_->try_activate(mark));
    return mark;
  }
  PinOutcome try_pin(std::uint64_t index) {
    PinnedRun run;
    const PinOutcome outcome = pin(index, run);
    if (outcome == PinOutcome::pinned) unpin(run);
    return outcome;
  }
};

TEST_F(BreaksTest, RangesRoundToTheUnitsAtTheirEnds) {
  insert(512, kOrder2M);
  insert(2048, kOrder2M);
  EXPECT_EQ(file_->round_to_units(pages_at(600, 1)), pages_at(512, 512));
  EXPECT_EQ(file_->round_to_units(pages_at(0, 513)), pages_at(0, 1024));
  EXPECT_EQ(file_->round_to_units({PageIndex(2050), kEndOfFile}), (PageRange{PageIndex(2048), kEndOfFile}));
  EXPECT_EQ(file_->round_to_units(pages_at(1024, 1024)), pages_at(1024, 1024));
  EXPECT_EQ(file_->round_to_units(pages_at(600, 0)), pages_at(600, 0));
}

TEST_F(BreaksTest, NewPinsAreRefusedInsideAndOnlyThere) {
  insert_pages(0, 1000);
  insert(1024, kOrder2M);
  const Mapping::BreakMark mark = active(pages_at(300, 1024 + 5 - 300));
  EXPECT_EQ(mark.range, pages_at(300, 1536 - 300));
  EXPECT_EQ(try_pin(299), PinOutcome::pinned);
  EXPECT_EQ(try_pin(300), PinOutcome::breaking);
  EXPECT_EQ(try_pin(999), PinOutcome::breaking);
  EXPECT_EQ(try_pin(1024 + 400), PinOutcome::breaking) << "the whole unit is marked";
  EXPECT_EQ(file_->active_break(pages_at(1400)), mark.range);
  EXPECT_FALSE(file_->active_break(pages_at(299)));
  EXPECT_EQ(broken(), "");
  file_->unmark(mark);
  EXPECT_EQ(try_pin(300), PinOutcome::pinned);
  EXPECT_EQ(try_pin(1024 + 400), PinOutcome::pinned);
  EXPECT_FALSE(file_->active_break(kWhole));
}

TEST_F(BreaksTest, WhatIsInsertedDuringABreakIsMarked) {
  insert(7);
  static_cast<void>(file_->zap(pages_at(7)));
  const Mapping::BreakMark mark = active(pages_at(0, 1024));
  EXPECT_EQ(insert(5), InsertOutcome::inserted);
  EXPECT_EQ(insert(7), InsertOutcome::inserted);  // revived
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::inserted);
  for (const std::uint64_t index : {5U, 7U, 600U}) EXPECT_EQ(try_pin(index), PinOutcome::breaking) << index;
  EXPECT_EQ(broken(), "");
  file_->unmark(mark);
  for (const std::uint64_t index : {5U, 7U, 600U}) EXPECT_EQ(try_pin(index), PinOutcome::pinned) << index;
}

TEST_F(BreaksTest, NoUnitComesToStraddleTheEndOfABreak) {
  const Mapping::BreakMark mark = active(pages_at(0, 600));
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::conflict);
  EXPECT_EQ(file_->lock_entry(PageIndex(512), kOrder2M, Deadline()).error().code(), EEXIST);
  EXPECT_EQ(insert(0, kOrder2M), InsertOutcome::inserted);
  EXPECT_EQ(insert(599), InsertOutcome::inserted);
  EXPECT_EQ(insert(600), InsertOutcome::inserted);
  EXPECT_EQ(try_pin(600), PinOutcome::pinned);
  file_->unmark(mark);
}

TEST_F(BreaksTest, MarksGoWithErasedEntriesToo) {
  insert(5);
  const Mapping::BreakMark mark = active(pages_at(0, 10));
  static_cast<void>(file_->zap(pages_at(5)));
  file_->remove(pages_at(5));
  EXPECT_EQ(map_->read(page_of(5), kOrder4K).raw, 0U) << "the next owner of the page could never pin it";
  file_->unmark(mark);
}

TEST_F(BreaksTest, OverlappingBreaksTakeTurnsInTheirOrder) {
  Mapping::BreakMark first = file_->queue_mark(pages_at(0, 10));
  Mapping::BreakMark second = file_->queue_mark(pages_at(5, 10));
  Mapping::BreakMark third = file_->queue_mark(pages_at(12, 10));
  Mapping::BreakMark apart = file_->queue_mark(pages_at(100, 10));
  EXPECT_FALSE(file_->try_activate(second)) << "the first came before";
  EXPECT_FALSE(file_->try_activate(third)) << "the second came before";
  EXPECT_TRUE(file_->try_activate(apart));
  EXPECT_TRUE(file_->try_activate(first));
  EXPECT_FALSE(file_->try_activate(second));
  file_->unmark(second);  // gave up in the queue
  EXPECT_TRUE(file_->try_activate(third));
  file_->unmark(first);
  file_->unmark(third);
  file_->unmark(apart);
}

TEST_F(BreaksTest, ABreakThatRoundsIntoAnothersRangeWaitsOnce) {
  insert(512, kOrder2M);
  Mapping::BreakMark small = file_->queue_mark(pages_at(900, 300));  // reaches behind the unit
  Mapping::BreakMark other = file_->queue_mark(pages_at(513, 1));    // the same unit, no common page
  EXPECT_TRUE(file_->try_activate(other)) << "the earlier one asked for other pages";
  EXPECT_FALSE(file_->try_activate(small));
  file_->unmark(other);
  EXPECT_TRUE(file_->try_activate(small));
  EXPECT_EQ(small.range, pages_at(512, 1200 - 512));
  file_->unmark(small);
}

TEST_F(BreaksTest, WhoWaitsBehindWhom) {
  Mapping::BreakMark endless = file_->queue_mark(pages_at(0, 10), true);
  Mapping::BreakMark bounded = file_->queue_mark(pages_at(100, 10), false);
  ASSERT_TRUE(file_->try_activate(endless) && file_->try_activate(bounded));
  const Mapping::BreakMark between = file_->queue_mark(pages_at(5, 100));
  const Mapping::BreakMark last = file_->queue_mark(pages_at(50, 10));
  EXPECT_EQ(file_->waits_behind(between), std::vector{endless.range});
  EXPECT_EQ(file_->waits_behind(last), std::vector{endless.range}) << "through the one between";
  file_->unmark(between);
  EXPECT_TRUE(file_->waits_behind(last).empty());
  for (const auto& mark : {endless, bounded, last}) file_->unmark(mark);
}

TEST_F(BreaksTest, UnmarkWakesThoseInTheQueue) {
  const Mapping::BreakMark first = active(pages_at(0, 10));
  Mapping::BreakMark second = file_->queue_mark(pages_at(5, 10));
  Task waiter([&] { return wait_until(file_->break_key(), Deadline(), [&] { return file_->try_activate(second); }); });
  file_->unmark(first);
  EXPECT_EQ(waiter.get(), ParkOutcome::unparked);
  file_->unmark(second);
}

TEST_F(BreaksTest, FirstPinnedFindsPinsOfEveryOrder) {
  insert_pages(0, 100);
  insert(512, kOrder2M);
  insert(1U << 18, kOrder1G);
  EXPECT_FALSE(file_->first_pinned(kWhole));
  const PinnedRun big = pinned((1U << 18) + 5);
  EXPECT_EQ(file_->first_pinned(kWhole)->order, kOrder1G);
  const PinnedRun unit = pinned(700);
  const auto busy = file_->first_pinned(pages_at(600, 1));
  ASSERT_TRUE(busy);
  EXPECT_EQ(busy->index, PageIndex(512));
  EXPECT_EQ(busy->pfn, page_of(512));
  EXPECT_EQ(busy->order, kOrder2M);
  const PinnedRun page = pinned(50);
  EXPECT_EQ(file_->first_pinned(kWhole)->index, PageIndex(50));
  EXPECT_FALSE(file_->first_pinned(pages_at(51, 400)));
  for (const PinnedRun& run : {big, unit, page}) unpin(run);
}

// P4: the unit's entry is gone, its pin is not, and a page of the unit still belongs to the file.
TEST_F(BreaksTest, FirstPinnedSeesThePinOfAUnitThatWasBrokenUp) {
  insert(512, kOrder2M);
  const PinnedRun unit = pinned(512);
  EXPECT_TRUE(file_->zap(pages_at(512)));
  file_->remove(pages_at(512));  // the punch of one page takes the whole entry
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::conflict) << "no unit forms over its own old pin";
  EXPECT_EQ(insert(700), InsertOutcome::inserted);
  const auto busy = file_->first_pinned(pages_at(700));
  ASSERT_TRUE(busy);
  EXPECT_EQ(busy->index, PageIndex(700));
  EXPECT_EQ(busy->pfn, page_of(512)) << "the count to wait for is the unit's";
  EXPECT_EQ(busy->order, kOrder2M);
  EXPECT_TRUE(file_->zap(pages_at(700)));
  unpin(unit);
  EXPECT_FALSE(file_->first_pinned(kWhole));
  EXPECT_EQ(owner_.puts().size(), 1U);
}

TEST_F(BreaksTest, ManyEntriesAreMarkedAcrossBatches) {
  insert_pages(0, 2000);
  const Mapping::BreakMark mark = active(kWhole);
  for (std::uint64_t i = 0; i < 2000; ++i) ASSERT_EQ(try_pin(i), PinOutcome::breaking) << i;
  file_->unmark(mark);
  for (std::uint64_t i = 0; i < 2000; ++i) ASSERT_EQ(try_pin(i), PinOutcome::pinned) << i;
}

}  // namespace
}  // namespace holdfast::mapping
