// The seam for a controlled scheduler: every protocol atomic and every protocol wait passes here first.
//
// Without HOLDFAST_SCHEDULER the calls are empty. With it, a test installs a Scheduler; threads that it does not
// control pass through untouched.
#pragma once

#include <cstdint>

namespace holdfast::scheduler {

enum class AccessKind : std::uint8_t { load, store, update, wait, wake };

#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  // Called on the accessing thread before the access; returns when the thread may go on.
  virtual void before_access(const void* word, AccessKind kind) = 0;
  // Called instead of sleeping: returns true if the scheduler ran the wait itself (the caller rechecks its condition).
  virtual bool run_wait(const void* word) = 0;
};
void install(Scheduler* scheduler);
void before_access(const void* word, AccessKind kind);
bool run_wait(const void* word);
#else
inline void before_access(const void*, AccessKind) {}
inline bool run_wait(const void*) { return false; }
#endif

}  // namespace holdfast::scheduler
