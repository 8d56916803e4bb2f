// Waiting on an address: hashed buckets of waiters, each with its own Parker.
//
// Protocol of a waiter: construct (queued from then on), test the condition, park if it does not hold, test again.
// Protocol of a waker: make the condition true, then wake(key). Queueing and waking take the bucket's lock, and the
// condition is tested after queueing, so either the waiter sees the condition or the waker sees the waiter (no lost
// wake). Test: WaitQueue.NoWakeIsLost. A Parker may be unparked more often than its condition changes; the condition is
// always tested again.
//
// Several waiters (of different keys) may share one Parker: that is how one thread waits for many breaks at once.
#pragma once

#include "base/parker.h"

namespace holdfast {

struct WaitBucket;

class Waiter {
 public:
  Waiter(const void* key, Parker& parker);
  // After return no waker touches the Parker on behalf of this waiter.
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  const void* key() const { return key_; }

 private:
  friend void wake(const void* key);
  const void* key_;
  Parker& parker_;
  WaitBucket* const bucket_;
  Waiter* previous_ = nullptr;
  Waiter* next_ = nullptr;
};

// Wakes every waiter of `key`. Touches nothing that the key points to: the key is an address and no more.
void wake(const void* key);

// Sleeps until condition() holds; tests it first. `unparked` when it held.
template <typename Condition>
ParkOutcome wait_until(const void* key, Deadline deadline, Condition condition) {
  if (condition()) return ParkOutcome::unparked;
  Parker parker;
  const Waiter waiter(key, parker);
  for (;;) {
    if (condition()) return ParkOutcome::unparked;
    const ParkOutcome outcome = parker.park(deadline);
    if (outcome != ParkOutcome::unparked) return condition() ? ParkOutcome::unparked : outcome;
  }
}

}  // namespace holdfast
