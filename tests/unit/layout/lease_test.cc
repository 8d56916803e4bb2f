// Goal: the holder of a layout lease is told once, has time, is reported when it does not let go, and is never passed
// over by a break that frees. Method: leases beside breaks of each policy and reason; races decided at marks.
#include "layout/lease.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <thread>

#include "layout/break.h"
#include "layout/final.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::layout {
namespace {

using namespace std::chrono_literals;
using test::MarkCount;
using test::MarkStop;
using test::Task;

class LeaseTest : public test::FileFixture {
 protected:
  Result<Lease> lease(PageRange range, std::function<void(RecallReason)> recall = {}, Nanoseconds grace = 1h) {
    Result<Lease> lease = Lease::grant(*file_, range, {"peer", grace, std::move(recall)});
    if (lease) lease->arm();
    return lease;
  }
  int break_error(PageRange range, const BreakOptions& options = {}) {
    const Result<Break> broken = Break::wait(*file_, range, options);
    return broken ? 0 : broken.error().code();
  }
};

TEST_F(LeaseTest, ABreakTellsTheHolderAndWaitsForTheReturn) {
  std::atomic<unsigned> told{0};
  std::atomic<RecallReason> reason{RecallReason::write};
  Result<Lease> held = lease(pages_at(0, 4), [&](RecallReason why) {
    ++told;
    reason = why;
  });
  ASSERT_TRUE(held);
  EXPECT_EQ(held->state(), LeaseState::granted);
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return break_error(pages_at(2, 8)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  EXPECT_EQ(told, 1U);
  EXPECT_EQ(reason, RecallReason::unmap);
  EXPECT_EQ(held->state(), LeaseState::recalled);
  EXPECT_FALSE(breaker.done());
  held->give_back();
  EXPECT_EQ(breaker.get(), 0);
  EXPECT_EQ(held->state(), LeaseState::ended);
  EXPECT_EQ(told, 1U);
}

TEST_F(LeaseTest, AHolderMayLetGoWhileItIsTold) {
  std::optional<Lease> held;
  Result<Lease> granted = lease(pages_at(0, 4), [&](RecallReason) { held->give_back(); });
  ASSERT_TRUE(granted);
  held.emplace(std::move(*granted));
  EXPECT_EQ(break_error(pages_at(0)), 0);
}

TEST_F(LeaseTest, WhoDoesNotLetGoIsReportedAndNeverPassedOver) {
  const Result<Lease> held = lease(pages_at(0, 4), {}, 0ns);
  ASSERT_TRUE(held);
  const Result<Break> late = Break::wait(*file_, pages_at(0), {OnPinned::wait, Deadline::after(5ms)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), ETIMEDOUT);
  EXPECT_NE(late.error().reason().find("\"peer\""), std::string::npos) << late.error().reason();
  EXPECT_NE(late.error().reason().find("overdue"), std::string::npos) << late.error().reason();
  const auto reports = leases_of(file_->file(), pages_at(3));
  ASSERT_EQ(reports.size(), 1U);
  EXPECT_EQ(reports[0].state, LeaseState::overdue);
  EXPECT_GT(reports[0].since_recall, 0ns);
  EXPECT_TRUE(leases_of(file_->file(), pages_at(4)).empty());
  EXPECT_TRUE(leases_of_filesystem(8).empty());
}

TEST_F(LeaseTest, ABreakThatDoesNotWaitTellsTheHolderAllTheSame) {
  const Result<Lease> held = lease(pages_at(0, 4));
  ASSERT_TRUE(held);
  const Result<Break> refused = Break::wait(*file_, pages_at(0), {OnPinned::fail, {}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), EBUSY);
  EXPECT_NE(refused.error().reason().find("peer"), std::string::npos);
  EXPECT_EQ(held->state(), LeaseState::recalled);
  EXPECT_EQ(break_error(pages_at(0), {OnPinned::detach, {}}), 0) << "detach waits for nobody";
}

TEST_F(LeaseTest, ABreakOfOtherPagesDoesNotMind) {
  const Result<Lease> held = lease(pages_at(0, 4));
  EXPECT_EQ(break_error(pages_at(4, 4)), 0);
  EXPECT_EQ(held->state(), LeaseState::granted);
}

TEST_F(LeaseTest, AWriteWaitsForTheGraceAndNoLonger) {
  const Result<Lease> overdue = lease(pages_at(0, 4), {}, 2ms);
  ASSERT_TRUE(overdue);
  EXPECT_TRUE(recall_for_write(*file_, pages_at(1)));
  EXPECT_EQ(overdue->state(), LeaseState::overdue);
  EXPECT_TRUE(recall_for_write(*file_, pages_at(1))) << "the second time at once";

  Result<Lease> quick = lease(pages_at(8, 4));
  MarkCount waits("layout.lease.write_waits");
  Task writer([&] { return recall_for_write(*file_, pages_at(8)).has_value(); });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_FALSE(writer.done());
  quick->give_back();
  EXPECT_TRUE(writer.get());
}

// The final break: told, and nothing waited for; entries go though pages are pinned and leased.
TEST_F(LeaseTest, TheFinalBreakTellsAndWaitsForNobody) {
  insert(0);
  const mapping::PinnedRun run = pinned(0);
  std::atomic<unsigned> told{0};
  const Result<Lease> held = lease(pages_at(0), [&](RecallReason reason) {
    if (reason == RecallReason::final) ++told;
  });
  ASSERT_TRUE(held);
  break_final(*file_).tell();
  EXPECT_EQ(told, 1U);
  EXPECT_EQ(held->state(), LeaseState::ended);
  EXPECT_EQ(file_->entry_pages(), PageCount(0));
  EXPECT_EQ(pins(0), 1U);
  EXPECT_TRUE(leases_of(file_->file(), kWhole).empty());
  unpin(run);
  EXPECT_EQ(owner_.puts().size(), 1U);
}

// Granted while a break begins: it is refused, or the break finds it.
TEST_F(LeaseTest, MeetsANewBreak) {
  {  // listed, and has not asked yet; the break becomes active
    MarkStop listed("layout.lease.listed");
    Task holder([&] { return lease(pages_at(0)).has_value(); });
    ASSERT_TRUE(listed.wait_until_stopped());
    MarkCount sleeps("layout.break.sleeps");
    Task breaker([&] { return break_error(pages_at(0)); });
    ASSERT_TRUE(sleeps.wait_until(1)) << "the break did not find the lease";
    listed.go_on();
    EXPECT_FALSE(holder.get());
    EXPECT_EQ(breaker.get(), 0);
  }
  const Result<Break> active = Break::wait(*file_, pages_at(0), {});
  const Result<Lease> refused = lease(pages_at(0));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), EAGAIN);
  EXPECT_TRUE(lease(pages_at(1)));
}

// The return comes while the break is about to sleep: before it is queued on the key, or after.
TEST_F(LeaseTest, TheReturnMeetsABreakThatGoesToSleep) {
  for (const char* const place : {"layout.break.found_lease", "layout.break.sleeps"}) {
    SCOPED_TRACE(place);
    Result<Lease> held = lease(pages_at(0));
    ASSERT_TRUE(held);
    MarkStop stop(place);
    Task breaker([&] { return break_error(pages_at(0)); });
    ASSERT_TRUE(stop.wait_until_stopped());
    held->give_back();
    stop.go_on();
    EXPECT_EQ(breaker.get(), 0);
  }
}

TEST_F(LeaseTest, ALeaseIsBothWaitedForWithPins) {
  insert(0);
  const mapping::PinnedRun run = pinned(0);
  Result<Lease> held = lease(pages_at(0));
  MarkCount sleeps("layout.break.sleeps");
  Task breaker([&] { return break_error(pages_at(0)); });
  ASSERT_TRUE(sleeps.wait_until(1));
  held->give_back();
  ASSERT_TRUE(sleeps.wait_until(2));
  EXPECT_FALSE(breaker.done());
  unpin(run);
  EXPECT_EQ(breaker.get(), 0);
}

// Who has given a lease back is told nothing any more: a telling that is under way is waited for.
TEST_F(LeaseTest, AReturnWaitsForTheTelling) {
  Result<Lease> held = lease(pages_at(0), [](RecallReason) { HF_MARK("test.told"); });
  ASSERT_TRUE(held);
  MarkStop told("test.told");
  Task teller([&] {
    recall(*file_, pages_at(0), RecallReason::write);
    return true;
  });
  ASSERT_TRUE(told.wait_until_stopped());
  Task giver([&] {
    held->give_back();
    return true;
  });
  while (!none_leased(*file_, pages_at(0))) std::this_thread::yield();
  EXPECT_FALSE(giver.done());
  told.go_on();
  EXPECT_TRUE(teller.get() && giver.get());
}

// Recalled before it is armed: told then, once. Refused: never.
TEST_F(LeaseTest, IsToldWhenItIsArmed) {
  unsigned told = 0;
  Result<Lease> early = Lease::grant(*file_, pages_at(0), {"peer", 0ns, [&](RecallReason) { ++told; }});
  ASSERT_TRUE(early);
  EXPECT_TRUE(recall_for_write(*file_, pages_at(0)));
  EXPECT_EQ(told, 0U);
  early->arm();
  EXPECT_EQ(told, 1U);
  const Result<Break> active = Break::wait(*file_, pages_at(5), {});
  EXPECT_FALSE(Lease::grant(*file_, pages_at(5), {"peer", 0ns, [&](RecallReason) { ++told; }}));
  EXPECT_EQ(told, 1U);
}

TEST_F(LeaseTest, ManyAtOnce) {
  std::atomic<bool> stop{false};
  Task holders([&] {
    for (unsigned granted = 0; granted < 2000;) {
      const Result<Lease> held = lease(pages_at(granted % 7, 2));
      if (held) ++granted;
    }
    stop.store(true);
    return true;
  });
  for (unsigned round = 0; !stop.load(); ++round) ASSERT_EQ(break_error(pages_at(round % 5, 3)), 0);
  EXPECT_TRUE(holders.get());
}

}  // namespace
}  // namespace holdfast::layout
