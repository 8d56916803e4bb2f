// Goal: a pin counts each unit of its range once or nothing at all, and never what it could not verify. Method: ranges
// over every mixture of orders; each outcome in the middle of a range; entries changed between count and verification.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::mapping {
namespace {

using test::MarkStop;
using test::Task;

class PinTest : public test::FileFixture {
 protected:
  Mapping::PinResult pin_range(std::uint64_t first, std::uint64_t count, std::vector<PinnedRun>& runs) {
    return file_->try_pin(pages_at(first, count), runs);
  }
  void expect_no_pins(std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t i = first; i < first + count; ++i) {
      ASSERT_EQ(pins(i), 0U) << i;
      ASSERT_EQ(pins(i, kOrder2M), 0U) << i;
    }
  }
  void unpin_all(const std::vector<PinnedRun>& runs) {
    for (const PinnedRun& run : runs) unpin(run);
  }
};

TEST_F(PinTest, NothingTrackedNothingPinned) {
  PinnedRun run;
  EXPECT_EQ(pin(5, run), PinOutcome::absent);
  EXPECT_EQ(map_->references(), 0U);
}

TEST_F(PinTest, AUnitIsPinnedByAnyOfItsPages) {
  insert(512, kOrder2M);
  insert(1U << 18, kOrder1G);
  const PinnedRun two = pinned(512 + 100);
  EXPECT_EQ(two, (PinnedRun{page_of(512), 1, kOrder2M}));
  const PinnedRun one = pinned((1U << 18) + 99999);
  EXPECT_EQ(one, (PinnedRun{page_of(1U << 18), 1, kOrder1G}));
  EXPECT_FALSE(map_->idle(page_of(512 + 511)));
  unpin(two);
  unpin(one);
  EXPECT_TRUE(map_->idle(page_of(512 + 511)));
}

TEST_F(PinTest, ARangeOverEveryOrderCountsEachUnitOnce) {
  insert_pages(500, 12);
  insert(512, kOrder2M);
  insert_pages(1024, 130);
  std::vector<PinnedRun> runs = {{Pfn(7), 1, kOrder4K}};  // a caller's own: neither joined nor undone
  ASSERT_EQ(pin_range(505, 1100 - 505, runs).outcome, PinOutcome::pinned);
  EXPECT_EQ(runs, (std::vector<PinnedRun>{{Pfn(7), 1, kOrder4K},
                                          {page_of(505), 7, kOrder4K},
                                          {page_of(512), 1, kOrder2M},
                                          {page_of(1024), 76, kOrder4K}}));
  EXPECT_EQ(pins(505), 1U);
  EXPECT_EQ(pins(504), 0U);
  EXPECT_EQ(pins(512, kOrder2M), 1U);
  EXPECT_EQ(pins(1099), 1U);
  EXPECT_EQ(pins(1100), 0U);
  runs.erase(runs.begin());
  unpin_all(runs);
  expect_no_pins(500, 700);
}

TEST_F(PinTest, ScatteredPagesAreRunsOfTheirOwn) {
  for (std::uint64_t i = 0; i < 200; ++i) insert(i, Pfn(1000 - 3 * i), kOrder4K);
  std::vector<PinnedRun> runs;
  ASSERT_EQ(pin_range(0, 200, runs).outcome, PinOutcome::pinned);
  EXPECT_EQ(runs.size(), 200U);
  EXPECT_EQ(runs[7], (PinnedRun{Pfn(1000 - 21), 1, kOrder4K}));
  unpin_all(runs);
}

TEST_F(PinTest, WhateverStopsARangeUndoesAllOfIt) {
  insert_pages(0, 300);
  std::vector<PinnedRun> runs;
  // A hole, at the beginning, inside a leaf, at a leaf's edge.
  for (const std::uint64_t hole : {std::uint64_t{0}, std::uint64_t{100}, std::uint64_t{128}, std::uint64_t{299}}) {
    static_cast<void>(file_->zap(pages_at(hole)));
    const auto result = pin_range(0, 300, runs);
    EXPECT_EQ(result.outcome, PinOutcome::absent);
    EXPECT_EQ(result.at, PageIndex(hole));
    EXPECT_TRUE(runs.empty());
    expect_no_pins(0, 300);
    insert(hole);
  }
  const auto beyond = pin_range(200, 200, runs);
  EXPECT_EQ(beyond.at, PageIndex(300));
  // A break.
  Mapping::BreakMark mark = file_->queue_mark(pages_at(150));
  ASSERT_TRUE(file_->try_activate(mark));
  const auto breaking = pin_range(0, 300, runs);
  EXPECT_EQ(breaking.outcome, PinOutcome::breaking);
  EXPECT_EQ(breaking.at, PageIndex(150));
  expect_no_pins(0, 300);
  file_->unmark(mark);
  // A full count.
  Atomic<std::uint32_t>& count = map_->count(page_of(70), kOrder4K);
  count.fetch_add(pagemap::CountWord::kPinMask, std::memory_order_relaxed);
  const auto full = pin_range(0, 300, runs);
  EXPECT_EQ(full.outcome, PinOutcome::full);
  EXPECT_EQ(full.at, PageIndex(70));
  PinnedRun run;
  EXPECT_EQ(pin(70, run), PinOutcome::full);
  count.fetch_sub(pagemap::CountWord::kPinMask, std::memory_order_relaxed);
  expect_no_pins(0, 300);
}

TEST_F(PinTest, AnEmptyRangePinsNothing) {
  std::vector<PinnedRun> runs;
  EXPECT_EQ(pin_range(5, 0, runs).outcome, PinOutcome::pinned);
  EXPECT_TRUE(runs.empty());
}

TEST_F(PinTest, ALockedEntryIsPinnedAllTheSame) {
  insert_pages(0, 3);
  const auto locked = file_->lock_entry(PageIndex(1), kOrder4K, Deadline());
  std::vector<PinnedRun> runs;
  EXPECT_EQ(pin_range(0, 3, runs).outcome, PinOutcome::pinned);
  unpin_all(runs);
}

// Between the first look and the count the page goes to another index. It can be counted there, but is not what the
// file shows where it was asked for.
TEST_F(PinTest, TheSamePageAtAnotherIndexIsNotWhatWasAskedFor) {
  insert(5);
  MarkStop found("mapping.pin.found");
  PinnedRun run;
  Task pinner([&] { return pin(5, run); });
  ASSERT_TRUE(found.wait_until_stopped());
  EXPECT_FALSE(file_->zap(pages_at(5)));
  file_->remove(pages_at(5));
  insert(6, page_of(5), kOrder4K);
  found.go_on();
  EXPECT_EQ(pinner.get(), PinOutcome::absent);
  EXPECT_EQ(pins(5), 0U);
}

}  // namespace
}  // namespace holdfast::mapping
