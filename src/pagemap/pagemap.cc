#include "pagemap/pagemap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>

#include "base/epoch.h"
#include "base/fault_point.h"
#include "base/fork.h"
#include "base/trace.h"
#include "base/wait_queue.h"
#include "pagemap/owner_table.h"

namespace holdfast::pagemap {

struct PageMap::Parts {
  explicit Parts(DeviceKeeper* keeper) : device(keeper) {}

  // The process that made the map; in another the descriptors are wiped.
  bool inherited() const { return fork_generation() != generation; }

  DeviceReferences device;
  OwnerTable owners;
  std::size_t table_bytes = 0;
  const std::uint32_t generation = fork_generation();
};

namespace {

std::string name_of(Pfn first, Order order) { return fmt::format("page {:#x} of order {}", first.raw(), order.raw()); }

}  // namespace

Result<std::unique_ptr<PageMap>> PageMap::create(PageCount pages, DeviceKeeper* keeper) {
  std::unique_ptr<PageMap> map(new PageMap);
  map->parts_ = std::make_unique<Parts>(keeper);
  map->pages_ = pages;
  // One descriptor more: a 1 GiB unit counts in its second page, which a device may end before.
  const std::size_t bytes = static_cast<std::size_t>(round_up((pages.raw() + 1) * sizeof(Page), kPageBytes));
  void* const table = HF_FAULT_POINT("pagemap.map") ? MAP_FAILED
                                                    : mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (table == MAP_FAILED) {
    return Error(ENOMEM, "page descriptors", fmt::format("no address space for {} bytes", bytes),
                 "raise the limit on address space (ulimit -v)");
  }
  map->table_ = static_cast<Page*>(table);
  map->parts_->table_bytes = bytes;
  // A core dump is not to hold them; a child is to find zeros, not a copy, so that what it inherited is inert.
  static_cast<void>(madvise(table, bytes, MADV_DONTDUMP));
  static_cast<void>(madvise(table, bytes, MADV_WIPEONFORK));
  return map;
}

PageMap::~PageMap() {
  if (table_ == nullptr) return;
  HF_DEBUG_CHECK(parts_->inherited() || references() == 0, "P3: {} units are in use at the end of their device",
                 references());
  munmap(table_, parts_->table_bytes);
}

// --- owners ---

OwnerId PageMap::add_owner(PageOwner& owner) { return parts_->owners.add(owner); }
void PageMap::remove_owner(OwnerId id) { parts_->owners.remove(id); }

OwnerId PageMap::owner(Pfn first, Order order) const {
  return descriptor(first, order).owner.load(std::memory_order_relaxed);
}

PageIndex PageMap::index(Pfn first, Order order) const {
  return PageIndex(descriptor(first, order).index.load(std::memory_order_relaxed));
}

// --- association ---

Status PageMap::track(Pfn first, Order order, OwnerId owner, PageIndex index) {
  // close() waits for this guard: either the test of `closed` sees it, or it waits until the association is made.
  const epoch::Guard guard;
  Atomic<std::uint32_t>& word = count(first, order);
  DeviceReferences& device = parts_->device;
  bool holds_device = false;
  int refused = 0;
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  for (;;) {
    if (device.closed()) {
      refused = ENODEV;
      break;
    }
    if (CountWord{seen}.tracked() == CountWord{CountWord::kTrackedMask}.tracked()) {
      refused = EMLINK;
      break;
    }
    const bool from_zero = CountWord{seen}.refcount() == 0;
    if (from_zero && !holds_device) {
      holds_device = device.try_get();
      if (!holds_device) continue;  // closed just now
    }
    if (from_zero) {
      Page& at = descriptor(first, order);
      at.owner.store(owner, std::memory_order_relaxed);
      at.index.store(static_cast<std::uint32_t>(index.raw()), std::memory_order_relaxed);
    }
    HF_MARK("pagemap.tracking");
    // release: who sees tracked > 0 sees owner and index (P5). Partner: the load of the word in unpin_last.
    if (!word.compare_exchange_weak(seen, seen + CountWord::kTrackedUnit, std::memory_order_acq_rel)) continue;
    if (from_zero) holds_device = false;  // the unit holds it now (P3)
    break;
  }
  if (holds_device) device.put();
  if (refused == ENODEV) return Error(ENODEV, name_of(first, order), "the device is being removed");
  if (refused == EMLINK) return Error(EMLINK, name_of(first, order), "127 entries name it already");
  return {};
}

CountWord PageMap::untrack(Pfn first, Order order) {
  Atomic<std::uint32_t>& word = count(first, order);
  std::uint32_t seen = word.load(std::memory_order_relaxed);
  std::uint32_t after = 0;
  do {
    if (CountWord{seen}.tracked() == 0 && parts_->inherited()) return CountWord{seen};
    HF_CHECK(CountWord{seen}.tracked() > 0, "P1: {} is untracked once too often (word {:#x})", name_of(first, order),
             seen);
    after = seen - CountWord::kTrackedUnit;
    if (CountWord{after}.refcount() == 0) after &= ~CountWord::kMoved;
  } while (!word.compare_exchange_weak(seen, after, std::memory_order_seq_cst));
  HF_MARK("pagemap.untracked");
  if (CountWord{after}.refcount() == 0) parts_->device.put();
  return CountWord{after};
}

// Either/or with the last unpin, which loads the word, then the owner, then steps down by compare-and-exchange: either
// it loaded the word after the flip, and then sees the new owner; or its exchange fails on the flip, and it looks
// again; or it stepped down before the flip, and then we return refcount 0. An exchange that two flips deceive is
// excluded: it runs within one epoch. Test: PageMap.MoveRacesWithTheLastUnpin.
CountWord PageMap::set_owner(Pfn first, Order order, OwnerId owner, PageIndex index) {
  Page& at = descriptor(first, order);
  at.owner.store(owner, std::memory_order_relaxed);
  at.index.store(static_cast<std::uint32_t>(index.raw()), std::memory_order_relaxed);
  HF_MARK("pagemap.owner_stored");
  Atomic<std::uint32_t>& word = count(first, order);
  std::uint32_t seen = word.load(std::memory_order_acquire);
  while (CountWord{seen}.refcount() > 0) {
    const std::uint32_t flipped = seen ^ CountWord::kMoved;
    // release: partner is the load of the word in unpin_last.
    if (word.compare_exchange_weak(seen, flipped, std::memory_order_acq_rel)) return CountWord{flipped};
  }
  return CountWord{seen};
}

// --- pins ---

void PageMap::wake_after_unpin(const Atomic<std::uint32_t>* key, CountWord before) {
  HF_MARK("pagemap.unpinned");
  if (before.has_waiters() || before.pins() == 1) wake(key);
}

// The order of the last step, pins 1 -> 0 with tracked == 0, and why each part stands where it does:
//   1. read the owner, while refcount > 0: afterwards the unit may belong to somebody else (P5);
//   2. step down: from here on nothing of the descriptor is touched, it may be associated anew at any moment;
//   3. wake the waiters: they need the address only;
//   4. tell the owner: the epoch, begun before 1, keeps the owner alive if it is found; the device reference that the
//      unit held is still held, hence the map itself and its owner table exist;
//   5. give the device reference back, outside of our epoch: this may end the map, and nothing of it is touched after.
// A thread that associates the unit between 2 and 5 takes a device reference of its own: each 0 -> 1 takes one and each
// 1 -> 0 returns one, whatever their order.
void PageMap::unpin_last(Pfn first, Order order) const {
  Parts& parts = *parts_;
  Page& at = descriptor(first, order);
  Atomic<std::uint32_t>& word = count(first, order);
  bool was_last = false;
  {
    const epoch::Guard guard;
    OwnerId owner = 0;
    std::uint32_t seen = 0;
    std::uint32_t after = 0;
    do {
      // acquire: partners are the releases in track and set_owner; the owner is at least as new as the word.
      seen = word.load(std::memory_order_acquire);
      if (CountWord{seen}.pins() == 0 && parts.inherited()) return;
      HF_CHECK(CountWord{seen}.pins() > 0, "P1: {} is unpinned once too often (word {:#x})", name_of(first, order),
               seen);
      owner = at.owner.load(std::memory_order_relaxed);
      HF_MARK("pagemap.owner_read");
      after = (seen - CountWord::kPinUnit) & ~CountWord::kWaiters;
      was_last = CountWord{after}.refcount() == 0;
      if (was_last) after &= ~CountWord::kMoved;
    } while (!word.compare_exchange_weak(seen, after, std::memory_order_acq_rel));
    if ((seen & (CountWord::kWaiters | CountWord::kBreak)) != 0) wake_after_unpin(&word, CountWord{seen});
    if (!was_last) return;
    HF_MARK("pagemap.last_put");
    HF_TRACE2(last_put, first.raw(), order.raw());
    if (PageOwner* const told = parts.owners.find(owner)) told->last_put(first, order);
  }
  parts.device.put();
}

// --- predicates ---

namespace {

constexpr bool in_use(std::uint32_t word) { return CountWord{word}.refcount() != 0; }

}  // namespace

bool PageMap::idle(Pfn pfn) const {
  return read(pfn, kOrder4K).pins() == 0 && read(pfn.align_down(kOrder2M), kOrder2M).pins() == 0 &&
         read(pfn.align_down(kOrder1G), kOrder1G).pins() == 0;
}

Pfn PageMap::first_busy(Pfn first, PageCount count) const {
  const Pfn end = first + count;
  for (Pfn at = first; at < end; at += PageCount(1)) {
    const bool enters_2m = at == first || at.is_aligned(kOrder2M);
    const bool enters_1g = at == first || at.is_aligned(kOrder1G);
    if (enters_1g && read(at.align_down(kOrder1G), kOrder1G).pins() != 0) return at;
    if (enters_2m && read(at.align_down(kOrder2M), kOrder2M).pins() != 0) return at;
    if (read(at, kOrder4K).pins() != 0) return at;
  }
  return end;
}

Pfn PageMap::first_idle(Pfn first, PageCount count) const {
  const Pfn end = first + count;
  for (Pfn at = first; at < end;) {
    const auto pinned = [this, at](Order order) { return read(at.align_down(order), order).pins() != 0; };
    if (pinned(kOrder1G)) {
      at = std::min(end, at.align_down(kOrder1G) + kOrder1G.pages());
    } else if (pinned(kOrder2M)) {
      at = std::min(end, at.align_down(kOrder2M) + kOrder2M.pages());
    } else if (pinned(kOrder4K)) {
      at += PageCount(1);
    } else {
      return at;
    }
  }
  return end;
}

Pfn PageMap::first_referenced(Pfn first, PageCount count) const {
  const Pfn end = first + count;
  HF_DEBUG_CHECK(end.raw() <= pages_.raw(), "page {} of a device of {}", end.raw(), pages_.raw());
  for (Pfn at = first; at < end; at += PageCount(1)) {
    // seq_cst: as read().
    if (in_use(table_[at.raw()].own_count.load(std::memory_order_seq_cst))) return at;
  }
  return end;
}

std::uint32_t PageMap::refcount(Pfn pfn) const {
  return read(pfn, kOrder4K).refcount() + read(pfn.align_down(kOrder2M), kOrder2M).refcount() +
         read(pfn.align_down(kOrder1G), kOrder1G).refcount();
}

bool PageMap::unused(Pfn first, Order order) const {
  if (!idle(first)) return false;
  const Pfn end = std::min(first + order.pages(), Pfn(pages_.raw()));
  for (Pfn at = first; at < end; at += PageCount(1)) {
    const Page& each = table_[at.raw()];
    if (in_use(each.own_count.load(std::memory_order_seq_cst))) return false;
    const bool smaller_unit = order == kOrder1G && at.is_aligned(kOrder2M);
    if (smaller_unit && in_use(each.unit_count.load(std::memory_order_seq_cst))) return false;
  }
  return true;
}

// --- breaks ---

void PageMap::set_break(Pfn first, Order order) const {
  // seq_cst: the pins are read next. Partner: try_pin, on this very word; a pin is counted before the mark or refused.
  count(first, order).fetch_or(CountWord::kBreak, std::memory_order_seq_cst);
}

void PageMap::clear_break(Pfn first, Order order) const {
  Atomic<std::uint32_t>& word = count(first, order);
  // release: partner is try_pin; who pins again sees what the break did.
  word.fetch_and(~CountWord::kBreak, std::memory_order_acq_rel);
  wake(&word);
}

// Either/or with unpin, both being updates of one word: either unpin came first, and we read the lower count; or we
// came first, and unpin finds the announcement and wakes. The sleeper is queued before it announces, so the wake finds
// it. Test: PageMap.NoWakeIsLost.
CountWord PageMap::announce_waiter(Pfn first, Order order) const {
  Atomic<std::uint32_t>& word = count(first, order);
  std::uint32_t seen = word.load(std::memory_order_acquire);
  while (CountWord{seen}.pins() > 0) {
    const std::uint32_t announced = seen | CountWord::kWaiters;
    // seq_cst: also the second of two looks, after the caller was queued.
    if (word.compare_exchange_weak(seen, announced, std::memory_order_seq_cst)) return CountWord{announced};
  }
  // acquire, behind a failed exchange as well: partner is the release in unpin.
  return read(first, order);
}

// --- device references ---

void PageMap::close() {
  parts_->device.close();
  epoch::synchronize();
}

std::uint64_t PageMap::references() const { return parts_->device.units(); }
void PageMap::release_creator() { parts_->device.put_creator(); }

}  // namespace holdfast::pagemap
