// Walks over the entries of a range, in batches under the tree lock. A walk keeps no place in the tree while the lock
// is dropped, only an index, and goes on with whatever covers it then.
#pragma once

#include "base/mark.h"
#include "mapping/mapping.h"

namespace holdfast::mapping {

template <typename Visit>
void Mapping::walk(PageRange range, Visit visit) {
  while (!range.empty()) {
    const MutexLock lock(tree_);
    XArray::Cursor cursor(entries_, range);
    for (unsigned i = 0; i < kBatch; ++i) {
      if (!cursor.next() || !visit(cursor.index(), cursor.entry())) return;
      range.first = cursor.behind();
    }
  }
}

// A lock that was waited for comes by hand-over, and what the walk has to do to the entry is done before it goes on to
// the next waiter. To pass it on first and look again is not enough: of two walks each would find the entry locked for
// the other, for ever. Tests: explore/lock-zap-zap, Race.R10_LockedEntryMetByScan.
template <typename Change>
void Mapping::change_unlocked(PageRange range, Change change) {
  while (!range.empty() && change_batch(range, change)) {
  }
}

// One holding of the tree lock, but for waiting. False: the range is done.
template <typename Change>
bool Mapping::change_batch(PageRange& range, Change& change) {
  const MutexLock lock(tree_);
  XArray::Cursor cursor(entries_, range);
  for (unsigned i = 0; i < kBatch; ++i) {
    if (!cursor.next()) return false;
    const PageIndex index = cursor.index();
    if (cursor.entry().locked()) {
      HF_MARK("mapping.walk.met_lock");
      // Gone: anything may stand there now, and is looked at.
      if (wait_for_lock(index, Deadline::never(), false) != LockWait::granted) return true;
      entries_.replace(index, entries_.load(index).without_lock());
      XArray::Cursor ours(entries_, {index, range.end});
      HF_CHECK(ours.next(), "L1: the entry at index {:#x} went while it was locked", index.raw());
      range.first = ours.behind();
      change(ours);
      if (const Entry left = entries_.load(index); !left.none()) release_entry(index, left);
      return true;
    }
    range.first = cursor.behind();
    change(cursor);
  }
  return true;
}

}  // namespace holdfast::mapping
