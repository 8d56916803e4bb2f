// Goal: memory is destroyed only when no guard that saw it is open, and always in the end; nobody waits for a guard
// that began later. Method: guards held open across retire and synchronize, readers of a pointer that is replaced at
// speed (AddressSanitizer sees a use after free), threads that end and are replaced, and forks with foreign guards
// open.
#include "base/epoch.h"

#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <future>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "support/child.h"

namespace holdfast {
namespace {

struct Counted {
  static inline std::atomic<int> alive{0};
  Counted() { alive.fetch_add(1); }
  ~Counted() {
    value = 0;
    alive.fetch_sub(1);
  }
  std::uint64_t value = 0x600DF00D;
};

// A thread inside a guard until told to leave.
class OpenGuard {
 public:
  OpenGuard() {
    std::promise<void> entered;
    thread_ = std::thread([this, &entered] {
      const epoch::Guard guard;
      entered.set_value();
      leave_.get_future().wait();
    });
    entered.get_future().wait();
  }
  ~OpenGuard() {
    if (thread_.joinable()) end();
  }
  void end() {
    leave_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> leave_;
  std::thread thread_;
};

TEST(Epoch, GuardsNest) {
  EXPECT_FALSE(epoch::inside());
  {
    const epoch::Guard outer;
    {
      const epoch::Guard inner;
      EXPECT_TRUE(epoch::inside());
    }
    EXPECT_TRUE(epoch::inside());
  }
  EXPECT_FALSE(epoch::inside());
}

TEST(Epoch, NothingIsDestroyedUnderAnOpenGuard) {
  epoch::flush();
  const int before = Counted::alive.load();
  OpenGuard reader;
  epoch::retire(new Counted);
  {
    // Flushing inside a guard destroys what can be: not this.
    const epoch::Guard guard;
    for (int i = 0; i < 3; ++i) epoch::flush();
  }
  EXPECT_EQ(Counted::alive.load(), before + 1);
  reader.end();
  epoch::flush();
  EXPECT_EQ(Counted::alive.load(), before);
}

TEST(Epoch, RetiringAloneReclaimsInTheEnd) {
  epoch::flush();
  const int before = Counted::alive.load();
  for (int i = 0; i < 10'000; ++i) epoch::retire(new Counted);
  EXPECT_LT(Counted::alive.load(), before + 1'000) << "without a flush";
  epoch::flush();
  EXPECT_EQ(Counted::alive.load(), before);
}

TEST(Epoch, DestroyMayRetire) {
  static std::atomic<int> destroyed{0};
  struct Link {
    Link* next;
    static void destroy(void* object) {
      const std::unique_ptr<Link> link(static_cast<Link*>(object));
      destroyed.fetch_add(1);
      if (link->next != nullptr) epoch::retire(link->next, destroy);
    }
  };
  destroyed.store(0);
  constexpr int kLength = 200;
  Link* chain = nullptr;
  for (int i = 0; i < kLength; ++i) chain = new Link{chain};
  epoch::retire(chain, Link::destroy);
  for (int i = 0; i < kLength; ++i) epoch::flush();
  EXPECT_EQ(destroyed.load(), kLength);
}

TEST(Epoch, WhatIsToRunOutsideRunsAtTheEndOfTheOutermostGuard) {
  int runs = 0;
  const auto run = [](void* count) {
    epoch::synchronize();  // which is why it must not run inside
    ++*static_cast<int*>(count);
  };
  {
    const epoch::Guard outer;
    {
      const epoch::Guard inner;
      epoch::outside(&runs, run);
    }
    EXPECT_EQ(runs, 0);
  }
  EXPECT_EQ(runs, 1);
  { const epoch::Guard later; }
  EXPECT_EQ(runs, 1);
  epoch::outside(&runs, run);
  EXPECT_EQ(runs, 2) << "in no guard: at once";
}

TEST(Epoch, SynchronizeWaitsForAnOpenGuard) {
  OpenGuard reader;
  std::atomic<bool> returned{false};
  std::thread waiter([&returned] {
    epoch::synchronize();
    returned.store(true);
  });
  // It cannot return, however long we look; a wrong one returns at once.
  for (int i = 0; i < 100; ++i) {
    std::this_thread::yield();
    ASSERT_FALSE(returned.load());
  }
  reader.end();
  waiter.join();
  EXPECT_TRUE(returned.load());
}

TEST(Epoch, SynchronizeDoesNotWaitForLaterGuards) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  // Guards follow each other without a gap in which nobody is inside.
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&stop] {
      while (!stop.load(std::memory_order_relaxed)) {
        const epoch::Guard guard;
        std::this_thread::yield();
      }
    });
  }
  for (int i = 0; i < 200; ++i) epoch::synchronize();
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
}

TEST(Epoch, ReadersNeverSeeReclaimedMemory) {
  std::atomic<Counted*> shared{new Counted};
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      const epoch::Guard guard;
      const Counted* const seen = shared.load(std::memory_order_acquire);
      for (int i = 0; i < 4; ++i) ASSERT_EQ(seen->value, 0x600DF00DU);
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(700);
  while (std::chrono::steady_clock::now() < end) {
    for (int i = 0; i < 64; ++i) epoch::retire(shared.exchange(new Counted, std::memory_order_acq_rel));
  }
  stop.store(true);
  reader.join();
  delete shared.load();
  epoch::flush();
}

TEST(Epoch, SynchronizeSeparatesOldStateFromReuse) {
  // Two objects used in turn: the writer reuses one only after synchronize. A reader inside sees one state throughout,
  // for as long as it looks. Stores that miss every cache stand before the guard in the store buffer, so without the
  // heavy barrier the reader's first load passes the publishing of its epoch.
  struct alignas(64) Object {
    std::atomic<std::uint64_t> round{0};
  };
  std::array<Object, 2> objects;
  alignas(64) std::atomic<Object*> current{&objects[0]};
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    std::vector<std::uint64_t> far(std::size_t{8} << 20);
    std::mt19937_64 random(1);
    while (!stop.load(std::memory_order_relaxed)) {
      for (int miss = 0; miss < 8; ++miss) far[random() % far.size()] = 1;
      const epoch::Guard guard;
      const Object* const seen = current.load(std::memory_order_acquire);
      const std::uint64_t round = seen->round.load(std::memory_order_relaxed);
      for (int look = 0; look < 100; ++look) ASSERT_EQ(seen->round.load(std::memory_order_relaxed), round);
    }
  });
  const Deadline end = Deadline::after(std::chrono::milliseconds(700));
  for (std::uint64_t i = 1; i % 64 != 0 || !end.passed(); ++i) {
    Object& next = objects[i % 2];
    next.round.store(i, std::memory_order_relaxed);
    current.store(&next, std::memory_order_release);
    epoch::synchronize();
  }
  stop.store(true);
  reader.join();
}

TEST(Epoch, EndedThreadsHoldNothingBack) {
  epoch::flush();
  const int before = Counted::alive.load();
  for (int i = 0; i < 100; ++i) {
    std::thread([] {
      const epoch::Guard guard;
      epoch::retire(new Counted);
    }).join();
  }
  epoch::flush();
  EXPECT_EQ(Counted::alive.load(), before);
}

TEST(Epoch, AThreadMayEnterWhileItEnds) {
  struct EntersAtTheEnd {
    ~EntersAtTheEnd() {
      const epoch::Guard guard;
      epoch::retire(new Counted);
    }
  };
  epoch::flush();
  const int before = Counted::alive.load();
  std::thread([] {
    thread_local EntersAtTheEnd late;
    static_cast<void>(&late);
    const epoch::Guard guard;
  }).join();
  epoch::flush();
  EXPECT_EQ(Counted::alive.load(), before);
}

TEST(Epoch, AChildDoesNotWaitForTheParentsGuards) {
  OpenGuard reader;
  const test::ChildEnd end = test::run_in_child([]() -> std::string {
    epoch::synchronize();
    const int before = Counted::alive.load();
    epoch::retire(new Counted);
    epoch::flush();
    return Counted::alive.load() == before ? "" : "not destroyed";
  });
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
  EXPECT_EQ(end.status, 0) << end.message;
}

TEST(Epoch, AForkInsideAGuardStaysInside) {
  const epoch::Guard guard;
  const test::ChildEnd end =
      test::run_in_child([]() -> std::string { return epoch::inside() ? "" : "the child is outside"; });
  EXPECT_EQ(end.status, 0) << end.message;
}

bool masked() {
  const char* const mask = std::getenv("HOLDFAST_MASK");
  return mask != nullptr && std::string_view(mask).find("membarrier") != std::string_view::npos;
}

TEST(Epoch, TheMaskIsHonoured) {
  { const epoch::Guard guard; }
  EXPECT_FALSE(masked() && epoch::detail::asymmetric);
}

// All of the above once more in a process whose readers pay for the barrier themselves.
TEST(EpochWithoutMembarrier, HoldsTheSamePromises) {
  if (masked()) GTEST_SKIP() << "this is that process";
  ASSERT_EQ(setenv("HOLDFAST_MASK", "membarrier", 1), 0);
  std::array<char*, 3> arguments{const_cast<char*>("test_base"), const_cast<char*>("--gtest_filter=Epoch.*"), nullptr};
  pid_t child = 0;
  const int failure = posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ);
  ASSERT_EQ(unsetenv("HOLDFAST_MASK"), 0);
  ASSERT_EQ(failure, 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

using EpochDeathTest = ::testing::Test;

TEST(EpochDeathTest, SynchronizeInsideAGuardIsRefused) {
  EXPECT_DEATH(
      {
        const epoch::Guard guard;
        epoch::synchronize();
      },
      "waits for its own epoch guard");
}

}  // namespace
}  // namespace holdfast
