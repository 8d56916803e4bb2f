// Goal: every policy, error and step of a break, each failure with nothing changed. Method: pins with identities on
// known pages, waiters met at marks instead of by the clock; both forms of stage 1.
#include "layout/break.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include "base/wait_queue.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::layout {
namespace {

using namespace std::chrono_literals;
using mapping::Hold;
using mapping::PinnedRun;
using test::IdentifiedPin;
using test::MarkCount;
using test::MarkStop;
using test::Task;
using ::testing::HasSubstr;
using ::testing::Not;

class BreakTest : public test::FileFixture {
 protected:
  static BreakOptions wait_for(Deadline deadline = {}) { return {OnPinned::wait, deadline}; }
  static BreakOptions fail() { return {OnPinned::fail, {}}; }
  static BreakOptions detach() { return {OnPinned::detach, {}}; }

  // A pin of another thread, held until this object ends.
  class Elsewhere {
   public:
    Elsewhere(mapping::Mapping& file, std::uint64_t index, const char* purpose)
        : task_([this, &file, index, purpose] {
            IdentifiedPin pin(file, PageIndex(index), purpose);
            taken_.store(pin.taken() ? 1 : 2);
            taken_.notify_all();
            release_.wait(false);
            return true;
          }) {
      taken_.wait(0);
      EXPECT_EQ(taken_.load(), 1);
    }
    ~Elsewhere() { release(); }
    void release() {
      if (release_.exchange(true)) return;
      release_.notify_all();
      task_.get();
    }

   private:
    std::atomic<int> taken_{0};
    std::atomic<bool> release_{false};
    Task<bool> task_;
  };

  int wait_error(PageRange range, const BreakOptions& options) {
    auto result = Break::wait(*file_, range, options);
    return result ? 0 : result.error().code();
  }
  void expect_unbroken(std::uint64_t index) {
    EXPECT_FALSE(file_->active_break(kWhole));
    EXPECT_TRUE(lookup(index).tracks());
    unpin(pinned(index));
    EXPECT_EQ(broken(), "");
  }
};

TEST_F(BreakTest, AnIdleRangeBreaksCommitsAndIsGone) {
  insert_pages(0, 10);
  auto one = Break::wait(*file_, pages_at(2, 3), wait_for());
  ASSERT_TRUE(one);
  {
    auto commit = one->commit();
    ASSERT_TRUE(commit);
    EXPECT_EQ(commit->range(), pages_at(2, 3));
    EXPECT_TRUE(file_->gate_closed(pages_at(4)));
    EXPECT_TRUE(lookup(3).zapped());
    EXPECT_TRUE(commit->busy(PageIndex(2), page_of(2), PageCount(3)).empty());
    commit->remove_entries();
  }
  EXPECT_FALSE(file_->gate_closed(kWhole));
  EXPECT_TRUE(lookup(2).none() && lookup(4).none());
  EXPECT_TRUE(lookup(1).tracks() && lookup(5).tracks());
}

TEST_F(BreakTest, AnEmptyFileAndAnEmptyRange) {
  EXPECT_TRUE(Break::wait(*file_, kWhole, wait_for())->commit());
  insert(5);
  EXPECT_TRUE(Break::wait(*file_, pages_at(5, 0), wait_for())->commit());
  EXPECT_TRUE(lookup(5).tracks());
}

TEST_F(BreakTest, ACommitThatIsGivenUpTakesNothing) {
  insert(5);
  {
    auto one = Break::wait(*file_, pages_at(5), wait_for());
    const auto commit = one->commit();
    ASSERT_TRUE(commit);
  }
  EXPECT_EQ(insert(5), InsertOutcome::inserted);
  expect_unbroken(5);
}

TEST_F(BreakTest, WaitsForThePinAndEndsWithIt) {
  insert_pages(0, 10);
  auto pin = std::make_unique<Elsewhere>(*file_, 4, "nic read");
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return wait_error(kWhole, wait_for()); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_FALSE(breaker.done());
  EXPECT_EQ(file_->active_break(kWhole), kWhole);
  pin->release();
  EXPECT_EQ(breaker.get(), 0);
  EXPECT_EQ(pins(4), 0U);
}

TEST_F(BreakTest, ManyPinsOnManyUnits) {
  insert_pages(0, 100);
  insert(512, kOrder2M);
  insert(1U << 18, kOrder1G);
  std::vector<PinnedRun> runs;
  for (const std::uint64_t index : {3U, 3U, 50U, 99U, 600U, 700U, 1U << 18}) runs.push_back(pinned(index));
  MarkCount found("layout.break.found_pin");
  Task breaker([&] { return wait_error(kWhole, wait_for()); });
  ASSERT_TRUE(found.wait_until(1));
  for (std::size_t i = 0; i < runs.size(); ++i) {
    EXPECT_FALSE(breaker.done()) << i;
    unpin(runs[runs.size() - 1 - i]);  // the first in the range goes last
  }
  EXPECT_EQ(breaker.get(), 0);
}

// A neighbour outside of the range neither delays nor is disturbed.
TEST_F(BreakTest, ANeighbourIsNotDisturbed) {
  insert_pages(0, 10);
  const PinnedRun left = pinned(4);
  const PinnedRun right = pinned(6);
  auto one = Break::wait(*file_, pages_at(5), wait_for());
  ASSERT_TRUE(one);
  unpin(pinned(4));
  auto commit = one->commit();
  ASSERT_TRUE(commit);
  commit->remove_entries();
  EXPECT_TRUE(lookup(4).tracks() && lookup(6).tracks());
  EXPECT_EQ(pins(4), 1U);
  unpin(left);
  unpin(right);
}

TEST_F(BreakTest, TheDeadlineNamesTheHoldersAndChangesNothing) {
  insert_pages(0, 10);
  Elsewhere pin(*file_, 4, "nic read");
  auto result = Break::wait(*file_, kWhole, wait_for(Deadline::after(2ms)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ETIMEDOUT);
  EXPECT_THAT(result.error().message(), HasSubstr("\"nic read\" by pid"));
  EXPECT_THAT(result.error().message(), HasSubstr("bytes [16384, 20480)"));
  expect_unbroken(4);
}

TEST_F(BreakTest, FailNamesAHandfulAtOnceAndChangesNothing) {
  insert_pages(0, 10);
  std::vector<std::unique_ptr<Elsewhere>> pins;
  for (unsigned i = 0; i < 6; ++i) pins.push_back(std::make_unique<Elsewhere>(*file_, i, "disk write"));
  auto result = Break::wait(*file_, kWhole, fail());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), EBUSY);
  EXPECT_THAT(result.error().message(), HasSubstr("\"disk write\" by pid"));
  EXPECT_THAT(result.error().message(), HasSubstr("and more"));
  EXPECT_LT(result.error().message().size(), 500U);
  expect_unbroken(4);
  pins.resize(1);
  auto small = Break::wait(*file_, kWhole, fail());
  EXPECT_THAT(small.error().message(), Not(HasSubstr("and more")));
  EXPECT_EQ(wait_error(pages_at(1, 5), fail()), 0) << "nobody holds these pages";
}

// A count without an identity is somebody on the way in or out: `fail` lets it finish and does not report it.
TEST_F(BreakTest, FailLetsTakersInProgressFinish) {
  insert(5);
  MarkStop counted("mapping.pin.counted");
  Task taker([&] {
    const epoch::Guard guard;
    pagemap::PinSlot* const slot = pagemap::take_slot({file_->file(), PageIndex(5).bytes(), kPageBytes, "taker"});
    PinnedRun run;
    EXPECT_EQ(pin(5, run), PinOutcome::pinned);
    // It changes its mind before it is confirmed.
    pagemap::release_slot(slot);
    unpin(run);
    return true;
  });
  ASSERT_TRUE(counted.wait_until_stopped());
  MarkStop lets("layout.break.lets_takers_finish");
  Task breaker([&] { return wait_error(kWhole, fail()); });
  ASSERT_TRUE(lets.wait_until_stopped()) << "the count was seen";
  lets.go_on();
  counted.go_on();
  EXPECT_TRUE(taker.get());
  EXPECT_EQ(breaker.get(), 0);
}

TEST_F(BreakTest, ItsOwnPinsAreADeadlock) {
  insert_pages(0, 10);
  IdentifiedPin mine(*file_, PageIndex(4), "own");
  auto result = Break::wait(*file_, kWhole, wait_for());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), EDEADLK);
  EXPECT_THAT(result.error().message(), HasSubstr("\"own\""));
  expect_unbroken(4);
  EXPECT_EQ(wait_error(pages_at(5, 5), wait_for()), 0) << "these pages it does not hold";
}

TEST_F(BreakTest, ItsOwnPinsThatAnotherReleasesAreNone) {
  insert(5);
  IdentifiedPin mine(*file_, PageIndex(5), "queue", true);
  EXPECT_EQ(wait_error(kWhole, wait_for(Deadline::after(1ms))), ETIMEDOUT);
}

// Another thread's pin on the same page as one's own: the wait goes on until that is gone, and then it is a deadlock.
TEST_F(BreakTest, ADeadlockIsFoundWhenTheOthersHaveGone) {
  insert(5);
  Elsewhere other(*file_, 5, "other");
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] {
    IdentifiedPin mine(*file_, PageIndex(5), "own");
    return wait_error(kWhole, wait_for());
  });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_FALSE(breaker.done());
  other.release();
  EXPECT_EQ(breaker.get(), EDEADLK);
}

// A break in the queue waits for the pins of the one before it. When these are its own thread's, that never ends.
TEST_F(BreakTest, ADeadlockThroughTheQueueIsFound) {
  insert_pages(0, 10);
  IdentifiedPin mine(*file_, PageIndex(2), "own");
  MarkCount sleeps("layout.break.sleeps");
  Task first([&] { return wait_error(pages_at(0, 6), wait_for()); });
  ASSERT_TRUE(sleeps.wait_until(1));
  auto result = Break::wait(*file_, pages_at(5, 5), wait_for());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), EDEADLK);
  mine.release();
  EXPECT_EQ(first.get(), 0);
}

TEST_F(BreakTest, ASignalEndsTheWaitAndChangesNothing) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  insert(5);
  const PinnedRun run = pinned(5);
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return wait_error(kWhole, wait_for()); });
  ASSERT_TRUE(sleeps.wait_until(1));
  while (!breaker.done()) {
    pthread_kill(breaker.handle(), SIGUSR1);
    std::this_thread::yield();
  }
  EXPECT_EQ(breaker.get(), EINTR);
  expect_unbroken(5);
  unpin(run);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(BreakTest, TheUnitsAtTheEndsAreWaitedFor) {
  insert(512, kOrder2M);
  const PinnedRun run = pinned(1000);  // a page of the unit that is not in the range
  EXPECT_EQ(wait_error(pages_at(512), wait_for(Deadline::after(1ms))), ETIMEDOUT);
  unpin(run);
  auto one = Break::wait(*file_, pages_at(513), wait_for());
  EXPECT_EQ(one->range(), pages_at(512, 512));
  auto commit = one->commit();
  commit->remove_entries();
  EXPECT_TRUE(lookup(512).none());
}

// --- detach ---

TEST_F(BreakTest, DetachWaitsForNobodyAndNamesWhatIsBusy) {
  insert_pages(0, 10);
  insert(512, kOrder2M);
  const PinnedRun page = pinned(4);
  const PinnedRun unit = pinned(600);
  auto one = Break::wait(*file_, kWhole, detach());
  ASSERT_TRUE(one);
  {
    auto commit = one->commit();
    ASSERT_TRUE(commit);
    const auto pages = commit->busy(PageIndex(0), page_of(0), PageCount(10));
    ASSERT_EQ(pages.size(), 1U);
    EXPECT_EQ(pages[0].index, PageIndex(4));
    EXPECT_EQ(pages[0].pfn, page_of(4));
    EXPECT_EQ(pages[0].count, PageCount(1));
    const auto units = commit->busy(PageIndex(500), page_of(500), PageCount(600));
    ASSERT_EQ(units.size(), 1U);
    EXPECT_EQ(units[0].index, PageIndex(512));
    EXPECT_EQ(units[0].count, PageCount(512));
    EXPECT_TRUE(commit->overrun_holds().empty());
    commit->remove_entries();
  }
  EXPECT_EQ(file_->entry_pages(), PageCount(0));
  unpin(page);
  unpin(unit);
  EXPECT_EQ(owner_.puts().size(), 2U);
}

TEST_F(BreakTest, DetachTreatsALastingHoldLikeAPin) {
  insert_pages(0, 10);
  std::atomic<bool> entered{false};
  std::atomic<bool> overrun{false};
  std::atomic<bool> leave{false};
  Task copier([&] {
    const auto hold = Hold::try_enter(*file_, pages_at(3, 2));
    entered.store(true);
    entered.notify_all();
    leave.wait(false);
    overrun.store(hold->overrun());
    return file_->insert(PageIndex(3), page_of(3), kOrder4K, Deadline()).error().code();
  });
  entered.wait(false);
  const PinnedRun run = pinned(8);
  mapping::LastingHolds holds;
  {
    auto one = Break::wait(*file_, pages_at(0, 10), detach());
    auto commit = one->commit();
    ASSERT_TRUE(commit);
    const auto busy = commit->busy(PageIndex(0), page_of(0), PageCount(10));
    ASSERT_EQ(busy.size(), 2U);
    EXPECT_EQ(busy[0].index, PageIndex(3));
    EXPECT_EQ(busy[0].count, PageCount(2));
    EXPECT_EQ(busy[1].index, PageIndex(8));
    holds = commit->overrun_holds();
    EXPECT_FALSE(holds.empty() || holds.ended());
    commit->remove_entries();
  }
  Task quarantine([&] { return wait_until(mapping::hold_ended_key(), Deadline(), [&] { return holds.ended(); }); });
  leave.store(true);
  leave.notify_all();
  EXPECT_EQ(copier.get(), EAGAIN) << "an overrun hold inserted a page that had left the file";
  EXPECT_TRUE(overrun.load());
  EXPECT_EQ(quarantine.get(), ParkOutcome::unparked);
  EXPECT_TRUE(lookup(3).none());
  unpin(run);
}

// --- holds against the other policies ---

TEST_F(BreakTest, ALastingHoldSendsTheCommitBackToWaiting) {
  insert(5);
  std::optional<Hold> hold = Hold::try_enter(*file_, pages_at(5));
  auto one = Break::wait(*file_, kWhole, wait_for());
  ASSERT_TRUE(one);
  EXPECT_FALSE(one->commit());
  EXPECT_FALSE(file_->gate_closed(kWhole)) << "the gate is open again";
  EXPECT_TRUE(lookup(5).tracks()) << "nothing was zapped";
  MarkCount sleeps("layout.break.sleeps");
  Task again([&] { return one->again_wait().has_value(); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_FALSE(again.done());
  hold.reset();
  EXPECT_TRUE(again.get());
  EXPECT_TRUE(one->commit());
}

TEST_F(BreakTest, TheDeadlineCoversLastingHoldsToo) {
  insert(5);
  const auto hold = Hold::try_enter(*file_, pages_at(5));
  auto one = Break::wait(*file_, kWhole, wait_for(Deadline::after(20ms)));
  ASSERT_TRUE(one);
  EXPECT_FALSE(one->commit());
  const Status status = one->again_wait();
  EXPECT_EQ(status.error().code(), ETIMEDOUT);
  EXPECT_THAT(status.error().message(), HasSubstr("copy"));
}

TEST_F(BreakTest, TheDeadlineOfFailIsThatOfLastingHolds) {
  insert(5);
  const auto hold = Hold::try_enter(*file_, pages_at(5));
  auto one = Break::wait(*file_, kWhole, {OnPinned::fail, Deadline::after(20ms)});
  ASSERT_TRUE(one);
  EXPECT_FALSE(one->commit());
  const Status status = one->again_wait();
  EXPECT_EQ(status.error().code(), ETIMEDOUT);
  EXPECT_THAT(status.error().message(), HasSubstr("copy"));
}

// --- queues ---

TEST_F(BreakTest, OverlappingBreaksQueueAndDisjointOnesDoNot) {
  insert_pages(0, 20);
  auto pin = std::make_unique<Elsewhere>(*file_, 4, "pin");
  MarkCount sleeps("layout.break.sleeps");
  Task first([&] { return wait_error(pages_at(0, 10), wait_for()); });
  ASSERT_TRUE(sleeps.wait_until(1));
  Task second([&] { return wait_error(pages_at(5, 10), wait_for()); });
  ASSERT_TRUE(sleeps.wait_until(2));
  EXPECT_EQ(wait_error(pages_at(16, 4), wait_for()), 0);
  EXPECT_EQ(wait_error(pages_at(8), {OnPinned::detach, Deadline::after(1ms)}), ETIMEDOUT);
  EXPECT_FALSE(second.done());
  unpin(pinned(12));  // the second has marked nothing yet
  pin->release();
  EXPECT_EQ(first.get(), 0);
  EXPECT_EQ(second.get(), 0);
}

// --- steps ---

TEST_F(BreakTest, InStepsTheParkerTellsWhenToLookAgain) {
  insert_pages(0, 10);
  const PinnedRun low = pinned(2);
  const PinnedRun high = pinned(7);
  Parker parker;
  Break one = Break::begin(*file_, kWhole, wait_for());
  EXPECT_EQ(one.advance(parker).value(), Break::Progress::waiting);
  EXPECT_EQ(parker.park(Deadline::at(Nanoseconds(0))), ParkOutcome::timed_out);
  unpin(low);
  EXPECT_EQ(parker.park(Deadline()), ParkOutcome::unparked);
  EXPECT_EQ(one.advance(parker).value(), Break::Progress::waiting);
  unpin(high);
  EXPECT_EQ(parker.park(Deadline()), ParkOutcome::unparked);
  EXPECT_EQ(one.advance(parker).value(), Break::Progress::ready);
  EXPECT_TRUE(one.commit());
}

TEST_F(BreakTest, InStepsOwnPinsAreNoDeadlockButTheDeadlineHolds) {
  insert(5);
  IdentifiedPin mine(*file_, PageIndex(5), "loop");
  Parker parker;
  Break one = Break::begin(*file_, kWhole, wait_for());
  EXPECT_EQ(one.advance(parker).value(), Break::Progress::waiting);
  mine.release();
  EXPECT_EQ(one.advance(parker).value(), Break::Progress::ready);
  one = Break::begin(*file_, pages_at(100), wait_for());  // the first ends here
  EXPECT_EQ(one.advance(parker).value(), Break::Progress::ready);
  IdentifiedPin again(*file_, PageIndex(5), "loop");
  Break late = Break::begin(*file_, pages_at(5), wait_for(Deadline::at(Nanoseconds(1))));
  EXPECT_EQ(late.advance(parker).error().code(), ETIMEDOUT);
}

TEST_F(BreakTest, ABreakThatIsDroppedWhileWaitingLeavesNothing) {
  insert(5);
  const PinnedRun run = pinned(5);
  {
    Parker parker;
    Break one = Break::begin(*file_, kWhole, wait_for());
    EXPECT_EQ(one.advance(parker).value(), Break::Progress::waiting);
    Break queued = Break::begin(*file_, kWhole, wait_for());
    EXPECT_EQ(queued.advance(parker).value(), Break::Progress::waiting);
  }
  expect_unbroken(5);
  unpin(run);
}

// Stage 1 passed over a page that others had, too; by the commit it is this file's alone, and pinned.
TEST_F(BreakTest, APageThatBecameOwnSendsTheCommitBack) {
  {
    const auto hold = mapping::Hold::enter(*file_, pages_at(5), Deadline());
    ASSERT_TRUE(file_->insert(PageIndex(5), page_of(5), kOrder4K, Deadline(), mapping::Sharing::shared));
  }
  auto mine = Break::wait(*file_, kWhole, wait_for());
  ASSERT_TRUE(mine);
  const PinnedRun run = pinned(5);
  file_->make_own(kWhole);
  EXPECT_FALSE(mine->commit()) << "a pinned page left the file";
  MarkCount sleeps("layout.break.sleeps");
  Task again([&] { return mine->again_wait().has_value(); });
  ASSERT_TRUE(sleeps.wait_until(1));
  unpin(run);
  EXPECT_TRUE(again.get());
  EXPECT_TRUE(mine->commit());
}

}  // namespace
}  // namespace holdfast::layout
