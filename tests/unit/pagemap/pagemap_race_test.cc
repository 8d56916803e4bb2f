// Goal: the races of one unit's word end as pagemap.cc argues, whichever side is first. Method: a thread stopped at a
// mark for each arm of each race, and two threads at speed for what lies between; bounded by rounds.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/wait_queue.h"
#include "pagemap/pagemap.h"
#include "support/mark_stop.h"

namespace holdfast::pagemap {
namespace {

constexpr Pfn kPage{3};
constexpr auto kLong = std::chrono::seconds(20);
constexpr auto kStress = std::chrono::milliseconds(500);  // stress ends after its rounds or this, whichever is first

struct Owner final : PageOwner {
  void last_put(Pfn /*first*/, Order /*order*/) noexcept override { told.fetch_add(1); }
  std::atomic<int> told{0};
};

std::unique_ptr<PageMap> make_map(DeviceKeeper* keeper = nullptr) {
  return PageMap::create(PageCount(1024), keeper).value();
}

ParkOutcome wait_idle(PageMap& map) {
  return wait_until(&map.count(kPage, kOrder4K), Deadline::after(kLong),
                    [&map] { return map.announce_waiter(kPage, kOrder4K).pins() == 0; });
}

TEST(PageMap, NoWakeIsLost) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(kPage, kOrder4K, 0, PageIndex(0)));
  constexpr int kRounds = 3'000;
  const Deadline end = Deadline::after(kStress);
  std::atomic<bool> stop{false};
  std::atomic<int> pinned{0};
  std::atomic<int> seen_idle{0};
  std::thread holder([&] {
    for (int round = 1; !stop.load(); ++round) {
      while (map->try_pin(kPage, kOrder4K) != TakeOutcome::taken) std::this_thread::yield();
      pinned.store(round);
      pinned.notify_one();
      // Half of the rounds with a second pin, so that both an unpin to one and one to none are raced.
      if (round % 2 == 0 && map->try_pin(kPage, kOrder4K) == TakeOutcome::taken) map->unpin(kPage, kOrder4K);
      map->unpin(kPage, kOrder4K);
      seen_idle.wait(round - 1);
    }
  });
  for (int round = 1; !stop.load(); ++round) {
    pinned.wait(round - 1);
    ASSERT_EQ(wait_idle(*map), ParkOutcome::unparked) << round;
    stop.store(round == kRounds || end.passed());
    seen_idle.store(round);
    seen_idle.notify_one();
  }
  holder.join();
  map->untrack(kPage, kOrder4K);
}

#if defined(HOLDFAST_TEST_HOOKS) && HOLDFAST_TEST_HOOKS

// The unpin has stepped down and not woken yet: a sleeper that comes now finds no pin and does not sleep.
TEST(PageMap, ASleeperThatComesAfterTheStepDoesNotSleep) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(kPage, kOrder4K, 0, PageIndex(0)));
  ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
  ASSERT_EQ(map->announce_waiter(kPage, kOrder4K).pins(), 1U);
  test::MarkStop stepped_down("pagemap.unpinned");
  std::thread releaser([&map] { map->unpin(kPage, kOrder4K); });
  ASSERT_TRUE(stepped_down.wait_until_stopped());
  EXPECT_EQ(wait_idle(*map), ParkOutcome::unparked);
  stepped_down.go_on();
  releaser.join();
  map->untrack(kPage, kOrder4K);
}

// The last unpin has stepped down; before it goes on, the unit is associated anew, used, and given back.
TEST(PageMap, TheUnitMayHaveANewLifeBeforeTheLastUnpinHasFinished) {
  struct Keeper final : DeviceKeeper {
    void drained() noexcept override { times.fetch_add(1); }
    std::atomic<int> times{0};
  };
  Keeper keeper;
  const auto map = make_map(&keeper);
  Owner first;
  Owner second;
  const OwnerId first_id = map->add_owner(first);
  const OwnerId second_id = map->add_owner(second);
  ASSERT_TRUE(map->track(kPage, kOrder4K, first_id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
  map->untrack(kPage, kOrder4K);
  test::MarkStop stepped_down("pagemap.last_put");
  std::thread releaser([&map] { map->unpin(kPage, kOrder4K); });
  ASSERT_TRUE(stepped_down.wait_until_stopped());
  ASSERT_TRUE(map->track(kPage, kOrder4K, second_id, PageIndex(1)));
  EXPECT_EQ(map->references(), 2U) << "that of the step and that of the new life";
  ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
  stepped_down.go_on();
  releaser.join();
  EXPECT_EQ(first.told.load(), 1) << "it is told of its own life of the unit";
  EXPECT_EQ(second.told.load(), 0);
  EXPECT_EQ(map->references(), 1U);
  map->untrack(kPage, kOrder4K);
  map->unpin(kPage, kOrder4K);
  EXPECT_EQ(second.told.load(), 1);
  map->remove_owner(first_id);
  map->remove_owner(second_id);
  map->close();
  map->release_creator();
  EXPECT_EQ(keeper.times.load(), 1);
}

// The last unpin has read the old owner; the unit moves before it steps down.
TEST(PageMap, AMoveBeforeTheStepTellsTheNewOwner) {
  const auto map = make_map();
  Owner before;
  Owner after;
  const OwnerId old_id = map->add_owner(before);
  const OwnerId new_id = map->add_owner(after);
  ASSERT_TRUE(map->track(kPage, kOrder4K, old_id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
  map->untrack(kPage, kOrder4K);
  test::MarkStop owner_read("pagemap.owner_read");
  std::thread releaser([&map] { map->unpin(kPage, kOrder4K); });
  ASSERT_TRUE(owner_read.wait_until_stopped());
  EXPECT_EQ(map->set_owner(kPage, kOrder4K, new_id, PageIndex(1)).refcount(), 1U);
  owner_read.go_on();
  releaser.join();
  EXPECT_EQ(before.told.load(), 0);
  EXPECT_EQ(after.told.load(), 1);
  map->remove_owner(old_id);
  map->remove_owner(new_id);
}

// The unit's new owner is stored; the last unpin runs whole before the flip.
TEST(PageMap, AMoveAfterTheStepSaysThatNobodyHoldsTheUnit) {
  const auto map = make_map();
  Owner owner;
  const OwnerId id = map->add_owner(owner);
  ASSERT_TRUE(map->track(kPage, kOrder4K, id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
  map->untrack(kPage, kOrder4K);
  test::MarkStop stored("pagemap.owner_stored");
  CountWord at_move{~0U};
  std::thread mover([&] { at_move = map->set_owner(kPage, kOrder4K, id, PageIndex(1)); });
  ASSERT_TRUE(stored.wait_until_stopped());
  map->unpin(kPage, kOrder4K);
  stored.go_on();
  mover.join();
  EXPECT_EQ(at_move.refcount(), 0U);
  EXPECT_EQ(map->read(kPage, kOrder4K).raw, 0U);
  map->remove_owner(id);
}

// An association has seen the map open and is not made yet; close waits until it is.
TEST(PageMap, CloseWaitsForTheAssociationThatBegan) {
  const auto map = make_map();
  test::MarkStop tracking("pagemap.tracking");
  std::atomic<bool> made{false};
  std::thread tracker([&] {
    EXPECT_TRUE(map->track(kPage, kOrder4K, 0, PageIndex(0)));
    made.store(true);
  });
  ASSERT_TRUE(tracking.wait_until_stopped());
  std::atomic<bool> closed{false};
  std::thread closer([&] {
    map->close();
    closed.store(true);
  });
  for (int i = 0; i < 100; ++i) {
    std::this_thread::yield();
    ASSERT_FALSE(closed.load());
  }
  tracking.go_on();
  closer.join();
  tracker.join();
  EXPECT_EQ(map->read(kPage, kOrder4K).tracked(), 1U);
  map->untrack(kPage, kOrder4K);
}

// The last unpin has stepped down and is about to tell; remove_owner waits until it has.
TEST(PageMap, AnOwnerOutlivesTheUpcallThatBegan) {
  const auto map = make_map();
  auto owner = std::make_unique<Owner>();
  const OwnerId id = map->add_owner(*owner);
  ASSERT_TRUE(map->track(kPage, kOrder4K, id, PageIndex(0)));
  ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
  map->untrack(kPage, kOrder4K);
  test::MarkStop stepped_down("pagemap.last_put");
  std::thread releaser([&map] { map->unpin(kPage, kOrder4K); });
  ASSERT_TRUE(stepped_down.wait_until_stopped());
  std::atomic<bool> removed{false};
  std::thread remover([&] {
    map->remove_owner(id);
    owner.reset();  // AddressSanitizer sees an upcall to it from now on
    removed.store(true);
  });
  for (int i = 0; i < 100; ++i) {
    std::this_thread::yield();
    ASSERT_FALSE(removed.load());
  }
  stepped_down.go_on();
  releaser.join();
  remover.join();
}

#endif

// Whoever is told last, old owner, new owner or mover: somebody always learns that the unit is free.
TEST(PageMap, MoveRacesWithTheLastUnpin) {
  const auto map = make_map();
  Owner before;
  Owner after;
  const OwnerId old_id = map->add_owner(before);
  const OwnerId new_id = map->add_owner(after);
  std::atomic<int> round{0};
  std::atomic<int> released{0};
  constexpr int kRounds = 3'000;
  constexpr int kStop = -1;
  const Deadline end = Deadline::after(kStress);
  std::thread releaser([&] {
    for (int i = 1;; ++i) {
      round.wait(i - 1);
      if (round.load() == kStop) return;
      map->unpin(kPage, kOrder4K);
      released.store(i);
      released.notify_one();
    }
  });
  for (int i = 1; i <= kRounds && !end.passed(); ++i) {
    const int old_told = before.told.load();
    const int new_told = after.told.load();
    ASSERT_TRUE(map->track(kPage, kOrder4K, old_id, PageIndex(0)));
    ASSERT_EQ(map->try_pin(kPage, kOrder4K), TakeOutcome::taken);
    map->untrack(kPage, kOrder4K);
    round.store(i);
    round.notify_one();
    const CountWord at_move = map->set_owner(kPage, kOrder4K, new_id, PageIndex(1));
    released.wait(i - 1);
    if (at_move.refcount() > 0) {
      ASSERT_EQ(after.told.load(), new_told + 1) << "moved while held, and the new owner heard nothing";
      ASSERT_EQ(before.told.load(), old_told);
    } else {
      ASSERT_EQ(before.told.load() + after.told.load(), old_told + new_told + 1);
    }
    ASSERT_EQ(map->references(), 0U);
  }
  round.store(kStop);
  round.notify_one();
  releaser.join();
  map->remove_owner(old_id);
  map->remove_owner(new_id);
}

// A pin against a zap, at speed: a pin that was taken is seen by the zapper, and device references come out even.
TEST(PageMap, CountsComeOutEvenUnderChurn) {
  const auto map = make_map();
  Owner owner;
  const OwnerId id = map->add_owner(owner);
  std::atomic<bool> stop{false};
  std::uint64_t taken = 0;
  std::thread pinner([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      if (map->try_pin(kPage, kOrder4K) != TakeOutcome::taken) continue;
      ++taken;
      ASSERT_GE(map->references(), 1U) << "P3: a pin without the device";
      map->unpin(kPage, kOrder4K);
    }
  });
  int last_by_unpin = 0;
  const Deadline end = Deadline::after(kStress);
  for (int i = 0; !end.passed(); ++i) {
    ASSERT_TRUE(map->track(kPage, kOrder4K, id, PageIndex(0)));
    if (i % 3 == 0) map->set_break(kPage, kOrder4K);
    const CountWord after = map->untrack(kPage, kOrder4K);
    if (i % 3 == 0) map->clear_break(kPage, kOrder4K);
    if (after.refcount() == 0) continue;
    ++last_by_unpin;
    ASSERT_EQ(wait_idle(*map), ParkOutcome::unparked);
  }
  stop.store(true);
  pinner.join();
  EXPECT_EQ(owner.told.load(), last_by_unpin) << "one upcall for each life that ended by an unpin";
  EXPECT_EQ(map->references(), 0U);
  EXPECT_EQ(map->read(kPage, kOrder4K).raw, 0U);
  map->remove_owner(id);
}

// Break against pin: after the mark, pins only fall; at zero nothing enters until the mark goes.
TEST(PageMap, NoPinEntersAMarkedUnit) {
  const auto map = make_map();
  ASSERT_TRUE(map->track(kPage, kOrder4K, 0, PageIndex(0)));
  std::atomic<bool> quiet{false};  // set by the breaker while it believes that nobody is inside
  std::atomic<bool> stop{false};
  std::thread pinner([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      if (map->try_pin(kPage, kOrder4K) != TakeOutcome::taken) continue;
      ASSERT_FALSE(quiet.load());
      map->unpin(kPage, kOrder4K);
    }
  });
  const Deadline end = Deadline::after(kStress);
  while (!end.passed()) {
    map->set_break(kPage, kOrder4K);
    ASSERT_EQ(wait_idle(*map), ParkOutcome::unparked);
    quiet.store(true);
    for (int look = 0; look < 20; ++look) ASSERT_EQ(map->read(kPage, kOrder4K).pins(), 0U);
    quiet.store(false);
    map->clear_break(kPage, kOrder4K);
  }
  stop.store(true);
  pinner.join();
  map->untrack(kPage, kOrder4K);
}

// Close against association: after close nothing is associated any more, and drained comes once, from any thread.
TEST(PageMap, DrainedExactlyOnceWhoeverIsLast) {
  struct Keeper final : DeviceKeeper {
    void drained() noexcept override {
      times.fetch_add(1);
      map.reset();  // AddressSanitizer sees what touches it afterwards
    }
    std::atomic<int> times{0};
    std::unique_ptr<PageMap> map;
  };
  for (int round = 0; round < 100; ++round) {
    Keeper keeper;
    keeper.map = make_map(&keeper);
    PageMap& map = *keeper.map;
    ASSERT_TRUE(map.track(kPage, kOrder4K, 0, PageIndex(0)));
    ASSERT_EQ(map.try_pin(kPage, kOrder4K), TakeOutcome::taken);
    std::atomic<bool> closed{false};
    std::thread user([&] {
      for (std::uint64_t page = 8; page < 24; ++page) {
        const bool was_closed = closed.load();
        const Status tracked = map.track(Pfn(page), kOrder4K, 0, PageIndex(0));
        ASSERT_FALSE(was_closed && tracked.has_value());
        if (tracked.has_value()) map.untrack(Pfn(page), kOrder4K);
      }
      map.untrack(kPage, kOrder4K);
      map.unpin(kPage, kOrder4K);  // maybe the last reference of all
    });
    map.close();
    closed.store(true);
    map.release_creator();
    user.join();
    ASSERT_EQ(keeper.times.load(), 1);
  }
}

}  // namespace
}  // namespace holdfast::pagemap
