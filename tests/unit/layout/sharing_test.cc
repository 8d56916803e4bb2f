// Goal: blocks of several files are freed by the last of them, once, and never under a pin; nobody stores to what
// others read; and no file waits for the holders of another (R15, R16, S10; the defects D3 and D4 of the series).
// Method: a small format that shares blocks, its files on two threads, one stopped at a mark and the other run past it,
// then the reverse.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "base/epoch.h"
#include "layout/break_both.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/sharing_store.h"
#include "support/task.h"

namespace holdfast::layout {
namespace {

using mapping::Mapping;
using mapping::PinnedRun;
using test::MarkCount;
using test::MarkStop;
using test::SharedFile;
using test::SharingStore;
using test::Task;

class Sharing : public ::testing::Test {
 protected:
  Sharing() {
    first_.emplace(store_, 11);
    second_.emplace(store_, 12);
  }
  // Page 0 of the first file holds 7 and is page 5 of the second.
  void share_a_page() {
    first().store(0, 7);
    ASSERT_EQ(second().clone(first(), 0, 1, 5), 0);
  }
  SharedFile& first() { return *first_; }
  SharedFile& second() { return *second_; }
  Pfn shared_block() { return *first().block_at(0); }
  void unpin(const PinnedRun& run) { mapping::unpin(store_.pages(), run); }
  Mapping::PinOutcome try_pin(SharedFile& file, std::uint64_t index, Access access) {
    const epoch::Guard guard;
    PinnedRun run;
    const Mapping::PinOutcome outcome = file.mapping().try_pin_unit(PageIndex(index), run, access).outcome;
    if (outcome == Mapping::PinOutcome::pinned) unpin(run);
    return outcome;
  }
  void expect_sound() {
    EXPECT_EQ(first().mapping().check().value_or(""), "");
    EXPECT_EQ(second().mapping().check().value_or(""), "");
  }

  SharingStore store_{64};
  std::optional<SharedFile> first_;
  std::optional<SharedFile> second_;
};

TEST_F(Sharing, BothFilesShowOneBlock) {
  share_a_page();
  EXPECT_EQ(first().block_at(0), second().block_at(5));
  EXPECT_EQ(store_.files_of(shared_block()), 2U);
  const PinnedRun one = first().pin(0, Access::read);
  const PinnedRun other = second().pin(5, Access::read);
  EXPECT_EQ(store_.pages().read(shared_block(), kOrder4K).tracked(), 2U);
  EXPECT_EQ(store_.pages().read(shared_block(), kOrder4K).pins(), 2U);
  expect_sound();
  unpin(one);
  unpin(other);
}

// R15. A store to a shared page: the file gets a copy, the old block stays with the other file and with its pins.
TEST_F(Sharing, R15_AStoreCopiesUnderPinsOfTheOldBlock) {
  share_a_page();
  const Pfn old = shared_block();
  const PinnedRun mine = first().pin(0, Access::read);
  const PinnedRun others = second().pin(5, Access::read);
  EXPECT_EQ(try_pin(first(), 0, Access::write), Mapping::PinOutcome::shared);
  first().store(0, 8);
  EXPECT_NE(shared_block(), old);
  EXPECT_EQ(first().load(0), 8U);
  EXPECT_EQ(second().load(5), 7U);
  EXPECT_EQ(store_.contents(old), 7U) << "who has the old block pinned sees what he pinned";
  EXPECT_EQ(store_.pages().read(old, kOrder4K).pins(), 2U);
  EXPECT_EQ(store_.pages().read(old, kOrder4K).tracked(), 1U);
  unpin(mine);
  unpin(others);
  // The other file is alone with the old block by now: it stores in place.
  second().store(5, 9);
  EXPECT_EQ(second().block_at(5), old);
  EXPECT_EQ(store_.contents(old), 9U);
  expect_sound();
}

// D3 and D4: every way in takes one reference and every way out gives one back, whatever is shared.
TEST_F(Sharing, ReferencesAreExactThroughCopiesAndClones) {
  for (unsigned round = 0; round < 4; ++round) {
    share_a_page();
    unpin(first().pin(0, Access::read));
    unpin(second().pin(5, Access::read));
    first().store(0, round);
    ASSERT_EQ(first().clone(second(), 5, 1, 1), 0);
    unpin(first().pin(1, Access::read));
    EXPECT_EQ(store_.pages().read(*second().block_at(5), kOrder4K).refcount(), 1U) << "the clone took the entry away";
    unpin(second().pin(5, Access::read));
    EXPECT_EQ(store_.pages().read(*second().block_at(5), kOrder4K).refcount(), 2U);
    second().store(5, 100 + round);
    EXPECT_EQ(store_.pages().read(*first().block_at(1), kOrder4K).refcount(), 1U);
    expect_sound();
    ASSERT_EQ(first().truncate(0), 0);
    ASSERT_EQ(second().truncate(0), 0);
    EXPECT_EQ(store_.pages().references(), 0U);
    EXPECT_EQ(store_.free_blocks(), 64U);
  }
}

// A file that lets go of a shared block takes it from nobody: it waits for no pin, its own or the other's.
TEST_F(Sharing, ABreakDoesNotWaitForPinsOfASharedBlock) {
  share_a_page();
  const Pfn block = shared_block();
  const PinnedRun mine = first().pin(0, Access::read);
  const PinnedRun others = second().pin(5, Access::read);
  EXPECT_EQ(first().truncate(0, OnPinned::fail), 0);
  EXPECT_EQ(store_.files_of(block), 1U);
  EXPECT_EQ(store_.pages().read(block, kOrder4K).pins(), 2U);
  EXPECT_EQ(try_pin(second(), 5, Access::read), Mapping::PinOutcome::pinned) << "the other file has no break";
  unpin(mine);
  unpin(others);
}

// The last file waits, and so does not free what was pinned through the one that let go before.
TEST_F(Sharing, TheLastOneWaitsForPinsOfOthers) {
  share_a_page();
  const Pfn block = shared_block();
  const PinnedRun run = first().pin(0, Access::read);
  unpin(second().pin(5, Access::read));
  ASSERT_EQ(first().truncate(0), 0);
  EXPECT_EQ(second().truncate(0, OnPinned::fail), EBUSY);
  MarkCount sleeps("layout.break.sleeps");
  Task last([&] { return second().truncate(0); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_FALSE(last.done());
  EXPECT_EQ(store_.contents(block), 7U);
  unpin(run);
  EXPECT_EQ(last.get(), 0);
  EXPECT_EQ(store_.free_blocks(), 64U);
}

TEST_F(Sharing, TheLastOneMayLeaveThemInQuarantine) {
  share_a_page();
  const PinnedRun run = first().pin(0, Access::read);
  ASSERT_EQ(first().truncate(0), 0);
  ASSERT_EQ(second().truncate(0, OnPinned::detach), 0);
  EXPECT_EQ(store_.quarantined(), 1U);
  EXPECT_EQ(store_.contents(run.first), 7U);
  unpin(run);
  EXPECT_EQ(store_.last_puts_told(), 1U) << "whoever has the block now is told";
  store_.reap();
  EXPECT_EQ(store_.free_blocks(), 64U);
}

// Two files let go at once: stopped after its zap, before it counts itself out, the first meets the whole of the
// second; and the reverse. Exactly one frees, and what is pinned goes to quarantine.
TEST_F(Sharing, TwoFilesLetGoAtOnce) {
  for (const bool pinned : {false, true}) {
    for (const bool first_stops : {true, false}) {
      SCOPED_TRACE(::testing::Message() << "pinned " << pinned << ", the first stops " << first_stops);
      share_a_page();
      unpin(second().pin(5, Access::read));
      std::optional<PinnedRun> run;
      if (pinned) run = first().pin(0, Access::read);
      MarkStop zapped("layout.commit.zapped");
      Task stopped([&] { return (first_stops ? first() : second()).truncate(0); });
      ASSERT_TRUE(zapped.wait_until_stopped());
      // The other one is not the last: it waits for nobody, though a pin is there.
      EXPECT_EQ((first_stops ? second() : first()).truncate(0), 0);
      zapped.go_on();
      EXPECT_EQ(stopped.get(), 0);
      EXPECT_EQ(store_.quarantined(), pinned ? 1U : 0U);
      if (run) unpin(*run);
      store_.reap();
      EXPECT_EQ(store_.free_blocks(), 64U);
    }
  }
}

// A pin for writing beside the step that makes the page the file's own: refused as shared before, granted after.
TEST_F(Sharing, APinMeetsTheStepToOwn) {
  share_a_page();
  unpin(first().pin(0, Access::read));
  ASSERT_EQ(second().truncate(0), 0);
  {  // the owner is set, the entry is shared still
    MarkStop owner_set("mapping.own.owner_set");
    Task owner([&] {
      first().mapping().make_own({PageIndex(0), PageIndex(1)});
      return true;
    });
    ASSERT_TRUE(owner_set.wait_until_stopped());
    EXPECT_EQ(try_pin(first(), 0, Access::write), Mapping::PinOutcome::shared);
    EXPECT_EQ(try_pin(first(), 0, Access::read), Mapping::PinOutcome::pinned);
    owner_set.go_on();
    EXPECT_TRUE(owner.get());
  }
  EXPECT_EQ(try_pin(first(), 0, Access::write), Mapping::PinOutcome::pinned);
  expect_sound();
}

// The same with a read pin that is counted while the entry changes under it: it is undone, and taken again.
TEST_F(Sharing, ACountedPinSeesTheStepToOwn) {
  share_a_page();
  unpin(first().pin(0, Access::read));
  ASSERT_EQ(second().truncate(0), 0);
  MarkStop counted("mapping.pin.counted");
  Task pinner([&] { return try_pin(first(), 0, Access::read); });
  ASSERT_TRUE(counted.wait_until_stopped());
  MarkCount changed("mapping.own.changed");
  Task owner([&] {
    first().mapping().make_own({PageIndex(0), PageIndex(1)});  // waits for the pin's epoch in the end
    return true;
  });
  ASSERT_TRUE(changed.wait_until(1));
  counted.go_on();
  EXPECT_TRUE(owner.get());
  EXPECT_EQ(pinner.get(), Mapping::PinOutcome::absent);
  EXPECT_EQ(store_.pages().read(shared_block(), kOrder4K).pins(), 0U);
  EXPECT_EQ(try_pin(first(), 0, Access::write), Mapping::PinOutcome::pinned);
}

// M4: a break that is active when a page becomes the file's own marks it, and takes the mark away.
TEST_F(Sharing, AnActiveBreakMarksWhatBecomesOwn) {
  share_a_page();
  unpin(first().pin(0, Access::read));
  ASSERT_EQ(second().truncate(0), 0);
  {
    Result<Break> broken = Break::wait(first().mapping(), {PageIndex(0), PageIndex(1)}, {});
    ASSERT_TRUE(broken);
    EXPECT_EQ(try_pin(first(), 0, Access::read), Mapping::PinOutcome::pinned) << "shared: the break does not mind";
    first().mapping().make_own({PageIndex(0), PageIndex(1)});
    EXPECT_EQ(try_pin(first(), 0, Access::read), Mapping::PinOutcome::breaking);
    expect_sound();
  }
  EXPECT_EQ(try_pin(first(), 0, Access::write), Mapping::PinOutcome::pinned);
}

// A page is pinned through a shared entry that is gone since, and the file is alone with it when it comes back: the
// last put is this file's to hear of (M1).
TEST_F(Sharing, APageThatComesBackAsOwnUnderAPinNamesItsFile) {
  share_a_page();
  const PinnedRun run = first().pin(0, Access::read);
  ASSERT_EQ(second().clone(first(), 0, 1, 6), 0);  // takes the entry away, and not the pin
  ASSERT_EQ(second().truncate(0), 0);
  unpin(first().pin(0, Access::read));
  expect_sound();
  EXPECT_FALSE(first().mapping().lookup(PageIndex(0)).shared());
  unpin(run);
}

// No unit is made of shared pages, and an entry that comes back stays shared until it is said otherwise.
TEST_F(Sharing, ARevivedEntryStaysShared) {
  share_a_page();
  unpin(first().pin(0, Access::read));
  const PageRange page{PageIndex(0), PageIndex(1)};
  static_cast<void>(first().mapping().zap(page));
  const auto hold = mapping::Hold::enter(first().mapping(), page, Deadline());
  ASSERT_TRUE(first().mapping().insert(PageIndex(0), shared_block(), kOrder4K, Deadline()));
  EXPECT_TRUE(first().mapping().lookup(PageIndex(0)).shared());
  EXPECT_TRUE(first().mapping().lookup(PageIndex(0)).tracks());
}

// R16. Blocks move between two files, and the second is pinned: the first is not held up meanwhile, and no busy loop.
TEST_F(Sharing, R16_TwoFilesBreakTogether) {
  first().store(0, 7);
  second().store(5, 8);
  for (const bool second_pinned : {true, false}) {
    SCOPED_TRACE(second_pinned);
    SharedFile& held = second_pinned ? second() : first();
    SharedFile& other = second_pinned ? first() : second();
    const std::uint64_t held_page = second_pinned ? 5 : 0;
    const std::uint64_t other_page = second_pinned ? 0 : 5;
    const PinnedRun run = held.pin(held_page, Access::read);
    MarkCount sleeps("layout.break.sleeps");
    Task both([&] {
      return break_both({&first().mapping(), {PageIndex(0), PageIndex(1)}},
                        {&second().mapping(), {PageIndex(5), PageIndex(6)}}, {})
          .has_value();
    });
    ASSERT_TRUE(sleeps.wait_until(1));
    EXPECT_FALSE(both.done());
    // Who holds a pin of one may take one of the other: else he and the break would wait for each other.
    EXPECT_EQ(try_pin(other, other_page, Access::read), Mapping::PinOutcome::pinned);
    EXPECT_LE(sleeps.passings(), 2U) << "a busy loop";
    unpin(run);
    EXPECT_TRUE(both.get());
  }
}

TEST_F(Sharing, R16_OppositeMovesEnd) {
  first().store(0, 7);
  second().store(0, 8);
  const auto breaks = [&](SharedFile& one, SharedFile& other) {
    const PageRange page{PageIndex(0), PageIndex(1)};
    for (unsigned round = 0; round < 200; ++round) {
      if (!break_both({&one.mapping(), page}, {&other.mapping(), page}, {})) return false;
    }
    return true;
  };
  Task there([&] { return breaks(first(), second()); });
  Task back([&] { return breaks(second(), first()); });
  Task pins([&] {
    for (unsigned round = 0; round < 200; ++round) unpin(first().pin(0, Access::read));
    return true;
  });
  EXPECT_TRUE(there.get() && back.get() && pins.get());
}

TEST_F(Sharing, TwoPlacesOfOneUnitAreRefused) {
  test::RecordingOwner owner;
  auto map = pagemap::PageMap::create(PageCount(2048), nullptr).value();
  Mapping file(*map, owner, {7, 12});
  {
    const auto hold = mapping::Hold::enter(file, {PageIndex(0), PageIndex(512)}, Deadline());
    ASSERT_TRUE(file.insert(PageIndex(0), Pfn(512), kOrder2M, Deadline()));
  }
  const auto both = break_both({&file, {PageIndex(0), PageIndex(1)}}, {&file, {PageIndex(5), PageIndex(6)}}, {});
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().code(), EINVAL);
  EXPECT_TRUE(break_both({&file, {PageIndex(0), PageIndex(1)}}, {&file, {PageIndex(600), PageIndex(601)}}, {}));
  static_cast<void>(file.zap({PageIndex(0), kEndOfFile}));
  file.remove({PageIndex(0), kEndOfFile});
}

TEST_F(Sharing, BothRangesAreNamedWhenTheyAreInTheWay) {
  first().store(0, 7);
  second().store(5, 8);
  const PinnedRun run = second().pin(5, Access::read);
  const auto both = break_both({&second().mapping(), {PageIndex(5), PageIndex(6)}},
                               {&first().mapping(), {PageIndex(0), PageIndex(1)}},
                               {OnPinned::wait, Deadline::after(std::chrono::milliseconds(5))});
  ASSERT_FALSE(both);
  EXPECT_EQ(both.error().code(), ETIMEDOUT);
  EXPECT_EQ(both.error().object(), "inode 12");
  unpin(run);
}

// Three threads store, read, clone, pin and cut at random; what a file shows is what was stored to it, and what is
// pinned does not change.
TEST_F(Sharing, ManyFilesAtRandom) {
  constexpr std::uint64_t kPages = 6;
  const auto work = [&](SharedFile& mine, SharedFile& from, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::optional<std::uint64_t>> model(kPages);
    for (unsigned step = 0; step < 3000; ++step) {
      const std::uint64_t index = random() % kPages;
      switch (random() % 5) {
        case 0: {
          const std::uint64_t value = seed << 32 | step;
          mine.store(index, value);
          model.at(index) = value;
          break;
        }
        case 1:
          if (model.at(index) && mine.load(index) != model.at(index)) return false;
          break;
        case 2: {
          if (mine.clone(from, index, 1, kPages) != 0) return false;
          // A copy of the other's page: it stays what it was while the other goes on storing.
          const std::optional<std::uint64_t> cloned = mine.load(kPages);
          if (cloned != mine.load(kPages)) return false;
          break;
        }
        case 3: {
          // The clone of the other's page: pinned here, whatever the other does with its own.
          const PinnedRun run = mine.pin(kPages, Access::read);
          const std::uint64_t seen = store_.contents(run.first);
          for (unsigned look = 0; look < 50; ++look) {
            if (store_.contents(run.first) != seen) return false;
          }
          unpin(run);
          break;
        }
        default:
          if (step % 7 != 0) break;
          if (mine.truncate(index, random() % 2 == 0 ? OnPinned::wait : OnPinned::detach) != 0) return false;
          for (std::uint64_t gone = index; gone < kPages; ++gone) model.at(gone).reset();
      }
      if (step % 64 == 0) store_.reap();
    }
    return true;
  };
  Task one([&] { return work(first(), second(), 1); });
  Task other([&] { return work(second(), first(), 2); });
  EXPECT_TRUE(one.get());
  EXPECT_TRUE(other.get());
  expect_sound();
}

}  // namespace
}  // namespace holdfast::layout
