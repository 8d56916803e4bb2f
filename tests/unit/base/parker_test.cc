// Goal: a thread that parks wakes for exactly the reasons promised, and a token is never lost nor kept. Method: every
// outcome once, and two threads that hand a turn to and fro through two parkers.
#include "base/parker.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <thread>

namespace holdfast {
namespace {

using std::chrono::milliseconds;

TEST(Parker, UnparkBeforeParkIsNotLost) {
  Parker parker;
  parker.unpark();
  parker.unpark();
  EXPECT_EQ(parker.park(Deadline::never()), ParkOutcome::unparked);
  EXPECT_EQ(parker.park(Deadline::after(milliseconds(1))), ParkOutcome::timed_out) << "two unparks are one token";
}

TEST(Parker, ATokenWinsOverADeadlineThatPassed) {
  Parker parker;
  parker.unpark();
  EXPECT_EQ(parker.park(Deadline::at(Nanoseconds(1))), ParkOutcome::unparked);
}

TEST(Parker, TimesOutNotBeforeItsDeadline) {
  Parker parker;
  const Deadline deadline = Deadline::after(milliseconds(5));
  EXPECT_EQ(parker.park(deadline), ParkOutcome::timed_out);
  EXPECT_TRUE(deadline.passed());
  EXPECT_EQ(parker.park(Deadline::at(Nanoseconds(-1))), ParkOutcome::timed_out) << "a moment before the clock began";
}

TEST(Parker, ResetForgetsAnUnpark) {
  Parker parker;
  parker.unpark();
  parker.reset();
  EXPECT_EQ(parker.park(Deadline::after(milliseconds(1))), ParkOutcome::timed_out);
}

TEST(Parker, ASignalHandlerInterrupts) {
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  std::atomic<bool> done{false};
  ParkOutcome outcome = ParkOutcome::unparked;
  std::thread sleeper([&] {
    Parker parker;
    outcome = parker.park(Deadline::after(std::chrono::seconds(20)));
    done.store(true);
  });
  // The signal may come before the thread sleeps, so it is sent until it has had its effect.
  while (!done.load()) {
    pthread_kill(sleeper.native_handle(), SIGUSR1);
    std::this_thread::yield();
  }
  sleeper.join();
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_EQ(outcome, ParkOutcome::interrupted);
}

TEST(Parker, HandsATurnToAndFro) {
  constexpr int kRounds = 2'000;
  Parker mine;
  Parker theirs;
  int turn = 0;  // guarded by whose turn it is: ThreadSanitizer checks what unpark and park promise
  std::thread other([&] {
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_EQ(theirs.park(Deadline::after(std::chrono::seconds(20))), ParkOutcome::unparked);
      ASSERT_EQ(turn, 2 * round + 1);
      ++turn;
      mine.unpark();
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    ++turn;
    theirs.unpark();
    ASSERT_EQ(mine.park(Deadline::after(std::chrono::seconds(20))), ParkOutcome::unparked);
    ASSERT_EQ(turn, 2 * round + 2);
  }
  other.join();
}

}  // namespace
}  // namespace holdfast
