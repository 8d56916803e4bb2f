#include "base/scheduler.h"

#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER

namespace holdfast::scheduler {
namespace {

// Installed before the controlled threads start and removed after they ended; what a thread sees of the scheduler's own
// state it sees through this pointer (release here, acquire in each call).
std::atomic<Scheduler*> installed{nullptr};

Scheduler* now() { return installed.load(std::memory_order_acquire); }

}  // namespace

void install(Scheduler* scheduler) { installed.store(scheduler, std::memory_order_release); }

void before_access(const void* word, AccessKind kind) {
  if (Scheduler* const scheduler = now()) scheduler->before_access(word, kind);
}

bool hold_back(void* word, std::uint64_t bits, CommitStore commit) {
  Scheduler* const scheduler = now();
  return scheduler != nullptr && scheduler->hold_back(word, bits, commit);
}

bool own_store(const void* word, std::uint64_t& bits) {
  Scheduler* const scheduler = now();
  return scheduler != nullptr && scheduler->own_store(word, bits);
}

WaitOutcome run_wait(const std::atomic<std::uint32_t>& word, std::uint32_t token, bool bounded) {
  Scheduler* const scheduler = now();
  return scheduler == nullptr ? WaitOutcome::not_controlled : scheduler->run_wait(word, token, bounded);
}

bool lock(std::mutex& mutex) {
  Scheduler* const scheduler = now();
  return scheduler != nullptr && scheduler->lock(mutex);
}

void unlocked(std::mutex& mutex) {
  if (Scheduler* const scheduler = now()) scheduler->unlocked(mutex);
}

}  // namespace holdfast::scheduler
#endif
