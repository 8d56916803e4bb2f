// Goal: an entry lock has one holder, goes to those who wait in their order, and survives waiters that give up or whose
// entry is erased. Method: waiters stopped and counted at marks, so that who comes first is known.
#include "mapping/entry_lock.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::mapping {
namespace {

using namespace std::chrono_literals;
using test::MarkCount;
using test::MarkStop;
using test::Task;

class EntryLockTest : public test::FileFixture {
 protected:
  std::unique_ptr<EntryLock> lock(std::uint64_t index, Order order = kOrder4K, Deadline deadline = {}) {
    auto result = file_->lock_entry(PageIndex(index), order, deadline);
    return result ? std::make_unique<EntryLock>(std::move(*result)) : nullptr;
  }
};

TEST_F(EntryLockTest, CreatesAnEmptyEntryAndTakesItAwayAgain) {
  {
    const auto held = lock(5);
    EXPECT_TRUE(held->entry().is_empty());
    EXPECT_TRUE(lookup(5).is_empty() && lookup(5).locked());
    EXPECT_EQ(file_->entry_pages(), PageCount(1));
    EXPECT_EQ(file_->tracked_pages(), PageCount(0));
    PinnedRun run;
    EXPECT_EQ(pin(5, run), PinOutcome::absent);
    EXPECT_EQ(broken(), "");
  }
  EXPECT_TRUE(lookup(5).none());
}

TEST_F(EntryLockTest, LocksWhatIsThereAndPinsGoOn) {
  insert(1024, kOrder2M);
  {
    const auto held = lock(1024 + 7);
    EXPECT_EQ(held->index(), PageIndex(1024));
    EXPECT_EQ(held->entry(), Entry::real(page_of(1024), kOrder2M));
    EXPECT_TRUE(lookup(1024).locked());
    unpin(pinned(1024 + 9));
  }
  EXPECT_FALSE(lookup(1024).locked());
}

TEST_F(EntryLockTest, AZeroEntryStays) {
  lock(5)->set_zero();
  EXPECT_TRUE(lookup(5).is_zero());
  EXPECT_FALSE(lookup(5).locked());
  EXPECT_EQ(insert(5), InsertOutcome::inserted);
  EXPECT_EQ(lookup(5), Entry::real(page_of(5), kOrder4K));
}

TEST_F(EntryLockTest, SmallerEntriesAreInTheWay) {
  insert(5);
  EXPECT_EQ(file_->lock_entry(PageIndex(0), kOrder2M, Deadline()).error().code(), EEXIST);
}

TEST_F(EntryLockTest, NoMemoryLeavesNothing) {
  fault_point::arm("mapping.node", 1);
  EXPECT_EQ(file_->lock_entry(PageIndex(0), kOrder2M, Deadline()).error().code(), ENOMEM);
  EXPECT_TRUE(lookup(0).none());
  EXPECT_EQ(broken(), "");
}

TEST_F(EntryLockTest, FirstComeFirstServed) {
  insert(5);
  auto held = lock(5);
  MarkCount waits("mapping.lock.waits");
  std::atomic<unsigned> served{0};
  std::vector<std::unique_ptr<Task<unsigned>>> tasks;
  for (unsigned i = 0; i < 4; ++i) {
    tasks.push_back(std::make_unique<Task<unsigned>>([&] {
      const auto mine = lock(5);
      return served.fetch_add(1);
    }));
    ASSERT_TRUE(waits.wait_until(i + 1));  // the next one comes after this one queued
  }
  held.reset();
  for (unsigned i = 0; i < 4; ++i) EXPECT_EQ(tasks.at(i)->get(), i);
  EXPECT_FALSE(lookup(5).locked());
}

TEST_F(EntryLockTest, ANewcomerDoesNotOvertake) {
  insert(5);
  auto held = lock(5);
  MarkStop woken("mapping.lock.woken");
  MarkCount waits("mapping.lock.waits");
  Task waiter([&] { return lock(5) != nullptr; });
  ASSERT_TRUE(waits.wait_until(1));
  held.reset();
  ASSERT_TRUE(woken.wait_until_stopped());
  // Handed over, though the waiter has not run yet.
  EXPECT_TRUE(lookup(5).locked());
  EXPECT_EQ(lock(5, kOrder4K, Deadline::at(Nanoseconds(0))), nullptr);
  woken.go_on();
  EXPECT_TRUE(waiter.get());
}

TEST_F(EntryLockTest, GivingUpLeavesTheQueue) {
  insert(5);
  auto held = lock(5);
  const auto late = file_->lock_entry(PageIndex(5), kOrder4K, Deadline::after(1ms));
  EXPECT_EQ(late.error().code(), ETIMEDOUT);
  held.reset();
  EXPECT_FALSE(lookup(5).locked()) << "the lock went to somebody who had left";
  EXPECT_NE(lock(5), nullptr);
}

TEST_F(EntryLockTest, GivingUpInTheMiddleDoesNotBreakTheChain) {
  insert(5);
  auto held = lock(5);
  MarkCount waits("mapping.lock.waits");
  Task first([&] { return lock(5) != nullptr; });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_EQ(lock(5, kOrder4K, Deadline::after(1ms)), nullptr);
  Task third([&] { return lock(5) != nullptr; });
  ASSERT_TRUE(waits.wait_until(3));
  held.reset();
  EXPECT_TRUE(first.get() && third.get());
  EXPECT_FALSE(lookup(5).locked());
}

TEST_F(EntryLockTest, GrantThatMeetsADeadlineIsKept) {
  insert(5);
  auto held = lock(5);
  MarkStop woken("mapping.lock.woken");
  Task waiter([&] { return lock(5, kOrder4K, Deadline::after(1ms)) != nullptr; });
  ASSERT_TRUE(woken.wait_until_stopped());  // its time is over
  held.reset();                             // and now it is granted
  woken.go_on();
  EXPECT_TRUE(waiter.get());
  EXPECT_FALSE(lookup(5).locked()) << "the lock was lost between the two";
}

TEST_F(EntryLockTest, ASignalEndsTheWait) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  insert(5);
  auto held = lock(5);
  MarkCount waits("mapping.lock.waits");
  Task waiter([&] { return file_->lock_entry(PageIndex(5), kOrder4K, Deadline()).error().code(); });
  ASSERT_TRUE(waits.wait_until(1));
  while (!waiter.done()) {
    pthread_kill(waiter.handle(), SIGUSR1);
    std::this_thread::yield();
  }
  EXPECT_EQ(waiter.get(), EINTR);
  held.reset();
  EXPECT_FALSE(lookup(5).locked());
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(EntryLockTest, WaitersOfAnErasedEntryStartOver) {
  auto held = lock(512, kOrder2M);  // EMPTY
  MarkCount waits("mapping.lock.waits");
  Task small([&] { return insert(512 + 3); });
  ASSERT_TRUE(waits.wait_until(1));
  Task other([&] { return insert(512 + 4); });
  ASSERT_TRUE(waits.wait_until(2));
  // The first is handed the large EMPTY entry and erases it for its page; the second finds nothing and inserts.
  held.reset();
  EXPECT_EQ(small.get(), InsertOutcome::inserted);
  EXPECT_EQ(other.get(), InsertOutcome::inserted);
  EXPECT_EQ(lookup(512 + 3), Entry::real(page_of(512 + 3), kOrder4K));
  EXPECT_EQ(lookup(512 + 4), Entry::real(page_of(512 + 4), kOrder4K));
  EXPECT_TRUE(lookup(512).none());
  EXPECT_EQ(broken(), "");
}

TEST_F(EntryLockTest, ManyThreadsOneAtATime) {
  insert(5);
  std::atomic<int> inside{0};
  std::atomic<bool> twice{false};
  const auto work = [&] {
    for (unsigned i = 0; i < 2000; ++i) {
      const auto mine = lock(5, kOrder4K, i % 7 == 0 ? Deadline::after(20us) : Deadline());
      if (mine == nullptr) continue;
      if (inside.fetch_add(1) != 0) twice.store(true);
      if (i % 16 == 0) std::this_thread::yield();  // let others queue
      inside.fetch_sub(1);
    }
    return true;
  };
  Task one(work);
  Task two(work);
  Task three(work);
  EXPECT_TRUE(one.get() && two.get() && three.get());
  EXPECT_FALSE(twice.load());
  EXPECT_FALSE(lookup(5).locked());
}

}  // namespace
}  // namespace holdfast::mapping
