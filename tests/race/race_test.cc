// Goal: the races of the kernel's page-lifetime work, R1 to R23 as far as they concern entries, pins and breaks, end
// well whichever side is first. Method: one side stopped at a mark, the other run past it, then the reverse; no clock.
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "layout/break.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast {
namespace {

using layout::Break;
using layout::BreakOptions;
using mapping::Entry;
using mapping::EntryLock;
using mapping::Hold;
using mapping::PinnedRun;
using test::MarkCount;
using test::MarkStop;
using test::Task;

class Race : public test::FileFixture {
 protected:
  int break_error(PageRange range, const BreakOptions& options = {}) {
    auto result = Break::wait(*file_, range, options);
    return result ? 0 : result.error().code();
  }
  // What truncate does to the range, once it has the range to itself.
  void take_away(PageRange range, const BreakOptions& options = {}) {
    auto one = Break::wait(*file_, range, options);
    ASSERT_TRUE(one) << one.error().message();
    auto commit = one->commit();
    ASSERT_TRUE(commit);
    commit->remove_entries();
  }
};

// R1: a pin between the zap of its entry and the look at its count.
TEST_F(Race, R1_PinBetweenZapAndCount) {
  for (const mapping::Sharing sharing : {mapping::Sharing::own, mapping::Sharing::shared}) {
    const bool shared = sharing == mapping::Sharing::shared;
    SCOPED_TRACE(shared ? "shared page" : "page of one file");
    const auto all = Mapping::Report::all;
    const auto insert = [&](std::uint64_t index) {
      const auto hold = Hold::enter(*file_, pages_at(index), Deadline());
      return file_->insert(PageIndex(index), page_of(index), kOrder4K, Deadline(), sharing).value();
    };
    std::optional<mapping::Mapping> other;
    if (shared) {
      other.emplace(*map_, owner_, pagemap::FileKey{7, 13});
      ASSERT_TRUE(other->insert(PageIndex(5), page_of(5), kOrder4K, Deadline(), sharing));
    }
    {  // counted before the zap: the zap sees the count, the pin sees the zap
      insert(5);
      MarkStop counted("mapping.pin.counted");
      PinnedRun run;
      Task pinner([&] { return pin(5, run); });
      ASSERT_TRUE(counted.wait_until_stopped());
      EXPECT_TRUE(file_->zap(pages_at(5), all)) << "the count was there";
      counted.go_on();
      EXPECT_EQ(pinner.get(), PinOutcome::absent) << "the entry was zapped";
      EXPECT_EQ(pins(5), 0U);
      EXPECT_FALSE(file_->zap(pages_at(5), all));
    }
    {  // the entry is zapped between the first look and the count; the zap has not looked at the count yet
      insert(5);
      MarkStop found("mapping.pin.found");
      PinnedRun run;
      Task pinner([&] { return pin(5, run); });
      ASSERT_TRUE(found.wait_until_stopped());
      MarkStop exchanged("mapping.zap.exchanged");
      Task zapper([&] { return file_->zap(pages_at(5), all).has_value(); });
      ASSERT_TRUE(exchanged.wait_until_stopped());
      found.go_on();
      EXPECT_EQ(pinner.get(), PinOutcome::absent);
      exchanged.go_on();
      EXPECT_FALSE(zapper.get()) << "the count was undone before the zap looked";
      EXPECT_EQ(pins(5), 0U);
    }
    {  // the zap is over when the pin counts
      insert(5);
      MarkStop found("mapping.pin.found");
      PinnedRun run;
      Task pinner([&] { return pin(5, run); });
      ASSERT_TRUE(found.wait_until_stopped());
      EXPECT_FALSE(file_->zap(pages_at(5), all));
      found.go_on();
      EXPECT_EQ(pinner.get(), PinOutcome::absent);
      EXPECT_EQ(pins(5), 0U);
    }
    {  // the pin is over when the zap begins
      insert(5);
      const PinnedRun run = pinned(5);
      EXPECT_TRUE(file_->zap(pages_at(5), all));
      EXPECT_EQ(pins(5), 1U);
      unpin(run);
    }
    file_->remove(kWhole);
    if (shared) {
      static_cast<void>(other->zap(kWhole));
      other->remove(kWhole);
    }
  }
}

// R3: a count that will be undone makes a break sleep; undoing it must wake the break.
TEST_F(Race, R3_UndoneCountWakes) {
  insert(5);
  insert_pages(100, 64);
  for (const bool many : {false, true}) {
    MarkStop counted(many ? "mapping.pin.batch_counted" : "mapping.pin.counted");
    std::vector<PinnedRun> runs;
    PinnedRun run;
    Task pinner([&] { return many ? file_->try_pin(pages_at(100, 64), runs).outcome : pin(5, run); });
    ASSERT_TRUE(counted.wait_until_stopped());
    EXPECT_TRUE(file_->zap(many ? pages_at(110) : pages_at(5)));
    MarkCount sleeps("layout.break.sleeps");
    Task breaker([&] { return break_error(many ? pages_at(100, 64) : pages_at(5)); });
    ASSERT_TRUE(sleeps.wait_until(1));
    counted.go_on();
    EXPECT_EQ(pinner.get(), PinOutcome::absent);
    EXPECT_EQ(breaker.get(), 0);
  }
}

// R6: part of a unit goes; a page that stays is touched and pinned; then it is to go as well. (The defect: a zapped
// entry that is never counted again.)
TEST_F(Race, R6_RetainedPageIsTouchedPinnedAndTruncated) {
  for (const Order order : {kOrder4K, kOrder2M}) {
    SCOPED_TRACE(order.raw());
    if (order == kOrder4K) {
      insert_pages(0, 8);
    } else {
      insert(0, order);
    }
    take_away({PageIndex(4), kEndOfFile});
    insert(2);
    const PinnedRun run = pinned(2);
    EXPECT_EQ(map_->refcount(page_of(2)), 2U);
    MarkCount sleeps("layout.break.sleeps");
    Task second([&] {
      take_away(kWhole);
      return true;
    });
    ASSERT_TRUE(sleeps.wait_until(1)) << "a pinned page was found idle";
    EXPECT_FALSE(second.done());
    unpin(run);
    EXPECT_TRUE(second.get());
    EXPECT_EQ(map_->references(), 0U);
  }
}

// R7: a break is interrupted; its range is touched and pinned; a second break waits for that pin.
TEST_F(Race, R7_InterruptedBreakThenTouchPinBreak) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  insert_pages(0, 4);
  const PinnedRun first = pinned(1);
  {
    MarkCount sleeps("layout.break.sleeps");
    Task breaker([&] { return break_error(kWhole); });
    ASSERT_TRUE(sleeps.wait_until(1));
    while (!breaker.done()) {
      pthread_kill(breaker.handle(), SIGUSR1);
      std::this_thread::yield();
    }
    ASSERT_EQ(breaker.get(), EINTR);
  }
  EXPECT_EQ(insert(1), InsertOutcome::already_there) << "the failed break took something";
  const PinnedRun second = pinned(1);
  unpin(first);
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return break_error(kWhole); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_FALSE(breaker.done());
  unpin(second);
  EXPECT_EQ(breaker.get(), 0);
  sigaction(SIGUSR1, &before, nullptr);
}

// R8: faults on the range all through the wait, with entries zapped under them again and again. The break ends with the
// pin. (The defect: a wait on the sum, which every fault raises.)
TEST_F(Race, R8_ReFaultStormDuringAWait) {
  insert_pages(0, 4);
  const PinnedRun run = pinned(1);
  EXPECT_TRUE(file_->zap(kWhole));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> faults{0};
  Task storm([&] {
    while (!stop.load()) {
      for (std::uint64_t i = 0; i < 4; ++i) {
        if (insert(i) == InsertOutcome::inserted) faults.fetch_add(1);
      }
    }
    return true;
  });
  while (faults.load() < 4) std::this_thread::yield();
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return break_error(kWhole); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_TRUE(lookup(1).tracks()) << "the fault brought the page back";
  unpin(run);
  EXPECT_EQ(breaker.get(), 0);
  EXPECT_GE(map_->refcount(page_of(1)), 1U) << "and the break did not wait for it to go";
  stop.store(true);
  EXPECT_TRUE(storm.get());
}

// R9: two breaks of overlapping ranges. Whoever is second neither marks nor clears anything while the first has it.
TEST_F(Race, R9_TwoBreaksOfOverlappingRanges) {
  insert_pages(0, 20);
  const PinnedRun run = pinned(7);
  MarkCount sleeps("layout.break.sleeps");
  Task first([&] {
    take_away(pages_at(0, 10));
    return true;
  });
  ASSERT_TRUE(sleeps.wait_until(1));
  Task second([&] {
    take_away(pages_at(5, 10));
    return true;
  });
  ASSERT_TRUE(sleeps.wait_until(2));
  {  // a third gives up in the queue
    Parker parker;
    Break third = Break::begin(*file_, pages_at(9, 3), {});
    EXPECT_EQ(third.advance(parker).value(), Break::Progress::waiting);
  }
  PinnedRun other;
  EXPECT_EQ(pin(7, other), PinOutcome::breaking);
  EXPECT_EQ(broken(), "");
  unpin(run);
  EXPECT_TRUE(first.get() && second.get());
  EXPECT_TRUE(lookup(0).none() && lookup(14).none() && lookup(15).tracks());
  unpin(pinned(15));
}

// R10: a scan meets a locked entry, which is then unlocked, erased, or replaced. What it waited for is looked at again,
// and nothing behind it is skipped.
TEST_F(Race, R10_LockedEntryMetByScan) {
  enum class Fate { unlocked, erased, replaced };
  for (const Fate fate : {Fate::unlocked, Fate::erased, Fate::replaced}) {
    SCOPED_TRACE(static_cast<int>(fate));
    insert_pages(0, 3);
    insert_pages(512 + 3, 2);
    if (fate == Fate::unlocked) insert(512);
    // Locked: a page, or an EMPTY entry that goes, or one that becomes a page by the one who waits for it.
    std::optional<EntryLock> locked(file_->lock_entry(PageIndex(512), kOrder4K, Deadline()).value());
    MarkCount waits("mapping.lock.waits");
    std::optional<Task<InsertOutcome>> faulter;
    if (fate == Fate::replaced) {
      faulter.emplace([&] { return insert(512); });
      ASSERT_TRUE(waits.wait_until(1));
    }
    const PinnedRun behind = pinned(512 + 3);
    EXPECT_EQ(file_->first_pinned(kWhole)->index, PageIndex(512 + 3)) << "the search stopped at a lock";
    MarkCount met("mapping.walk.met_lock");
    Task zapper([&] { return file_->zap(kWhole); });
    ASSERT_TRUE(waits.wait_until(faulter ? 2 : 1));
    EXPECT_TRUE(lookup(2).zapped());
    EXPECT_FALSE(lookup(512 + 3).zapped()) << "the scan went past the lock";
    locked.reset();
    if (faulter) {
      EXPECT_EQ(faulter->get(), InsertOutcome::inserted);
    }
    const auto busy = zapper.get();
    ASSERT_TRUE(busy) << "a busy page behind the lock was skipped";
    EXPECT_EQ(busy->index, PageIndex(512 + 3));
    EXPECT_EQ(lookup(512).zapped(), fate != Fate::erased);
    EXPECT_TRUE(lookup(512 + 4).zapped());
    EXPECT_EQ(map_->references(), 1U) << "only the pin is left";
    EXPECT_GE(met.passings(), 1U);
    unpin(behind);
    file_->remove(kWhole);
  }
}

// The same for removal: an entry that somebody still has locked is not erased under him.
TEST_F(Race, R10_LockedEntryMetByRemove) {
  insert(5);
  static_cast<void>(file_->zap(kWhole));
  std::optional<EntryLock> locked(file_->lock_entry(PageIndex(5), kOrder4K, Deadline()).value());
  MarkCount waits("mapping.lock.waits");
  Task remover([&] {
    file_->remove(kWhole);
    return true;
  });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_TRUE(lookup(5).zapped() && lookup(5).locked());
  locked.reset();
  EXPECT_TRUE(remover.get());
  EXPECT_TRUE(lookup(5).none());
}

// R13: one page is punched out of a pinned unit. The entry goes whole, the pin stays with the unit, pages that remain
// come back one by one, and each of them still knows the old pin.
TEST_F(Race, R13_PunchOnePageOfAUnit) {
  insert(512, kOrder2M);
  const PinnedRun unit = pinned(512 + 9);
  {
    auto one = Break::wait(*file_, pages_at(512 + 4), {OnPinned::detach, {}});
    ASSERT_TRUE(one);
    auto commit = one->commit();
    ASSERT_TRUE(commit);
    const auto busy = commit->busy(PageIndex(512 + 4), page_of(512 + 4), PageCount(1));
    ASSERT_EQ(busy.size(), 1U);
    commit->remove_entries();
  }
  EXPECT_EQ(insert(512, kOrder2M), InsertOutcome::conflict);
  EXPECT_EQ(insert(512 + 7), InsertOutcome::inserted);
  const PinnedRun page = pinned(512 + 7);
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return break_error(pages_at(512 + 7)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  unpin(page);
  ASSERT_TRUE(sleeps.wait_until(2)) << "the pin of the unit was forgotten";
  EXPECT_FALSE(breaker.done());
  unpin(unit);
  EXPECT_EQ(breaker.get(), 0);
  EXPECT_EQ(owner_.puts().size(), 1U);
}

// R19: the last unpin of a page against its next life in another file.
TEST_F(Race, R19_LastUnpinAgainstReassociation) {
  test::RecordingOwner next_owner;
  mapping::Mapping next(*map_, next_owner, {7, 13});
  insert(5);
  const PinnedRun run = pinned(5);
  take_away(kWhole, {OnPinned::detach, {}});
  MarkStop stepped_down("pagemap.last_put");
  Task releaser([&] {
    unpin(run);
    return true;
  });
  ASSERT_TRUE(stepped_down.wait_until_stopped());
  EXPECT_TRUE(map_->idle(page_of(5)));
  ASSERT_TRUE(next.insert(PageIndex(900), page_of(5), kOrder4K, Deadline()));
  PinnedRun again;
  {
    const epoch::Guard guard;
    ASSERT_EQ(next.try_pin_unit(PageIndex(900), again).outcome, PinOutcome::pinned);
  }
  stepped_down.go_on();
  EXPECT_TRUE(releaser.get());
  EXPECT_EQ(owner_.puts().size(), 1U) << "the owner of the last life is told";
  EXPECT_TRUE(next_owner.puts().empty());
  EXPECT_EQ(map_->refcount(page_of(5)), 2U);
  EXPECT_EQ(map_->owner(page_of(5), kOrder4K), next.owner_id());
  EXPECT_EQ(next.check().value_or(""), "");
  unpin(again);
  static_cast<void>(next.zap(kWhole));
  next.remove(kWhole);
}

// R22: the association fails after the fault has the entry's lock. The next waiter gets the lock, nothing is mapped,
// and no EMPTY entry stays behind.
TEST_F(Race, R22_AssociationFailsWithTheEntryLocked) {
  for (const bool closes_in_time : {true, false}) {
    auto map = pagemap::PageMap::create(kPages, nullptr).value();
    test::RecordingOwner owner;
    auto file = std::make_unique<mapping::Mapping>(*map, owner, pagemap::FileKey{7, 14});
    const auto fault = [&](std::uint64_t index) {
      const auto hold = Hold::enter(*file, pages_at(index), Deadline());
      auto result = file->insert(PageIndex(index), page_of(index), kOrder4K, Deadline());
      return result ? 0 : result.error().code();
    };
    std::optional<EntryLock> locked(file->lock_entry(PageIndex(5), kOrder4K, Deadline()).value());
    MarkCount waits("mapping.lock.waits");
    MarkStop tracks("mapping.insert.track");
    Task first([&] { return fault(5); });
    ASSERT_TRUE(waits.wait_until(1));
    Task second([&] { return fault(5); });
    ASSERT_TRUE(waits.wait_until(2));
    locked.reset();
    ASSERT_TRUE(tracks.wait_until_stopped());  // the first has the lock and no reference yet
    if (closes_in_time) map->close();
    tracks.go_on();
    EXPECT_EQ(first.get(), closes_in_time ? ENODEV : 0);
    EXPECT_EQ(second.get(), closes_in_time ? ENODEV : 0);
    EXPECT_EQ(file->lookup(PageIndex(5)).none(), closes_in_time);
    EXPECT_FALSE(file->lookup(PageIndex(5)).locked());
    EXPECT_EQ(file->check().value_or(""), "");
    EXPECT_EQ(map->references(), closes_in_time ? 0U : 1U);
    static_cast<void>(file->zap(kWhole));
    file->remove(kWhole);
  }
}

// R23: a large range whose entries change after half of it was counted. In the half that was verified the change waits
// for the pin; in the other half the whole batch is undone.
TEST_F(Race, R23_EntryChangesUnderABatch) {
  insert_pages(0, 512);
  for (const std::uint64_t changed : {std::uint64_t{10}, std::uint64_t{100}, std::uint64_t{127}, std::uint64_t{500}}) {
    SCOPED_TRACE(changed);
    std::vector<PinnedRun> runs;
    // Stopped with pages 64 to 127 counted and not verified.
    std::optional<MarkStop> first(std::in_place, "mapping.pin.batch_counted");
    Task pinner([&] { return file_->try_pin(pages_at(0, 512), runs).outcome; });
    ASSERT_TRUE(first->wait_until_stopped());
    MarkStop second("mapping.pin.batch_counted");
    first->go_on();
    ASSERT_TRUE(second.wait_until_stopped());
    const auto busy = file_->zap(pages_at(changed));
    EXPECT_EQ(busy.has_value(), changed < 128) << "a counted page was found idle";
    second.go_on();
    const bool verified = changed < 64;
    EXPECT_EQ(pinner.get(), verified ? PinOutcome::pinned : PinOutcome::absent);
    for (std::uint64_t i = 0; i < 512; ++i) ASSERT_EQ(pins(i), verified ? 1U : 0U) << i;
    for (const PinnedRun& run : runs) unpin(run);
    EXPECT_EQ(runs.empty(), !verified);
    insert(changed);
  }
}

// --- races of our own ---

// A mark is set while a page is inserted: before the walk of the marker or behind it.
TEST_F(Race, InsertMeetsANewMark) {
  insert_pages(0, 2);
  MarkStop marking("mapping.break.marking");  // active already, nothing walked yet
  Task breaker([&] {
    Parker parker;
    auto one = std::make_unique<Break>(Break::begin(*file_, kWhole, {}));
    EXPECT_EQ(one->advance(parker).value(), Break::Progress::ready);
    return one;
  });
  ASSERT_TRUE(marking.wait_until_stopped());
  insert(700);
  PinnedRun run;
  EXPECT_EQ(pin(700, run), PinOutcome::breaking) << "the insert marks";
  const PinnedRun early = pinned(0);  // not walked yet: counted before the mark
  unpin(early);
  marking.go_on();
  const auto one = breaker.get();
  EXPECT_EQ(pin(0, run), PinOutcome::breaking) << "the walk marks";
  EXPECT_EQ(broken(), "");
}

// A pin counted just before the mark is waited for; one that comes after is refused.
TEST_F(Race, PinMeetsANewMark) {
  insert(5);
  {
    MarkStop counted("mapping.pin.counted");
    PinnedRun run;
    Task pinner([&] { return pin(5, run); });
    ASSERT_TRUE(counted.wait_until_stopped());
    MarkCount sleeps("layout.break.sleeps");
    Task breaker([&] { return break_error(kWhole); });
    ASSERT_TRUE(sleeps.wait_until(1));
    counted.go_on();
    EXPECT_EQ(pinner.get(), PinOutcome::pinned) << "the mark does not take a counted pin away";
    EXPECT_FALSE(breaker.done());
    unpin(run);
    EXPECT_EQ(breaker.get(), 0);
  }
  MarkStop found("mapping.pin.found");
  PinnedRun run;
  Task pinner([&] { return pin(5, run); });
  ASSERT_TRUE(found.wait_until_stopped());
  auto one = Break::wait(*file_, kWhole, {});
  ASSERT_TRUE(one);
  found.go_on();
  EXPECT_EQ(pinner.get(), PinOutcome::breaking);
}

// A pin counted while small entries become one: seen, and the unit does not form; or refused.
TEST_F(Race, FormingAUnitMeetsAPin) {
  insert_pages(512, 512);
  {  // counted before its page loses its reference
    MarkStop begin("mapping.form.begin");
    Task former([&] { return file_->try_form_unit(PageIndex(512), page_of(512), kOrder2M); });
    ASSERT_TRUE(begin.wait_until_stopped());
    const PinnedRun run = pinned(900);
    begin.go_on();
    EXPECT_FALSE(former.get());
    for (std::uint64_t i = 512; i < 1024; ++i) ASSERT_TRUE(lookup(i).tracks()) << i;
    unpin(run);
  }
  {  // counted after its entry was zapped, before its reference went: it undoes itself, the unit may form or not
    MarkStop zapped("mapping.form.zapped");
    MarkStop found("mapping.pin.found");
    PinnedRun run;
    Task pinner([&] { return pin(512, run); });
    ASSERT_TRUE(found.wait_until_stopped());
    Task former([&] { return file_->try_form_unit(PageIndex(512), page_of(512), kOrder2M); });
    ASSERT_TRUE(zapped.wait_until_stopped());
    found.go_on();
    EXPECT_EQ(pinner.get(), PinOutcome::absent);
    zapped.go_on();
    EXPECT_TRUE(former.get());
  }
  EXPECT_EQ(map_->references(), 1U);
  unpin(pinned(900));
}

// The unpin comes while the break is about to sleep: before it announces itself, or after.
TEST_F(Race, UnpinMeetsABreakThatGoesToSleep) {
  insert(5);
  for (const char* const place : {"layout.break.found_pin", "layout.break.sleeps"}) {
    SCOPED_TRACE(place);
    const PinnedRun run = pinned(5);
    MarkStop stop(place);
    Task breaker([&] { return break_error(kWhole); });
    ASSERT_TRUE(stop.wait_until_stopped());
    unpin(run);
    stop.go_on();
    EXPECT_EQ(breaker.get(), 0);
  }
}

// The first of two breaks ends while the second is about to sleep in the queue: before it is queued on the key, or
// after.
TEST_F(Race, EndOfABreakMeetsTheNextInTheQueue) {
  insert(5);
  for (const char* const place : {"layout.break.queued", "layout.break.sleeps"}) {
    SCOPED_TRACE(place);
    std::optional<Break> first(std::move(Break::wait(*file_, kWhole, {})).value());
    MarkStop stop(place);
    Task second([&] { return break_error(kWhole); });
    ASSERT_TRUE(stop.wait_until_stopped());
    first.reset();
    stop.go_on();
    EXPECT_EQ(second.get(), 0);
  }
}

// Between the zap and the end of a commit nothing is pinned, inserted or copied; afterwards everything is as before.
TEST_F(Race, EverybodyMeetsACommit) {
  insert(5);
  std::optional<Break> one(std::move(Break::wait(*file_, kWhole, {})).value());
  MarkStop zapped("layout.commit.zapped");
  Task committer([&] { return one->commit().has_value(); });  // and gives up at once
  ASSERT_TRUE(zapped.wait_until_stopped());
  PinnedRun run;
  EXPECT_EQ(pin(5, run), PinOutcome::absent);
  EXPECT_FALSE(Hold::try_enter(*file_, pages_at(5)));
  MarkCount waits("mapping.hold.waits");
  Task faulter([&] { return insert(5); });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_FALSE(faulter.done());
  zapped.go_on();
  EXPECT_TRUE(committer.get());
  EXPECT_EQ(faulter.get(), InsertOutcome::inserted);
  EXPECT_EQ(pin(5, run), PinOutcome::breaking) << "the break goes on";
  one.reset();
  unpin(pinned(5));
}

// A copy enters while a commit closes its gate: turned away, or waited for.
TEST_F(Race, CopyMeetsACommit) {
  insert(5);
  auto one = Break::wait(*file_, kWhole, {});
  ASSERT_TRUE(one);
  {
    MarkStop closed("mapping.gate.closed");
    Task committer([&] { return one->commit().has_value(); });
    ASSERT_TRUE(closed.wait_until_stopped());
    EXPECT_FALSE(Hold::try_enter(*file_, pages_at(5)));
    closed.go_on();
    EXPECT_TRUE(committer.get());
  }
  insert(5);
  std::optional<Hold> hold = Hold::try_enter(*file_, pages_at(5));
  MarkStop waits("mapping.gate.waits");
  Task committer([&] { return one->commit().has_value(); });
  ASSERT_TRUE(waits.wait_until_stopped());
  EXPECT_TRUE(lookup(5).tracks());
  hold.reset();
  waits.go_on();
  EXPECT_TRUE(committer.get());
}

}  // namespace
}  // namespace holdfast
