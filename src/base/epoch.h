// Epochs: memory that lock-free readers may still see is reused only after they have all moved on.
//
// A reader brackets its walk in an EpochGuard (nests; no lock, no system call). retire() hands memory over; it is
// destroyed once every guard that existed at the time has ended. synchronize() waits for exactly that.
//
// Ordering: entering publishes the thread's epoch before the walk's first load. Where membarrier(2) exists the reader
// pays a compiler fence only and the reclaimer pays the barrier; elsewhere, and under a sanitizer or the test
// scheduler, the reader's store is sequentially consistent.
#pragma once

namespace holdfast::epoch {

void enter() noexcept;
void leave() noexcept;
// Whether the calling thread is inside a guard.
bool inside() noexcept;

// `destroy(object)` runs later, on any thread, holding no lock.
void retire(void* object, void (*destroy)(void*));

template <typename T>
void retire(T* object) {
  retire(static_cast<void*>(object), [](void* memory) { delete static_cast<T*>(memory); });
}

// Waits until every guard that was open at the call has ended. Precondition: !inside(). Never waits for a pin.
void synchronize();

// Destroys everything retired so far that can be; for tests and shutdown.
void flush();

class Guard {
 public:
  Guard() noexcept { enter(); }
  ~Guard() { leave(); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
};

}  // namespace holdfast::epoch
