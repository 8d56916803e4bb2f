// Goal: the seam reaches an installed scheduler from every access and every wait, and costs nothing without one.
// Method: in a build with the seam, a scheduler that writes down what it is told; else, a look at what the seam is.
#include "base/scheduler.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <vector>

#include "base/atomic.h"
#include "base/parker.h"

namespace holdfast {
namespace {

#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER

struct Recorder final : scheduler::Scheduler {
  void before_access(const void* word, scheduler::AccessKind kind) override {
    if (word == watched) kinds.push_back(kind);
  }
  bool hold_back(void* /*word*/, std::uint64_t /*bits*/, scheduler::CommitStore /*commit*/) override { return false; }
  bool own_store(const void* /*word*/, std::uint64_t& /*bits*/) override { return false; }
  scheduler::WaitOutcome run_wait(const std::atomic<std::uint32_t>& /*word*/, std::uint32_t /*token*/,
                                  bool /*bounded*/) override {
    ++waits;
    return scheduler::WaitOutcome::token;
  }
  bool lock(std::mutex& /*mutex*/) override { return false; }
  void unlocked(std::mutex& /*mutex*/) override {}
  const void* watched = nullptr;
  std::vector<scheduler::AccessKind> kinds;
  int waits = 0;
};

TEST(Scheduler, SeesEveryAccessAndWait) {
  using scheduler::AccessKind;
  Atomic<std::uint32_t> word;
  Recorder recorder;
  recorder.watched = &word;
  scheduler::install(&recorder);
  word.store(1, std::memory_order_relaxed);
  static_cast<void>(word.load(std::memory_order_relaxed));
  static_cast<void>(word.fetch_add(1, std::memory_order_relaxed));
  Parker parker;
  EXPECT_EQ(parker.park(Deadline::never()), ParkOutcome::unparked) << "run by the scheduler, not by the kernel";
  scheduler::install(nullptr);
  word.store(2, std::memory_order_relaxed);
  EXPECT_EQ(recorder.kinds, (std::vector{AccessKind::store, AccessKind::load, AccessKind::update}));
  EXPECT_EQ(recorder.waits, 1);
}

#else

TEST(Scheduler, IsNotThereWithoutItsBuild) {
  static_assert(sizeof(Atomic<std::uint32_t>) == sizeof(std::atomic<std::uint32_t>));
  const std::atomic<std::uint32_t> word{0};
  EXPECT_EQ(scheduler::run_wait(word, 1, false), scheduler::WaitOutcome::not_controlled);
}

#endif

}  // namespace
}  // namespace holdfast
