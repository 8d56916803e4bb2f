#include "base/wait_queue.h"

#include <array>
#include <cstdint>

#include "base/fork.h"
#include "base/mark.h"
#include "base/mutex.h"

namespace holdfast {

// Invariants
//   W1  a Waiter is on its bucket's list from construction to destruction; list and links change under the lock.
//   W2  a Parker is unparked under the lock of a bucket that holds its waiter, hence while it lives.
struct alignas(64) WaitBucket {
  Mutex mutex{LockRank::wait_bucket};
  Waiter* first HF_GUARDED_BY(mutex) = nullptr;
};

namespace {

constexpr unsigned kBucketBits = 8;
using Buckets = std::array<WaitBucket, std::size_t{1} << kBucketBits>;

Buckets* make_buckets();

// Lives as long as the process: threads may wait until its very end.
Buckets*& buckets() {
  static Buckets* table = make_buckets();
  return table;
}

// A child starts with empty buckets: the lists it inherited lead through stacks of threads that do not exist there,
// and their locks may be held for ever.
Buckets* make_buckets() {
  on_fork_in_child([] { buckets() = new Buckets; });
  return new Buckets;
}

WaitBucket& bucket_of(const void* key) {
  // Multiplicative hashing: keys are aligned addresses, often neighbours; the upper bits of the product mix them all.
  const auto hash = static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(key)) * 0x9E3779B97F4A7C15U;
  return (*buckets())[hash >> (64 - kBucketBits)];
}

bool inherited_over_fork(const WaitBucket* bucket) {
  const Buckets& table = *buckets();
  return bucket < table.data() || bucket >= table.data() + table.size();
}

}  // namespace

Waiter::Waiter(const void* key, Parker& parker) : key_(key), parker_(parker), bucket_(&bucket_of(key)) {
  const MutexLock lock(bucket_->mutex);
  next_ = bucket_->first;
  if (next_ != nullptr) next_->previous_ = this;
  bucket_->first = this;
}

Waiter::~Waiter() {
  if (inherited_over_fork(bucket_)) return;
  const MutexLock lock(bucket_->mutex);
  if (next_ != nullptr) next_->previous_ = previous_;
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else {
    bucket_->first = next_;
  }
}

void wake(const void* key) {
  scheduler::before_access(key, scheduler::AccessKind::wake);
  WaitBucket& bucket = bucket_of(key);
  const MutexLock lock(bucket.mutex);
  HF_MARK("wait_queue.waking");
  for (Waiter* waiter = bucket.first; waiter != nullptr; waiter = waiter->next_) {
    if (waiter->key_ == key) waiter->parker_.unpark();
  }
}

}  // namespace holdfast
