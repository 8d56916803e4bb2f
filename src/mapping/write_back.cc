// Making what was stored through windows durable: the entries that are marked dirty, one by one.
//
// Where storing is not enough (persistent memory behind CPU caches), the first store to a page goes through a fault
// that locks its entry, marks it dirty, installs the writable translation and unlocks (mark_dirty). Write-back takes
// the same lock:
//
//   pick     all dirty entries of the range are marked towrite: what is dirtied later is not waited for
//   then for each: lock; translations go, so that the next store faults again and waits for the lock; flush; dirty and
//                  towrite go; unlock
//
// Either/or of a store and a write-back: the store's fault had the lock before, then its mark is there when the entry
// is looked at, and its bytes are in memory before the flush, which comes after the translation went; or it gets the
// lock afterwards, and marks the entry anew. Either/or of two write-backs: the second one finds the entry picked and
// locked by the first and waits, so that it does not return before those bytes are flushed (S18); or the first is done
// with it, and both marks are gone. Tests: WriteBackRace.R12_StoreMeetsWriteBack,
// WriteBackRace.R12_WriteBackMeetsAFault, WriteBackRace.R12_TwoWriteBacks,
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

Status Mapping::write_back(PageRange range, const Flush& flush, Deadline deadline) {
  pick_dirty(range);
  HF_MARK("mapping.write_back.picked");
  for (;;) {
    HF_ASSIGN(std::optional<EntryLock> locked, lock_picked(range, deadline));
    if (!locked) return {};
    const PageRange unit{locked->index(), locked->index() + locked->entry().order().pages()};
    // acquire: as in zap.
    if (TranslationRemover* const remover = remover_.load(std::memory_order_acquire)) {
      remover->remove_translations(unit);
    }
    HF_MARK("mapping.write_back.protected");
    HF_TRY(flush(unit.first, locked->entry().pfn(), unit.count()));
    HF_MARK("mapping.write_back.flushed");
    clear_mark(unit.first, EntryMark::dirty);
    clear_mark(unit.first, EntryMark::towrite);
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
  if (!found.ours) entries_.replace(found.index, found.entry.with_lock());
  entries_.set_mark(found.index, EntryMark::dirty);
  return EntryLock(*this, found.index, found.entry);
}

}  // namespace holdfast::mapping
