// Goal: a gate and a hold exclude each other, and an end that someone waits for is never missed. Method: both orders of
// each either/or forced through marks; then many threads against a closer, counting who was inside.
#include "mapping/hold.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/wait_queue.h"
#include "support/child.h"
#include "support/file_fixture.h"
#include "support/mark_stop.h"
#include "support/task.h"

namespace holdfast::mapping {
namespace {

using namespace std::chrono_literals;
using test::MarkCount;
using test::MarkStop;
using test::Task;

class HoldTest : public test::FileFixture {};
class HoldRace : public test::FileFixture {};

TEST_F(HoldTest, AGateWaitsForHoldsOfItsRangeOnly) {
  const auto inside = Hold::try_enter(*file_, pages_at(10, 5));
  ASSERT_TRUE(inside);
  EXPECT_TRUE(file_->held(pages_at(14)));
  EXPECT_FALSE(file_->held(pages_at(15)));
  EXPECT_TRUE(file_->close_gate(pages_at(15, 100), Nanoseconds(0)));
  EXPECT_FALSE(file_->close_gate(pages_at(0, 11), Nanoseconds(0)));
  file_->open_gate(pages_at(0, 11));
  file_->open_gate(pages_at(15, 100));
}

TEST_F(HoldTest, AHoldOfAnotherFileIsNoHoldOfThisOne) {
  test::RecordingOwner owner;
  Mapping other(*map_, owner, {7, 13});
  const auto inside = Hold::try_enter(other, kWhole);
  EXPECT_TRUE(file_->close_gate(kWhole, Nanoseconds(0)));
  file_->open_gate(kWhole);
}

TEST_F(HoldTest, AClosedGateTurnsAway) {
  ASSERT_TRUE(file_->close_gate(pages_at(100, 10), Nanoseconds(0)));
  EXPECT_FALSE(Hold::try_enter(*file_, pages_at(109)));
  EXPECT_TRUE(Hold::try_enter(*file_, pages_at(110)));
  EXPECT_FALSE(Hold::enter(*file_, pages_at(95, 6), Deadline::at(Nanoseconds(0))));
  EXPECT_FALSE(file_->held(kWhole)) << "who was turned away left something behind";
  file_->open_gate(pages_at(100, 10));
  EXPECT_TRUE(Hold::try_enter(*file_, pages_at(109)));
}

TEST_F(HoldTest, EnterSleepsUntilTheGateOpens) {
  ASSERT_TRUE(file_->close_gate(pages_at(0, 10), Nanoseconds(0)));
  MarkCount waits("mapping.hold.waits");
  Task enters([&] { return Hold::enter(*file_, pages_at(3), Deadline()).has_value(); });
  ASSERT_TRUE(waits.wait_until(1));
  EXPECT_FALSE(enters.done());
  file_->open_gate(pages_at(0, 10));
  EXPECT_TRUE(enters.get());
}

TEST_F(HoldTest, NestedHoldsOfWhatIsHeldPassAClosedGate) {
  const auto outer = Hold::try_enter(*file_, pages_at(0, 10));
  EXPECT_FALSE(file_->close_gate(pages_at(0, 20), Nanoseconds(0)));
  EXPECT_TRUE(Hold::try_enter(*file_, pages_at(2, 3)));
  EXPECT_FALSE(Hold::try_enter(*file_, pages_at(8, 3))) << "page 10 is not held";
  file_->open_gate(pages_at(0, 20));
}

TEST_F(HoldTest, EightAtOnceAndNotNine) {
  std::vector<std::optional<Hold>> holds;
  for (unsigned i = 0; i < Hold::kNested; ++i) holds.push_back(Hold::try_enter(*file_, pages_at(i)));
  for (unsigned i = 0; i < Hold::kNested; ++i) EXPECT_TRUE(file_->held(pages_at(i)));
  EXPECT_DEATH(static_cast<void>(Hold::try_enter(*file_, pages_at(9))), "more than 8 holds");
  holds.at(3).reset();
  EXPECT_TRUE(Hold::try_enter(*file_, pages_at(9)));
}

TEST_F(HoldTest, AHoldMayEndOnAnotherThreadAndOutliveItsOwn) {
  Task taker([&] { return std::make_unique<Hold>(*Hold::try_enter(*file_, pages_at(5))); });
  auto hold = taker.get();
  EXPECT_TRUE(file_->held(pages_at(5)));
  // A new thread takes the table over and must not disturb the slot in use.
  Task adopter([&] {
    const auto mine = Hold::try_enter(*file_, pages_at(6));
    return file_->held(pages_at(5)) && file_->held(pages_at(6));
  });
  EXPECT_TRUE(adopter.get());
  hold.reset();
  EXPECT_FALSE(file_->held(kWhole));
}

// Of a thread that made it before its first hold: it ends after the library's own thread_local objects.
struct Late {
  std::function<void()> at_end;
  ~Late() {
    if (at_end) at_end();
  }
};
thread_local Late late;

TEST_F(HoldTest, AnObjectThatEndsWithItsThreadMayStillHold) {
  bool another_holds = false;
  bool own_mistaken = true;
  bool held = false;
  Task ends([&] {
    late.at_end = [&] {
      MarkStop left("mapping.hold.left");
      Task other([&] {
        const auto theirs = Hold::try_enter(*file_, pages_at(5));
        static_cast<void>(Hold::try_enter(*file_, pages_at(50)));  // stops there, at its end
        return theirs.has_value();
      });
      if (!left.wait_until_stopped()) return;
      another_holds = file_->held(pages_at(5));
      own_mistaken = HoldTables::this_thread_holds(*file_, pages_at(5));
      {
        const auto mine = Hold::try_enter(*file_, pages_at(7));
        held = file_->held(pages_at(7)) && file_->held(pages_at(5));
      }
      left.go_on();
      another_holds = another_holds && other.get();
    };
    return Hold::try_enter(*file_, pages_at(5)).has_value();
  });
  EXPECT_TRUE(ends.get());
  EXPECT_TRUE(another_holds);
  EXPECT_FALSE(own_mistaken) << "the table of this thread was another's by then";
  EXPECT_TRUE(held);
  EXPECT_FALSE(file_->held(kWhole));
}

TEST_F(HoldTest, LastingHoldsKnowTheirEndWhateverComesAfterThem) {
  auto first = Hold::try_enter(*file_, pages_at(5));
  const LastingHolds lasting = HoldTables::lasting(*file_, pages_at(0, 10));
  EXPECT_FALSE(lasting.empty());
  EXPECT_TRUE(lasting.cover(PageIndex(5)));
  EXPECT_FALSE(lasting.cover(PageIndex(6)));
  EXPECT_FALSE(lasting.ended());
  first.reset();
  EXPECT_TRUE(lasting.ended());
  const auto second = Hold::try_enter(*file_, pages_at(5));  // the same slot, the same range
  EXPECT_TRUE(lasting.ended());
  EXPECT_TRUE(HoldTables::lasting(*file_, pages_at(6, 10)).empty());
}

TEST_F(HoldTest, OverrunIsSeenByTheHoldAtItsEndAndByInsert) {
  EXPECT_FALSE(Hold::try_enter(*file_, pages_at(5))->end());
  auto hold = Hold::try_enter(*file_, pages_at(5));
  EXPECT_FALSE(hold->overrun());
  EXPECT_FALSE(HoldTables::this_thread_overrun(*file_, pages_at(5)));
  const LastingHolds lasting = HoldTables::overrun(*file_, pages_at(0, 10));
  EXPECT_TRUE(hold->overrun());
  EXPECT_TRUE(HoldTables::this_thread_overrun(*file_, pages_at(5)));
  EXPECT_FALSE(HoldTables::this_thread_overrun(*file_, pages_at(6)));
  EXPECT_EQ(file_->insert(PageIndex(5), page_of(5), kOrder4K, Deadline()).error().code(), EAGAIN);
  Task other([&] { return HoldTables::this_thread_overrun(*file_, pages_at(5)); });
  EXPECT_FALSE(other.get());
  EXPECT_TRUE(hold->end());
  EXPECT_FALSE(file_->held(pages_at(5)));
}

TEST_F(HoldTest, ASignalEndsTheWaitForAGate) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  ASSERT_TRUE(file_->close_gate(kWhole, Nanoseconds(0)));
  MarkCount waits("mapping.hold.waits");
  Task enters([&] { return Hold::enter(*file_, pages_at(3), Deadline()).has_value(); });
  ASSERT_TRUE(waits.wait_until(1));
  while (!enters.done()) {  // a signal may come before the thread sleeps
    pthread_kill(enters.handle(), SIGUSR1);
    std::this_thread::yield();
  }
  EXPECT_FALSE(enters.get());
  file_->open_gate(kWhole);
  sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(HoldTest, AForkedChildForgetsTheHoldsOfOtherThreads) {
  MarkStop stop("mapping.hold.published");
  Task holder([&] { return Hold::try_enter(*file_, pages_at(5)).has_value(); });
  ASSERT_TRUE(stop.wait_until_stopped());
  const auto mine = Hold::enter(*file_, pages_at(50), Deadline());
  const test::ChildEnd end = test::run_in_child([&]() -> std::string {
    if (file_->held(pages_at(5))) return "the hold of a thread that does not exist here";
    return file_->held(pages_at(50)) ? "" : "the hold of this thread is gone";
  });
  EXPECT_TRUE(end.exited && end.status == 0) << end.message;
  stop.go_on();
  EXPECT_TRUE(holder.get());
}

// --- either/or ---

TEST_F(HoldRace, EitherSideSees) {
  {  // the hold is published first: the closer sees it
    MarkStop stop("mapping.hold.published");
    Task holder([&] { return Hold::try_enter(*file_, pages_at(5)).has_value(); });
    ASSERT_TRUE(stop.wait_until_stopped());
    EXPECT_FALSE(file_->close_gate(pages_at(0, 10), Nanoseconds(0)));
    stop.go_on();
    EXPECT_FALSE(holder.get()) << "it reads the gates after the closer closed its own";
    file_->open_gate(pages_at(0, 10));
  }
  {  // the gate is closed first: the hold sees it
    MarkStop stop("mapping.gate.closed");
    Task closer([&] { return file_->close_gate(pages_at(0, 10), Nanoseconds(0)); });
    ASSERT_TRUE(stop.wait_until_stopped());
    EXPECT_FALSE(Hold::try_enter(*file_, pages_at(5)));
    stop.go_on();
    EXPECT_TRUE(closer.get());
    file_->open_gate(pages_at(0, 10));
  }
}

TEST_F(HoldRace, EndIsNeverMissed) {
  {  // the hold ends between being found and being asked: the closer finds it gone
    auto hold = Hold::try_enter(*file_, pages_at(5));
    MarkStop stop("mapping.hold.found");
    Task closer([&] { return file_->close_gate(pages_at(0, 10), 1h); });
    ASSERT_TRUE(stop.wait_until_stopped());
    hold.reset();
    stop.go_on();
    EXPECT_TRUE(closer.get());
    file_->open_gate(pages_at(0, 10));
  }
  {  // the hold has ended and has not woken anybody yet: the closer finds it gone, and is woken for nothing later
    Task holder([&] { return Hold::try_enter(*file_, pages_at(5)); });
    std::optional<Hold> hold = holder.get();
    const LastingHolds asked = HoldTables::lasting(*file_, pages_at(5));
    MarkStop left("mapping.hold.left");
    Task leaver([&] {
      hold.reset();
      return true;
    });
    ASSERT_TRUE(left.wait_until_stopped());
    EXPECT_TRUE(asked.ended());
    EXPECT_TRUE(file_->close_gate(pages_at(0, 10), 1h));
    left.go_on();
    EXPECT_TRUE(leaver.get());
    file_->open_gate(pages_at(0, 10));
  }
  {  // the closer asked and sleeps: the end wakes it
    auto hold = Hold::try_enter(*file_, pages_at(5));
    MarkCount waits("mapping.gate.waits");
    Task closer([&] { return file_->close_gate(pages_at(0, 10), 1h); });
    ASSERT_TRUE(waits.wait_until(1));
    EXPECT_FALSE(closer.done());
    hold.reset();
    EXPECT_TRUE(closer.get());
    file_->open_gate(pages_at(0, 10));
  }
}

// A gate that closed found nobody inside, and nobody enters before it opens. The sum of what the holders wrote in the
// range is stable meanwhile.
TEST_F(HoldRace, NobodyIsInsideAClosedGate) {
  std::atomic<int> inside{0};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> entered{0};
  const auto copy = [&](std::uint64_t page) {
    while (!stop.load()) {
      const auto hold = Hold::enter(*file_, pages_at(page), Deadline());
      inside.fetch_add(1);
      entered.fetch_add(1);
      inside.fetch_sub(1);
    }
    return true;
  };
  Task one([&] { return copy(1); });
  Task two([&] { return copy(2); });
  while (entered.load() < 100) std::this_thread::yield();
  unsigned closed = 0;
  for (unsigned round = 0; round < 2000; ++round) {
    if (file_->close_gate(pages_at(0, 10), 1h)) {
      ++closed;
      ASSERT_EQ(inside.load(), 0) << round;
    }
    file_->open_gate(pages_at(0, 10));
  }
  stop.store(true);
  EXPECT_TRUE(one.get() && two.get());
  EXPECT_EQ(closed, 2000U);
}

}  // namespace
}  // namespace holdfast::mapping
