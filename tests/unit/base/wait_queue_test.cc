// Goal: no wake is lost, none reaches a stranger's Parker after its waiter has gone, and a child may wait. Method: a
// condition that two threads make true for each other at speed, one Parker behind several keys, keys that share a
// bucket, and a fork while another thread waits.
#include "base/wait_queue.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/child.h"
#include "support/mark_stop.h"

namespace holdfast {
namespace {

constexpr auto kLong = std::chrono::seconds(20);

TEST(WaitQueue, NoWakeIsLost) {
  const Deadline end = Deadline::after(std::chrono::milliseconds(500));
  std::atomic<unsigned> turn{0};
  std::atomic<bool> stop{false};
  const auto play = [&](unsigned parity) {
    for (unsigned round = 0; !stop.load(); ++round) {
      const auto is_my_turn = [&] { return turn.load(std::memory_order_relaxed) % 2 == parity; };
      ASSERT_EQ(wait_until(&turn, Deadline::after(kLong), is_my_turn), ParkOutcome::unparked) << round;
      if (parity == 1) stop.store(round == 15'000 || end.passed());
      turn.fetch_add(1, std::memory_order_relaxed);
      wake(&turn);
    }
  };
  std::thread other(play, 1U);
  play(0);
  other.join();
  EXPECT_GE(turn.load(), 2U);
}

TEST(WaitQueue, WakesAllWaitersOfTheKeyAndNoOther) {
  const std::array<int, 2> keys{};
  Parker first;
  Parker second;
  Parker stranger;
  const Waiter a(&keys[0], first);
  const Waiter b(&keys[0], second);
  const Waiter c(&keys[1], stranger);
  wake(&keys[0]);
  EXPECT_EQ(first.park(Deadline::at(Nanoseconds(0))), ParkOutcome::unparked);
  EXPECT_EQ(second.park(Deadline::at(Nanoseconds(0))), ParkOutcome::unparked);
  EXPECT_EQ(stranger.park(Deadline::at(Nanoseconds(0))), ParkOutcome::timed_out);
}

TEST(WaitQueue, OneParkerHearsOfManyKeys) {
  // More keys than buckets: some share one.
  std::array<char, 1000> keys{};
  Parker parker;
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (const char& key : keys) waiters.push_back(std::make_unique<Waiter>(&key, parker));
  for (const char& key : keys) {
    wake(&key);
    ASSERT_EQ(parker.park(Deadline::at(Nanoseconds(0))), ParkOutcome::unparked);
  }
  // Removal from the middle, the front and the back of a bucket leaves the others reachable.
  for (std::size_t i = 0; i < waiters.size(); i += 2) waiters[i].reset();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    wake(&keys[i]);
    ASSERT_EQ(parker.park(Deadline::at(Nanoseconds(0))) == ParkOutcome::unparked, i % 2 == 1) << i;
  }
}

TEST(WaitQueue, WaitUntilReportsTheDeadlineUnlessTheConditionHolds) {
  int key = 0;
  EXPECT_EQ(wait_until(&key, Deadline::after(std::chrono::milliseconds(1)), [] { return false; }),
            ParkOutcome::timed_out);
  EXPECT_EQ(wait_until(&key, Deadline::at(Nanoseconds(0)), [] { return true; }), ParkOutcome::unparked);
}

TEST(WaitQueue, WaitersComeAndGoWhileOthersAreWoken) {
  constexpr unsigned kRounds = 20'000;
  int key = 0;
  std::atomic<bool> stop{false};
  std::thread waker([&] {
    while (!stop.load(std::memory_order_relaxed)) wake(&key);
  });
  for (unsigned round = 0; round < kRounds; ++round) {
    // On the heap, so that AddressSanitizer sees a wake that comes after the waiter has gone.
    const auto parker = std::make_unique<Parker>();
    const Waiter waiter(&key, *parker);
  }
  stop.store(true);
  waker.join();
}

TEST(WaitQueue, AChildForgetsTheParentsWaiters) {
  int key = 0;
  Parker parker;
  std::atomic<bool> go_on{false};
  std::atomic<bool> queued{false};
  std::thread other([&] {
    static_cast<void>(wait_until(&key, Deadline::after(kLong), [&] {
      queued.store(true);
      return go_on.load();
    }));
  });
  while (!queued.load()) std::this_thread::yield();
  auto inherited = std::make_unique<Waiter>(&key, parker);
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    wake(&key);
    if (parker.park(Deadline::at(Nanoseconds(0))) != ParkOutcome::timed_out) return "woke a waiter of the parent";
    inherited.reset();
    Parker own;
    const Waiter waiter(&key, own);
    wake(&key);
    return own.park(Deadline::after(kLong)) == ParkOutcome::unparked ? "" : "a waiter of the child is not woken";
  });
  go_on.store(true);
  wake(&key);
  other.join();
  EXPECT_EQ(parker.park(Deadline::at(Nanoseconds(0))), ParkOutcome::unparked);
  EXPECT_TRUE(end.exited);
  EXPECT_EQ(end.status, 0) << end.message;
}

#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS
TEST(WaitQueue, AChildIsNotStoppedByALockOfAThreadThatItLacks) {
  int key = 0;
  Parker parker;
  auto inherited = std::make_unique<Waiter>(&key, parker);
  test::MarkStop waking("wait_queue.waking");  // the waker holds the bucket's lock there
  std::thread waker([&key] { wake(&key); });
  ASSERT_TRUE(waking.wait_until_stopped());
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    alarm(20);
    inherited.reset();
    Parker own;
    const Waiter waiter(&key, own);
    wake(&key);
    return "";
  });
  waking.go_on();
  waker.join();
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
}
#endif

}  // namespace
}  // namespace holdfast
