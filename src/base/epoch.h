// Epochs: memory that lock-free readers may still see is reused only after they have all moved on.
//
// A reader brackets its walk in a Guard (nests; no lock, no system call). retire() hands memory over; it is destroyed
// once every guard that existed at the time has ended. synchronize() waits for exactly that.
//
// Ordering: entering publishes the thread's epoch before the walk's first load. Where membarrier(2) exists the reader
// pays a compiler fence only and the reclaimer pays the barrier; elsewhere, and under ThreadSanitizer or the test
// scheduler, the reader's store is sequentially consistent. HOLDFAST_MASK=membarrier in the environment masks it.
//
// Either/or: a reader publishes its epoch, then loads pointers; a reclaimer unlinks, passes a heavy barrier, then reads
// the published epochs. Either the reclaimer sees the reader and waits, or the reader sees the unlinked state.
// Test: Epoch.ReadersNeverSeeReclaimedMemory.
//
// In a forked child the guards of the parent's other threads are forgotten, and so is what the parent had retired.
#pragma once

#include <cstdint>

#include "base/atomic.h"

namespace holdfast::epoch {

// Whether the calling thread is inside a guard.
bool inside() noexcept;

// `destroy(object)` runs later, on any thread that calls retire, synchronize or flush; it must take no lock that a
// caller of retire may hold. It may itself retire. Nothing of the epoch machinery is locked meanwhile. Never blocks.
void retire(void* object, void (*destroy)(void*));

template <typename T>
void retire(T* object) {
  retire(static_cast<void*>(object), [](void* memory) { delete static_cast<T*>(memory); });
}

// Calls `run(object)` on this thread, when it is in no guard any more: at the end of its outermost one, or at once. For
// what may wait for an epoch. One at a time.
void outside(void* object, void (*run)(void*));

// Waits until every guard that was open at the call has ended. Precondition: !inside(). Never waits for a pin.
void synchronize();

// Destroys everything retired so far that can be: outside of a guard that is all of it, also what other threads are
// destroying at the moment. For tests and shutdown. Not from within `destroy`.
void flush();

namespace detail {

#if defined(__SANITIZE_THREAD__)
#define HF_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HF_THREAD_SANITIZER 1
#endif
#endif

// One per thread that ever entered; reused by later threads, never freed.
struct alignas(64) Record {
  Atomic<std::uint64_t> entered;  // the epoch in which the outermost guard began; 0: outside
  Atomic<std::uint32_t> awaited;  // sleepers that want to hear of the end of the guard, and 1 for run_outside
  Atomic<bool> taken;
  Record* next = nullptr;
  // By the thread itself: what is to run when it is outside.
  void (*run_outside)(void*) = nullptr;
  void* outside_object = nullptr;

  // By the thread itself. Through word(): nobody else stores there, so the test scheduler has nothing to order.
  bool inside() noexcept { return entered.word().load(std::memory_order_relaxed) != 0; }
};

extern constinit thread_local Record* own_record __attribute__((tls_model("initial-exec")));
[[gnu::visibility("hidden")]] extern constinit Atomic<std::uint64_t> current;
// Decided before the first record is handed out.
[[gnu::visibility("hidden")]] extern bool asymmetric;

Record* register_thread() noexcept;
// The guard of the calling thread has ended, and somebody wants to hear of it.
void tell_end(Record* record) noexcept;

// Publishes `epoch` before everything that follows in program order. Partner: heavy_barrier() in epoch.cc.
inline void publish(Record& record, std::uint64_t epoch) noexcept {
  if (__builtin_expect(asymmetric, 1)) {
    // release: the walk that ended, if any, happens before what the reclaimer does when it sees this value.
    record.entered.store(epoch, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return;
  }
  record.entered.exchange(epoch, std::memory_order_seq_cst);
#if !defined(HF_THREAD_SANITIZER)
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace detail

// A scope, so guards of a thread end in the reverse order of their beginning: the outermost one publishes, and no depth
// need be counted (a counter would be a chain of dependent loads and stores through every pin and unpin).
class Guard {
 public:
  Guard() noexcept {
    detail::Record* record = detail::own_record;
    if (__builtin_expect(record == nullptr, 0)) record = detail::register_thread();
    if (record->inside()) return;
    outermost_ = record;
    // acquire: partner is the increment in begin_grace(); who reads the new epoch sees what was unlinked before it.
    detail::publish(*record, detail::current.load(std::memory_order_acquire));
  }
  ~Guard() {
    if (outermost_ == nullptr) return;
    // Either the sleeper's test sees 0, or the load of `awaited` sees the sleeper: both sides pass their barrier
    // between.
    detail::publish(*outermost_, 0);
    if (__builtin_expect(outermost_->awaited.load(std::memory_order_relaxed) != 0, 0)) {
      detail::tell_end(outermost_);
    }
  }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;

 private:
  detail::Record* outermost_ = nullptr;  // the thread's record, in its outermost guard
};

inline bool inside() noexcept { return detail::own_record != nullptr && detail::own_record->inside(); }

}  // namespace holdfast::epoch
