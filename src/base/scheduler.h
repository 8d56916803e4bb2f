// The seam for a controlled scheduler: every protocol atomic, every lock and every wait passes here first.
//
// Without HOLDFAST_SCHEDULER the calls are empty. With it, a test installs a Scheduler (tests/explore/explorer.h);
// threads that it does not control pass through untouched.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

namespace holdfast::scheduler {

enum class AccessKind : std::uint8_t {
  load,
  store,
  update,  // a read-modify-write, or a sequentially consistent store: what this thread held back is seen before it
  lock,
  wake,
};
enum class WaitOutcome : std::uint8_t { not_controlled, token, timed_out };

// Puts a stored value where others see it.
using CommitStore = void (*)(void* word, std::uint64_t bits);

#if defined(HOLDFAST_SCHEDULER) && HOLDFAST_SCHEDULER
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  // Called on the accessing thread before the access; returns when the thread may go on.
  virtual void before_access(const void* word, AccessKind kind) = 0;
  // A store that the processor may keep in its store buffer. True: it is kept, and committed later.
  virtual bool hold_back(void* word, std::uint64_t bits, CommitStore commit) = 0;
  // What the calling thread stored to the word and nobody else sees yet.
  virtual bool own_store(const void* word, std::uint64_t& bits) = 0;
  // Sleeps until `word` is `token`; where `bounded`, it may time out instead.
  virtual WaitOutcome run_wait(const std::atomic<std::uint32_t>& word, std::uint32_t token, bool bounded) = 0;
  // False: the thread is not controlled, and locks by itself.
  virtual bool lock(std::mutex& mutex) = 0;
  virtual void unlocked(std::mutex& mutex) = 0;
};
void install(Scheduler* scheduler);
void before_access(const void* word, AccessKind kind);
bool hold_back(void* word, std::uint64_t bits, CommitStore commit);
bool own_store(const void* word, std::uint64_t& bits);
WaitOutcome run_wait(const std::atomic<std::uint32_t>& word, std::uint32_t token, bool bounded);
bool lock(std::mutex& mutex);
void unlocked(std::mutex& mutex);
#else
inline void before_access(const void*, AccessKind) {}
inline WaitOutcome run_wait(const std::atomic<std::uint32_t>&, std::uint32_t, bool) {
  return WaitOutcome::not_controlled;
}
inline bool lock(std::mutex&) { return false; }
inline void unlocked(std::mutex&) {}
#endif

}  // namespace holdfast::scheduler
