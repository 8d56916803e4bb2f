// An annotated mutex with a rank, and its guards.
//
// Clang's thread-safety analysis proves that a guarded member is touched with its mutex held; debug builds check that
// ranks rise. Several mutexes of one rank (two inodes) are taken by address order through MutexPair.
#pragma once

#include <mutex>
#include <shared_mutex>

#include "base/lock_rank.h"
#include "base/scheduler.h"

#if defined(__clang__)
#define HF_ANNOTATE(x) __attribute__((x))
#else
#define HF_ANNOTATE(x)
#endif
#define HF_CAPABILITY(name) HF_ANNOTATE(capability(name))
#define HF_SCOPED_CAPABILITY HF_ANNOTATE(scoped_lockable)
#define HF_GUARDED_BY(mutex) HF_ANNOTATE(guarded_by(mutex))
#define HF_PT_GUARDED_BY(mutex) HF_ANNOTATE(pt_guarded_by(mutex))
#define HF_REQUIRES(...) HF_ANNOTATE(requires_capability(__VA_ARGS__))
#define HF_REQUIRES_SHARED(...) HF_ANNOTATE(requires_shared_capability(__VA_ARGS__))
#define HF_EXCLUDES(...) HF_ANNOTATE(locks_excluded(__VA_ARGS__))
#define HF_ACQUIRE(...) HF_ANNOTATE(acquire_capability(__VA_ARGS__))
#define HF_RELEASE(...) HF_ANNOTATE(release_capability(__VA_ARGS__))
#define HF_RETURN_CAPABILITY(x) HF_ANNOTATE(lock_returned(x))
#define HF_NO_THREAD_SAFETY_ANALYSIS HF_ANNOTATE(no_thread_safety_analysis)

namespace holdfast {

namespace lock_order {
#if defined(HOLDFAST_DEBUG_CHECKS) && HOLDFAST_DEBUG_CHECKS
void acquiring(const void* mutex, LockRank rank, bool same_rank_allowed);
void released(const void* mutex);
// For tests and for code that must not run under a lock: whether this thread holds a mutex of `rank`.
bool held(LockRank rank);
#else
inline void acquiring(const void*, LockRank, bool) {}
inline void released(const void*) {}
inline bool held(LockRank) { return false; }
#endif
}  // namespace lock_order

class HF_CAPABILITY("mutex") Mutex {
 public:
  explicit Mutex(LockRank rank) : rank_(rank) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() HF_ACQUIRE() {
    lock_order::acquiring(this, rank_, false);
    take();
  }
  // Never waits.
  bool try_lock() HF_ANNOTATE(try_acquire_capability(true)) {
    scheduler::before_access(&mutex_, scheduler::AccessKind::lock);
    if (!mutex_.try_lock()) return false;
    lock_order::acquiring(this, rank_, false);
    return true;
  }
  void lock_second_of_rank() HF_ACQUIRE() {
    lock_order::acquiring(this, rank_, true);
    take();
  }
  void unlock() HF_RELEASE() {
    lock_order::released(this);
    mutex_.unlock();
    scheduler::unlocked(mutex_);
  }
  // For code that took the mutex in a way the static analysis cannot follow (several inodes at once).
  void assert_held() const HF_ANNOTATE(assert_capability(this)) {}

 private:
  void take() {
    if (!scheduler::lock(mutex_)) mutex_.lock();
  }

  std::mutex mutex_;
  const LockRank rank_;
};

class HF_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) HF_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() HF_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Two mutexes of one rank, which may be the same one.
class MutexPair {
 public:
  MutexPair(Mutex& a, Mutex& b) HF_NO_THREAD_SAFETY_ANALYSIS : low_(&a < &b ? a : b), high_(&a < &b ? b : a) {
    low_.lock();
    if (&low_ != &high_) high_.lock_second_of_rank();
  }
  ~MutexPair() HF_NO_THREAD_SAFETY_ANALYSIS {
    if (&low_ != &high_) high_.unlock();
    low_.unlock();
  }
  MutexPair(const MutexPair&) = delete;
  MutexPair& operator=(const MutexPair&) = delete;

 private:
  Mutex& low_;
  Mutex& high_;
};

class HF_CAPABILITY("shared_mutex") SharedMutex {
 public:
  explicit SharedMutex(LockRank rank) : rank_(rank) {}
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void lock() HF_ACQUIRE() {
    lock_order::acquiring(this, rank_, false);
    mutex_.lock();
  }
  void unlock() HF_RELEASE() {
    lock_order::released(this);
    mutex_.unlock();
  }
  void lock_shared() HF_ANNOTATE(acquire_shared_capability()) {
    lock_order::acquiring(this, rank_, false);
    mutex_.lock_shared();
  }
  void unlock_shared() HF_ANNOTATE(release_shared_capability()) {
    lock_order::released(this);
    mutex_.unlock_shared();
  }

 private:
  std::shared_mutex mutex_;
  const LockRank rank_;
};

class HF_SCOPED_CAPABILITY ExclusiveLock {
 public:
  explicit ExclusiveLock(SharedMutex& mutex) HF_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~ExclusiveLock() HF_RELEASE() { mutex_.unlock(); }
  ExclusiveLock(const ExclusiveLock&) = delete;
  ExclusiveLock& operator=(const ExclusiveLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class HF_SCOPED_CAPABILITY SharedLock {
 public:
  explicit SharedLock(SharedMutex& mutex) HF_ANNOTATE(acquire_shared_capability(mutex)) : mutex_(mutex) {
    mutex_.lock_shared();
  }
  ~SharedLock() HF_RELEASE() { mutex_.unlock_shared(); }
  SharedLock(const SharedLock&) = delete;
  SharedLock& operator=(const SharedLock&) = delete;

 private:
  SharedMutex& mutex_;
};

}  // namespace holdfast
