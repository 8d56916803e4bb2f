// Runs a small concurrent program under every schedule, on the real code.
//
// The program's threads are real threads of which one runs at a time. Before each protocol access (base/atomic.h),
// lock, wake and wait the running thread comes here, and the explorer decides who goes on. A schedule is the list of
// these decisions; the next one differs from the last in its last decision that has an alternative left. Since the
// program does nothing else that depends on time or chance, a schedule can be run again.
//
// Bounds, so that an end comes:
//   preemptions  how often a thread that could go on is stopped for another. Switches where the running thread sleeps,
//                waits for a lock or ends cost nothing and are all tried.
//   delays       how many stores are kept in a store buffer, as x86 and others do: other threads see the old value
//   until
//                the thread's next update, lock, wake, sleep or end. Loads of the thread itself see the new one.
//
// Schedules that differ only in the order of accesses that do not conflict are one: a thread that was stopped before an
// access goes on only once another one has made an access that conflicts with it. Had none, the access could as well
// have come before the stop, with as many preemptions or one less, and that schedule is run, too: it comes earlier in
// the order of decisions, so that there is a first one of each kind, which has no such stop. This needs every word that
// threads share to be an access, a program's own shadows among them (Shadow).
//
// A failed check, a broken invariant (HF_CHECK, SIGABRT), a thread that never ends and a state where all wait are
// findings, and come with the schedule that led there. After the last two the program's threads cannot be ended: the
// explorer reports and ends the process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace holdfast::explore {

// One run of a program: its state, its threads, and what must hold at the end. Checks call fail().
class Scene {
 public:
  virtual ~Scene() = default;
  virtual std::vector<std::function<void()>> threads() = 0;
  // When all threads have ended; on the explorer's own thread.
  virtual void after() {}
};

struct Program {
  const char* name;
  const char* about;
  std::function<std::unique_ptr<Scene>()> stage;
};

struct Bounds {
  unsigned preemptions = 3;
  unsigned delays = 1;
  std::uint64_t schedules = 0;  // 0: all
};

struct Findings {
  std::uint64_t schedules = 0;
  std::uint64_t decisions_max = 0;  // in one schedule
  bool all = false;                 // every schedule within the bounds was run
  std::optional<std::string> failure;
  std::string schedule;  // that led to the failure
};

// Stops at the first failure. One exploration at a time in a process.
Findings explore(const Program& program, const Bounds& bounds);

// From a program's thread or after(): the first one counts.
void fail(const std::string& what);
inline void expect(bool holds, const char* what) {
  if (!holds) fail(what);
}

}  // namespace holdfast::explore
