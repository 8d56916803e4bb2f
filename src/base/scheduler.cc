#include "base/scheduler.h"

#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER
#include <atomic>

namespace holdfast::scheduler {
namespace {

// Installed before the controlled threads start and removed after they ended; what a thread sees of the scheduler's own
// state it sees through this pointer (release here, acquire in each call).
std::atomic<Scheduler*> installed{nullptr};

}  // namespace

void install(Scheduler* scheduler) { installed.store(scheduler, std::memory_order_release); }

void before_access(const void* word, AccessKind kind) {
  if (Scheduler* const scheduler = installed.load(std::memory_order_acquire)) scheduler->before_access(word, kind);
}

bool run_wait(const void* word) {
  Scheduler* const scheduler = installed.load(std::memory_order_acquire);
  return scheduler != nullptr && scheduler->run_wait(word);
}

}  // namespace holdfast::scheduler
#endif
