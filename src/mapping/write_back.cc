// Making what was stored through windows durable: the entries that are marked dirty, one by one.
//
// Where storing is not enough (persistent memory behind CPU caches), an entry is CLEAN until somebody is to store
// through it: the fault of a window, or a pin with write access. He locks it, marks it dirty (mark_dirty) and unlocks;
// only then there are translations and pins that let stores through. Write-back takes the same lock:
//
//   pick     all dirty entries of the range are marked towrite: what is dirtied later is not waited for
//   then for each: lock; CLEAN, so that nobody new gets at the page without waiting for the lock; translations go; are
//                  there pins? flush; dirty and towrite go; unlock
//
// A page that is pinned stays dirty: who holds a pin never says when he writes, or that he has. It is flushed now, and
// by every write-back until one finds it unpinned. Read pins count as well: only counts are looked at.
//
// Either/or of a store through a window and a write-back: the store's fault had the lock before, then its mark is there
// when the entry is looked at, and its bytes are in memory before the flush, which comes after the translation went; or
// it gets the lock afterwards, and marks the entry anew. Translations of a window whose faults do not bring them one by
// one are installed while the entry is not CLEAN, under the windows' lock: either before they are removed under it, or
// they see CLEAN.
// Either/or of a pin and a write-back: as of a pin and a zap (mapping.h). The pin counts, and reads the entry once
// more; the write-back makes it CLEAN, and reads the counts; all four are sequentially consistent. So either the pin
// sees CLEAN, and is undone, or the write-back sees it and leaves the page dirty. Test: explorer pin-write-back.
// Either/or of two write-backs: the second one finds the entry picked and locked by the first and waits, so that it
// does not return before those bytes are flushed (S18); or the first is done with it, and both marks are gone. Tests:
// WriteBackRace.R12_StoreMeetsWriteBack, WriteBackRace.R12_WriteBackMeetsAFault, WriteBackRace.R12_TwoWriteBacks,
// WriteBackRace.R12_TwoWriteBacksThatBothPicked.
//
// A flush that fails leaves the entry dirty: the next write-back tries again (S17).
#include <cerrno>

#include <fmt/format.h>

#include "base/check.h"
#include "mapping/mapping.h"

namespace holdfast::mapping {

void Mapping::pick_dirty(PageRange range) {
  while (!range.empty()) {
    const MutexLock lock(tree_);
    XArray::Cursor cursor(entries_, range);
    for (unsigned i = 0; i < kBatch; ++i) {
      if (!cursor.next_marked(EntryMark::dirty)) return;
      entries_.set_mark(cursor.index(), EntryMark::towrite);
      range.first = cursor.behind();
    }
  }
}

// The next picked entry, locked; EMPTY ones and ZERO ones are never dirty. nullopt: there is none left.
Result<std::optional<EntryLock>> Mapping::lock_picked(PageRange range, Deadline deadline) {
  const MutexLock lock(tree_);
  for (;;) {
    const std::optional<XArray::Found> found = entries_.find_marked(range, EntryMark::towrite);
    if (!found) return std::optional<EntryLock>();
    if (!entries_.marked(found->index, EntryMark::dirty)) {
      entries_.clear_mark(found->index, EntryMark::towrite);  // another write-back was faster
      continue;
    }
    if (!found->entry.locked()) {
      HF_CHECK(found->entry.has_page(), "E1: entry {:#x} at index {:#x} is dirty", found->entry.raw(),
               found->index.raw());
      entries_.replace(found->index, found->entry.with_lock());
      return std::optional(EntryLock(*this, found->index, found->entry));
    }
    HF_MARK("mapping.write_back.met_lock");
    const LockWait outcome = wait_for_lock(found->index, deadline, true);
    if (outcome == LockWait::granted) {
      const Entry entry = entries_.load(found->index).without_lock();
      if (entries_.marked(found->index, EntryMark::dirty)) return std::optional(EntryLock(*this, found->index, entry));
      release_entry(found->index, entry);  // flushed by who had it
    } else if (outcome != LockWait::retry) {
      return lock_error(outcome, found->index);
    }
  }
}

// What a locked entry is from now on.
void Mapping::become(EntryLock& locked, Entry entry) {
  const MutexLock lock(tree_);
  entries_.replace(locked.index_, entry.with_lock());
  locked.entry_ = entry;
}

Status Mapping::write_back_one(EntryLock& locked, const Flush& flush) {
  const Entry dirty = locked.entry();
  const PageRange unit{locked.index(), locked.index() + dirty.order().pages()};
  become(locked, dirty.as_clean());
  // acquire: as in zap.
  if (TranslationRemover* const remover = remover_.load(std::memory_order_acquire)) {
    remover->remove_translations(unit);
  }
  HF_MARK("mapping.write_back.protected");
  const bool pinned = busy_count(unit.first, dirty).has_value();
  Status flushed = flush(unit.first, dirty.pfn(), unit.count());
  HF_MARK("mapping.write_back.flushed");
  if (!flushed || pinned) become(locked, dirty);
  if (!flushed) return flushed;
  if (!pinned) clear_mark(unit.first, EntryMark::dirty);
  clear_mark(unit.first, EntryMark::towrite);
  return {};
}

Status Mapping::write_back(PageRange range, const Flush& flush, Deadline deadline) {
  pick_dirty(range);
  HF_MARK("mapping.write_back.picked");
  for (;;) {
    HF_ASSIGN(std::optional<EntryLock> locked, lock_picked(range, deadline));
    if (!locked) return {};
    HF_TRY(write_back_one(*locked, flush));
  }
}

Result<EntryLock> Mapping::mark_dirty(PageIndex index, Deadline deadline) {
  const MutexLock lock(tree_);
  HF_ASSIGN(Found found, settle(index, kOrder4K, deadline));
  if (!found.entry.tracks() || found.entry.shared()) {
    if (found.ours) release_entry(found.index, found.entry);
    return Error(EAGAIN, fmt::format("inode {}", file_.inode),
                 fmt::format("page {} is not tracked, or shared", index.raw()));
  }
  const Entry dirty = found.entry.as_dirty();
  entries_.set_mark(found.index, EntryMark::dirty);
  entries_.replace(found.index, dirty.with_lock());
  return EntryLock(*this, found.index, dirty);
}

}  // namespace holdfast::mapping
