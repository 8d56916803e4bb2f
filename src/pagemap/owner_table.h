// Owner ids and the owners they name: looked up without a lock, inside an epoch.
//
// An id is the number of a slot and the slot's generation, so that a stale id names nobody rather than a newcomer.
//
// Either/or between an upcall and remove(): the upcall looks the id up inside an epoch; remove clears the id and then
// waits for the epochs that were open. Either the lookup finds nothing, or remove waits for the upcall to return.
// Test: OwnerTable.RemoveWaitsForTheUpcall.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/atomic.h"
#include "base/mutex.h"
#include "pagemap/page.h"

namespace holdfast::pagemap {

class PageOwner;

class OwnerTable {
 public:
  OwnerTable() = default;
  ~OwnerTable();
  OwnerTable(const OwnerTable&) = delete;
  OwnerTable& operator=(const OwnerTable&) = delete;

  // At most kMaxOwners at a time (a check).
  OwnerId add(PageOwner& owner);
  // Waits for the upcalls that run. Precondition: not inside an epoch.
  void remove(OwnerId id);
  // nullptr: no such owner (any more). The caller is inside an epoch, and the owner lives until it leaves.
  PageOwner* find(OwnerId id) const;

  static constexpr std::uint32_t kMaxOwners = 1U << 24;

 private:
  struct Slot {
    Atomic<OwnerId> id;  // 0: free, or going
    Atomic<PageOwner*> owner;
    std::uint32_t generation = 0;  // guarded by mutex_
  };
  static constexpr std::uint32_t kSlotBits = 24;
  static constexpr std::uint32_t kChunkSlots = 4096;
  using Chunk = std::array<Slot, kChunkSlots>;

  // nullptr: none of its neighbours was given out yet.
  Slot* slot(std::uint32_t number) const;

  // Chunks are added under the mutex and never moved; the table is 32 KiB of pointers.
  std::array<Atomic<Chunk*>, kMaxOwners / kChunkSlots> chunks_;
  Mutex mutex_{LockRank::leaf};
  std::uint32_t used_ HF_GUARDED_BY(mutex_) = 0;          // slots that were ever given out
  std::deque<std::uint32_t> free_ HF_GUARDED_BY(mutex_);  // oldest first: generations last as long as possible
};

}  // namespace holdfast::pagemap
