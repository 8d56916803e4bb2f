#include "filesystem/extent_cache.h"

#include <algorithm>
#include <new>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/epoch.h"

namespace holdfast::filesystem {
namespace {

using Kind = Found::Kind;

// A known run of pages that are alike. Pages that no item covers are unknown.
struct Item {
  std::uint64_t index = 0;
  std::uint64_t count = 0;
  std::uint64_t pfn = 0;  // 0 for holes
  Kind kind = Kind::unknown;

  std::uint64_t end() const { return index + count; }
  bool has_block() const { return kind != Kind::hole; }
  // The part of it inside [first, last).
  Item clipped(std::uint64_t first, std::uint64_t last) const {
    const std::uint64_t from = std::max(index, first);
    const std::uint64_t to = std::min(end(), last);
    return {from, to - from, has_block() ? pfn + (from - index) : 0, kind};
  }
};

bool continues(const Item& item, const Item& next) {
  return item.end() == next.index && item.kind == next.kind && (!item.has_block() || item.pfn + item.count == next.pfn);
}

void append(std::vector<Item>& items, const Item& item) {
  if (item.count == 0) return;
  if (!items.empty() && continues(items.back(), item)) {
    items.back().count += item.count;
  } else {
    items.push_back(item);
  }
}

// Pages of a file are numbered with 32 bits.
constexpr PageIndex kFilePagesEnd{std::uint64_t{1} << 32};

constexpr std::uint64_t pack(std::uint64_t first, std::uint64_t end) { return first << 32 | end; }
constexpr std::uint64_t tail_first(std::uint64_t tail) { return tail >> 32; }
constexpr std::uint64_t tail_end(std::uint64_t tail) { return tail & 0xFFFFFFFFU; }

}  // namespace

// A sorted array of leaves, each a sorted array of items; nothing in it changes once it is published. A change copies
// the leaves it touches and the array of leaves.
struct ExtentCache::Snapshot {
  static constexpr std::size_t kLeafItems = 96;
  static constexpr std::size_t kSmallLeaf = 24;  // a smaller one takes in its neighbour when it is rewritten

  struct Leaf {
    std::size_t count;
    Item items[1];  // `count` of them

    std::span<const Item> all() const { return {items, count}; }
    static Leaf* make(std::span<const Item> items) {
      void* memory = ::operator new(sizeof(Leaf) + items.size() * sizeof(Item));
      Leaf* leaf = ::new (memory) Leaf{items.size(), {}};
      std::uninitialized_copy(items.begin(), items.end(), leaf->items);
      return leaf;
    }
  };
  struct Slot {
    std::uint64_t first;  // index of the leaf's first item
    Leaf* leaf;
  };

  std::size_t count;
  Slot slots[1];  // `count` of them

  std::span<const Slot> all() const { return {slots, count}; }
  static Snapshot* make(std::span<const Slot> slots) {
    void* memory = ::operator new(sizeof(Snapshot) + slots.size() * sizeof(Slot));
    Snapshot* snapshot = ::new (memory) Snapshot{slots.size(), {}};
    std::uninitialized_copy(slots.begin(), slots.end(), snapshot->slots);
    return snapshot;
  }
  static void release(void* memory) { ::operator delete(memory); }

  // Number of the last slot whose leaf begins at or before the index; count when there is none.
  std::size_t slot_of(std::uint64_t index) const {
    const auto after = std::upper_bound(all().begin(), all().end(), index,
                                        [](std::uint64_t wanted, const Slot& slot) { return wanted < slot.first; });
    return after == all().begin() ? count : static_cast<std::size_t>(after - all().begin()) - 1;
  }

  const Item* find(std::uint64_t index) const {
    const std::size_t at = slot_of(index);
    if (at == count) return nullptr;
    const std::span<const Item> items = slots[at].leaf->all();
    const auto after = std::upper_bound(items.begin(), items.end(), index,
                                        [](std::uint64_t wanted, const Item& item) { return wanted < item.index; });
    if (after == items.begin()) return nullptr;
    const Item& item = *std::prev(after);
    return index < item.end() ? &item : nullptr;
  }

  // Calls visit(item) for every item that overlaps [first, end), in order.
  template <typename Visit>
  void each(std::uint64_t first, std::uint64_t end, Visit visit) const {
    std::size_t at = slot_of(first);
    if (at == count) at = 0;
    for (; at < count && slots[at].first < end; ++at) {
      for (const Item& item : slots[at].leaf->all()) {
        if (item.end() > first && item.index < end) visit(item);
      }
    }
  }

  // A new snapshot in which the items of `with` stand for [first, end), unknown where they leave gaps. The leaves that
  // it no longer uses go to `unused`.
  Snapshot* spliced(std::uint64_t first, std::uint64_t end, std::span<const Item> with,
                    std::vector<Leaf*>& unused) const;
};

ExtentCache::Snapshot* ExtentCache::Snapshot::spliced(std::uint64_t first, std::uint64_t end,
                                                      std::span<const Item> with, std::vector<Leaf*>& unused) const {
  // The leaves that hold what overlaps the range, or touches it and may merge.
  std::size_t from = slot_of(first);
  if (from == count) from = 0;
  if (from > 0 && from < count && slots[from].first >= first) --from;
  std::size_t to = from;
  std::size_t touched = 0;
  while (to < count && (slots[to].first <= end || touched < kSmallLeaf)) touched += slots[to++].leaf->count;

  std::vector<Item> items;
  items.reserve(touched + with.size() + 2);
  bool placed = false;
  const auto place = [&] {
    if (!placed) {
      for (const Item& item : with) append(items, item);
    }
    placed = true;
  };
  for (std::size_t at = from; at < to; ++at) {
    for (const Item& item : slots[at].leaf->all()) {
      if (item.index < first) append(items, item.clipped(0, first));
      if (item.end() > end) {
        place();
        append(items, item.clipped(end, ~std::uint64_t{0}));
      }
    }
    unused.push_back(slots[at].leaf);
  }
  place();

  std::vector<Slot> result(all().begin(), all().begin() + static_cast<std::ptrdiff_t>(from));
  // Leaves alike in size, so that an array that was split does not leave a crumb.
  const std::size_t leaves = (items.size() + kLeafItems - 1) / kLeafItems;
  for (std::size_t i = 0; i < leaves; ++i) {
    const std::size_t begin = items.size() * i / leaves;
    const std::span<const Item> part = std::span(items).subspan(begin, items.size() * (i + 1) / leaves - begin);
    result.push_back({part.front().index, Leaf::make(part)});
  }
  result.insert(result.end(), all().begin() + static_cast<std::ptrdiff_t>(to), all().end());
  return make(result);
}

ExtentCache::ExtentCache(const device::PoisonList* poison) : poison_(poison), snapshot_(Snapshot::make({})) {}

ExtentCache::~ExtentCache() {
  Snapshot* const last = snapshot_.load(std::memory_order_acquire);  // partner: publish, on whatever thread
  for (const Snapshot::Slot& slot : last->all()) Snapshot::release(slot.leaf);
  Snapshot::release(last);
}

Found ExtentCache::find(PageIndex index) const {
  Found found = find_block(index);
  if (poison_ == nullptr || !poison_->any()) [[likely]] {
    return found;
  }
  if (found.kind != Kind::unwritten && found.kind != Kind::written) return found;
  if (const auto lost = poison_->first_in({found.pfn, found.count})) {
    if (lost->first == found.pfn) found.kind = Kind::lost;
    found.count = lost->first == found.pfn ? lost->count : lost->first - found.pfn;
  }
  return found;
}

Found ExtentCache::find_block(PageIndex index) const {
  const epoch::Guard guard;
  // acquire: partner is the store in fold_tail. Who sees the tail gone sees the snapshot that took it in; who sees it
  // still finds its pages written either way.
  const std::uint64_t tail = tail_.load(std::memory_order_acquire);
  // acquire: partner is publish().
  const Item* const item = snapshot_.load(std::memory_order_acquire)->find(index.raw());
  if (item == nullptr) return {};
  Found found{item->kind, Pfn(item->has_block() ? item->pfn + (index.raw() - item->index) : 0),
              PageCount(item->end() - index.raw())};
  if (found.kind == Kind::unwritten && tail != 0) {
    const std::uint64_t first = tail_first(tail);
    const std::uint64_t end = tail_end(tail);
    if (first <= index.raw() && index.raw() < end) {
      found.kind = Kind::written;
      found.count = PageCount(std::min(item->end(), end) - index.raw());
    } else if (index.raw() < first) {
      found.count = PageCount(std::min(item->end(), first) - index.raw());
    }
  }
  return found;
}

void ExtentCache::publish(PageRange range, const void* items, std::size_t count) {
  Snapshot* const old = snapshot_.load(std::memory_order_relaxed);
  std::vector<Snapshot::Leaf*> unused;
  Snapshot* const next =
      old->spliced(range.first.raw(), range.end.raw(), {static_cast<const Item*>(items), count}, unused);
  // release: partner is the load in find.
  snapshot_.store(next, std::memory_order_release);
  for (Snapshot::Leaf* leaf : unused) epoch::retire(leaf, &Snapshot::release);
  epoch::retire(old, &Snapshot::release);
}

void ExtentCache::fold_tail() {
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  if (tail == 0) return;
  set_written({PageIndex(tail_first(tail)), PageIndex(tail_end(tail))});
  // release: partner is the load in find.
  tail_.store(0, std::memory_order_release);
}

void ExtentCache::set_written(PageRange range) {
  std::vector<Item> items;
  snapshot_.load(std::memory_order_relaxed)->each(range.first.raw(), range.end.raw(), [&](const Item& item) {
    Item part = item.clipped(range.first.raw(), range.end.raw());
    if (part.kind == Kind::unwritten) part.kind = Kind::written;
    items.push_back(part);
  });
  publish(range, items.data(), items.size());
}

void ExtentCache::learn(PageRange range, const std::vector<Extent>& extents) {
  const MutexLock lock(lock_);
  fold_tail();
  std::vector<Item> told;
  std::uint64_t at = range.first.raw();
  for (const Extent& extent : extents) {
    append(told, {at, extent.index.raw() - at, 0, Kind::hole});
    append(told, {extent.index.raw(), extent.count.raw(), extent.pfn.raw(),
                  extent.unwritten ? Kind::unwritten : Kind::written});
    at = extent.index.raw() + extent.count.raw();
  }
  if (at < range.end.raw()) append(told, {at, range.end.raw() - at, 0, Kind::hole});
  // What is known already is newer than what the format says (see Inode::unrecorded): only the gaps are filled.
  std::vector<Item> items;
  at = range.first.raw();
  const auto fill_gap = [&](std::uint64_t end) {
    for (const Item& item : told) {
      if (item.index < end && item.end() > at) append(items, item.clipped(at, end));
    }
  };
  snapshot_.load(std::memory_order_relaxed)->each(range.first.raw(), range.end.raw(), [&](const Item& item) {
    const Item known = item.clipped(range.first.raw(), range.end.raw());
    fill_gap(known.index);
    append(items, known);
    at = known.end();
  });
  fill_gap(range.end.raw());
  publish(range, items.data(), items.size());
}

void ExtentCache::add(const Extent& extent) {
  const MutexLock lock(lock_);
  fold_tail();
  const Item item{extent.index.raw(), extent.count.raw(), extent.pfn.raw(),
                  extent.unwritten ? Kind::unwritten : Kind::written};
  publish({extent.index, extent.index + extent.count}, &item, 1);
}

void ExtentCache::mark_written(PageRange range) {
  if (range.empty()) return;
  const MutexLock lock(lock_);
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  // A file that grows page by page: the tail grows with it, and nothing is copied.
  const Item* const item = snapshot_.load(std::memory_order_relaxed)->find(range.first.raw());
  const bool fits = item != nullptr && item->kind == Kind::unwritten && range.end.raw() <= item->end() &&
                    range.end.raw() < (std::uint64_t{1} << 32);
  if (!fits) {
    fold_tail();
    set_written(range);
    return;
  }
  const bool grows = tail != 0 && tail_end(tail) == range.first.raw() && tail_first(tail) >= item->index;
  if (!grows) fold_tail();
  const std::uint64_t first = grows ? tail_first(tail) : range.first.raw();
  // release: partner is the load in find; the bytes of the pages were stored before.
  tail_.store(pack(first, range.end.raw()), std::memory_order_release);
}

void ExtentCache::remove(PageRange range) {
  // A file ends long before kEndOfFile does, whose bytes no number can say.
  range.end = std::min(range.end, kFilePagesEnd);
  if (range.empty()) return;
  const MutexLock lock(lock_);
  fold_tail();
  const Item hole{range.first.raw(), range.count().raw(), 0, Kind::hole};
  publish(range, &hole, 1);
}

void ExtentCache::forget() {
  const MutexLock lock(lock_);
  fold_tail();
  publish({PageIndex(0), kEndOfFile}, nullptr, 0);
}

std::vector<Extent> ExtentCache::list(PageRange range) const {
  std::vector<Extent> result;
  PageIndex at = range.first;
  // By way of find_block(), which knows the tail; each step is one lookup.
  const epoch::Guard guard;
  std::vector<Item> items;
  snapshot_.load(std::memory_order_acquire)->each(range.first.raw(), range.end.raw(), [&](const Item& item) {
    items.push_back(item.clipped(range.first.raw(), range.end.raw()));
  });
  for (const Item& item : items) {
    if (!item.has_block()) continue;
    for (at = PageIndex(item.index); at.raw() < item.end();) {
      const Found found = find_block(at);
      const PageCount count(std::min(found.count.raw(), item.end() - at.raw()));
      if (found.kind != Kind::unwritten && found.kind != Kind::written) break;
      const Extent extent{at, found.pfn, count, found.kind == Kind::unwritten};
      if (!result.empty() && result.back().unwritten == extent.unwritten &&
          result.back().index + result.back().count == extent.index &&
          result.back().pfn + result.back().count == extent.pfn) {
        result.back().count += extent.count;
      } else {
        result.push_back(extent);
      }
      at += count;
    }
  }
  return result;
}

}  // namespace holdfast::filesystem
