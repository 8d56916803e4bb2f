// Who holds the device: its creator, and every unit with refcount > 0.
//
// Invariants
//   D1  the count falls to 0 exactly once, and never rises from there; who made it 0 calls drained() and then touches
//       nothing of the device.
//   D2  after close() no reference is taken.
#pragma once

#include <cstdint>

#include "base/atomic.h"
#include "base/trace.h"

namespace holdfast::pagemap {

// Told once, when the map was closed and the last page reference is gone: the keeper may destroy everything. Runs on
// the thread that gave the last reference back, which touches nothing of the map afterwards. That thread may be inside
// an epoch (a pin that was undone) or hold its caller's locks: an implementation must not block, and hands what blocks
// to another thread or to epoch::retire.
class DeviceKeeper {
 public:
  virtual void drained() noexcept = 0;

 protected:
  ~DeviceKeeper() = default;
};

class DeviceReferences {
 public:
  explicit DeviceReferences(DeviceKeeper* keeper) : keeper_(keeper), state_(kCreator) {}

  // False: closed, or nobody holds the device any more.
  bool try_get() {
    std::uint64_t seen = state_.load(std::memory_order_relaxed);
    do {
      if ((seen & kClosed) != 0 || seen == 0) return false;
      // relaxed: the reference is taken before the count of the unit that it stands for can be seen.
    } while (!state_.compare_exchange_weak(seen, seen + 1, std::memory_order_relaxed));
    return true;
  }

  void put() {
    DeviceKeeper* const keeper = keeper_;
    // acq_rel: what every holder did with the device happens before drained(). Partners: the other holders' puts.
    const std::uint64_t before = state_.fetch_sub(1, std::memory_order_acq_rel);
    if ((before & ~kClosed) != 1) return;
    HF_TRACE1(device_drained, keeper);
    if (keeper != nullptr) keeper->drained();
  }

  void close() { state_.fetch_or(kClosed, std::memory_order_seq_cst); }
  bool closed() const { return (state_.load(std::memory_order_seq_cst) & kClosed) != 0; }

  void put_creator() {
    state_.fetch_sub(kCreator - 1, std::memory_order_relaxed);
    put();
  }

  // Units with refcount > 0.
  std::uint64_t units() const { return state_.load(std::memory_order_relaxed) & (kCreator - 1); }

 private:
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63;
  // The creator's reference has a bit of its own, so that units can be told from it.
  static constexpr std::uint64_t kCreator = std::uint64_t{1} << 62;

  DeviceKeeper* const keeper_;
  Atomic<std::uint64_t> state_;
};

}  // namespace holdfast::pagemap
