// The page descriptors of one device, and the only code that changes their counts.
//
// Attach reserves address space for the descriptors and touches none of them. Who holds a page holds the device: the
// count of pages with refcount > 0 keeps the PageMap's keeper (the file system's core) alive.
//
// Locking: no locks on counts; every function may be called from any thread. try_pin, unpin and the predicates never
// block. "unit" below is the folio of `order` that starts at `first`, which is aligned to it.
//
// In a forked child the descriptors read as zero: nothing can be pinned, and giving back what the parent held does
// nothing.
#pragma once

#include <cstdint>
#include <memory>

#include "base/check.h"
#include "base/mark.h"
#include "base/result.h"
#include "base/units.h"
#include "pagemap/device_references.h"
#include "pagemap/page.h"

namespace holdfast::pagemap {

// Upcall 1 of 3: who is told that nothing refers to a page any more.
class PageOwner {
 public:
  // A unit that this owner had associated lost its last reference by an unpin (its entry was zapped before). Runs once
  // per such step, on the thread that released, inside an epoch, after every store to the descriptor; the unit's
  // waiters were woken before, and the device is still held. Must not block, must not throw, and must not wait for an
  // epoch. The unit may have been associated again meanwhile: whoever frees looks at its counts once more.
  virtual void last_put(Pfn first, Order order) noexcept = 0;

 protected:
  ~PageOwner() = default;
};

enum class TakeOutcome : std::uint8_t {
  taken,
  untracked,  // no entry names the unit (any more): look again, slowly
  breaking,   // a break waits for the unit
  full,       // 4,194,303 pins: EAGAIN
};

class PageMap {
 public:
  // ENOMEM: no address space for the descriptors. `keeper` may be null (tests).
  static Result<std::unique_ptr<PageMap>> create(PageCount pages, DeviceKeeper* keeper);
  ~PageMap();
  PageMap(const PageMap&) = delete;
  PageMap& operator=(const PageMap&) = delete;

  PageCount pages() const { return pages_; }
  Page& page(Pfn pfn) const {
    HF_DEBUG_CHECK(pfn.raw() < pages_.raw(), "page {} of a device of {}", pfn.raw(), pages_.raw());
    return table_[pfn.raw()];
  }
  // The count word of a unit: the page's own (order 0), or the unit's room. Its address is the wait key of the unit.
  Atomic<std::uint32_t>& count(Pfn first, Order order) const;
  CountWord read(Pfn first, Order order) const;

  // --- owners ---
  OwnerId add_owner(PageOwner& owner);
  // After return no upcall to the owner runs or will run. Precondition: not called from last_put nor inside an epoch,
  // and no lock is held that a last_put takes.
  void remove_owner(OwnerId id);
  // The back pointer of a unit with refcount > 0.
  OwnerId owner(Pfn first, Order order) const;
  PageIndex index(Pfn first, Order order) const;

  // --- association (called by the mapping layer with the entry locked) ---
  // tracked + 1. From refcount 0 it also sets owner and index (P5) and takes a device reference (P3).
  // ENODEV: the map is closed for new associations. EMLINK: tracked is full. Nothing changed then.
  Status track(Pfn first, Order order, OwnerId owner, PageIndex index);
  // tracked - 1; exactly one call for each track. Returns the word after the step. When that made refcount 0 the
  // device reference is given back; last_put is not called (the caller looks for itself).
  CountWord untrack(Pfn first, Order order);
  // Moves the back pointer of a unit whose refcount may be > 0 (a block that goes to a holding inode). The caller has
  // made sure that no entry names the unit, and lets an epoch pass between two moves of one unit.
  // Returns the word at the move. refcount > 0: the last unpin tells the new owner. refcount 0: nobody need be told
  // any more, the caller goes on itself; the last unpin has told the old owner or the new one.
  CountWord set_owner(Pfn first, Order order, OwnerId owner, PageIndex index);

  // --- pins ---
  // One conditional increment (P2). The caller must still verify the entry from the root of the tree and undo by
  // unpin() when it changed.
  TakeOutcome try_pin(Pfn first, Order order) const;
  // pins - 1. Wakes a sleeper that was announced, and on the step to pins == 0 also whoever waits under a break mark;
  // on refcount 0 tells the owner and returns the device reference. Touches nothing of the unit after the step.
  void unpin(Pfn first, Order order) const;

  // --- predicates: racy by nature; stable only while new references are kept out ---
  // P4, for one page: its own count and those of the 2 MiB and 1 GiB units around it have no pins.
  bool idle(Pfn pfn) const;
  // First page of [first, first + count) that is not idle, or first + count.
  Pfn first_busy(Pfn first, PageCount count) const;
  // First page of [first, first + count) that is idle, or first + count. Where a unit has pins it looks at no page.
  Pfn first_idle(Pfn first, PageCount count) const;
  // First page of [first, first + count) whose own count has a reference, or first + count.
  Pfn first_referenced(Pfn first, PageCount count) const;
  // refcount of the page, with those of the units around it: what inspection reports; 0 for a page nobody uses.
  std::uint32_t refcount(Pfn pfn) const;
  // Whether a unit of `order` may form: every count of its pages and smaller units has refcount 0, and no pin is left
  // on the unit itself or on a larger one around it. Reads every descriptor of the unit (1 GiB: 4 MiB of memory).
  bool unused(Pfn first, Order order) const;

  // --- breaks ---
  void set_break(Pfn first, Order order) const;
  // Clears the mark and wakes whoever waits for the unit.
  void clear_break(Pfn first, Order order) const;
  // Announces a sleeper on the unit's key; returns the word after. Pairs with unpin: the next one wakes, whatever is
  // left, and a sleeper that wants to sleep on announces itself again. Announces nothing when no pin is left.
  // Use: wait_until(&map.count(first, order), deadline, [&] { return map.announce_waiter(first, order).pins() == 0; })
  CountWord announce_waiter(Pfn first, Order order) const;

  // --- device references ---
  // No association begins, and none is still being made, after this returned (ENODEV). Precondition: not in an epoch.
  void close();
  // Pages (units) with refcount > 0, exact only when quiet.
  std::uint64_t references() const;
  // Gives up the creator's own reference; when no page holds the device, or once none does, keeper->drained() runs.
  // Call once, after close().
  void release_creator();

 private:
  PageMap() = default;
  struct Parts;

  Page& descriptor(Pfn first, Order order) const;
  // unpin when it may be the last reference, or when there is none to give back.
  void unpin_last(Pfn first, Order order) const;
  // Wakes whoever an unpin from `before` has to wake. Only the address is used.
  static void wake_after_unpin(const Atomic<std::uint32_t>* key, CountWord before);

  PageCount pages_;
  Page* table_ = nullptr;
  std::unique_ptr<Parts> parts_;
};

inline Page& PageMap::descriptor(Pfn first, Order order) const {
  HF_DEBUG_CHECK(first.is_aligned(order), "page {} begins no unit of order {}", first.raw(), order.raw());
  HF_DEBUG_CHECK(first.raw() < pages_.raw(), "page {} of a device of {}", first.raw(), pages_.raw());
  return table_[first.raw() + (order == kOrder1G ? 1 : 0)];
}

inline Atomic<std::uint32_t>& PageMap::count(Pfn first, Order order) const {
  Page& at = descriptor(first, order);
  return order == kOrder4K ? at.own_count : at.unit_count;
}

inline CountWord PageMap::read(Pfn first, Order order) const {
  // seq_cst: the caller changed an entry and now reads pins. Partner: the increment in try_pin, after which the entry
  // is read again.
  return CountWord{count(first, order).load(std::memory_order_seq_cst)};
}

inline TakeOutcome PageMap::try_pin(Pfn first, Order order) const {
  Atomic<std::uint32_t>& word = count(first, order);
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  do {
    if ((seen & CountWord::kTrackedMask) == 0) return TakeOutcome::untracked;
    if ((seen & CountWord::kBreak) != 0) return TakeOutcome::breaking;
    if ((seen & CountWord::kPinMask) == CountWord::kPinMask) return TakeOutcome::full;
    // seq_cst: partner is read(). Either the reader sees this pin, or the caller's second look at the entry sees the
    // reader's change. Partner also: the fetch_or in set_break, on this very word.
  } while (!word.compare_exchange_weak(seen, seen + CountWord::kPinUnit, std::memory_order_seq_cst));
  HF_MARK("pagemap.pinned");
  return TakeOutcome::taken;
}

inline void PageMap::unpin(Pfn first, Order order) const {
  constexpr std::uint32_t kReferences = CountWord::kPinMask | CountWord::kTrackedMask;
  Atomic<std::uint32_t>& word = count(first, order);
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  while ((seen & kReferences) > CountWord::kPinUnit && (seen & CountWord::kPinMask) != 0) {
    const std::uint32_t after = (seen - CountWord::kPinUnit) & ~CountWord::kWaiters;
    // release: what the holder did to the bytes happens before what a waiter does that reads the lower count.
    if (word.compare_exchange_weak(seen, after, std::memory_order_acq_rel)) {
      if (__builtin_expect((seen & (CountWord::kWaiters | CountWord::kBreak)) != 0, 0)) {
        wake_after_unpin(&word, CountWord{seen});
      }
      return;
    }
  }
  unpin_last(first, order);
}

}  // namespace holdfast::pagemap
