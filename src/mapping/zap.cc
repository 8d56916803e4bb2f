// Taking a range away: translations, references, entries.
#include "base/check.h"
#include "mapping/mapping.h"

namespace holdfast::mapping {

// One holding of the tree lock. False: the range is done. A walk that had to wait for an entry goes on at the same
// index, because anything may stand there now. Test: Race.R10_LockedEntryMetByScan.
bool Mapping::zap_batch(PageRange& range, std::optional<BusyUnit>& busy, Report report) {
  const MutexLock lock(tree_);
  XArray::Cursor cursor(entries_, range);
  for (unsigned i = 0; i < kBatch; ++i) {
    if (!cursor.next()) return false;
    const PageIndex index = cursor.index();
    if (cursor.entry().locked()) {
      HF_MARK("mapping.zap.met_lock");
      pass_lock_on(index);
      return true;
    }
    const Entry entry = cursor.entry();
    const bool counts = report == Report::all || !entry.shared();
    if (entry.tracks()) {
      // The either/or with pins: see try_pin_unit. The exchange comes before the count is read.
      cursor.replace(entry.with_zap());
      HF_MARK("mapping.zap.exchanged");
      pages_.untrack(entry.pfn(), entry.order());
      tracked_pages_.fetch_sub(entry.order().pages().raw(), std::memory_order_relaxed);
    }
    if (entry.has_page() && counts && !busy) busy = busy_count(index, entry);
    range.first = cursor.behind();
  }
  return true;
}

std::optional<Mapping::BusyUnit> Mapping::zap(PageRange range, Report report) {
  HF_TRACE3(zap, file_.inode, range.first.raw(), range.end.raw());
  // acquire: partner is the store in set_translation_remover.
  if (TranslationRemover* const remover = remover_.load(std::memory_order_acquire)) {
    remover->remove_translations(range);
  }
  std::optional<BusyUnit> busy;
  while (!range.empty() && zap_batch(range, busy, report)) {
  }
  return busy;
}

bool Mapping::remove_batch(PageRange& range) {
  const MutexLock lock(tree_);
  XArray::Cursor cursor(entries_, range);
  for (unsigned i = 0; i < kBatch; ++i) {
    if (!cursor.next()) return false;
    const PageIndex index = cursor.index();
    if (cursor.entry().locked()) {
      pass_lock_on(index);
      return true;
    }
    forget(index, cursor.entry());
    range.first = cursor.behind();
    cursor.erase();
  }
  return true;
}

void Mapping::remove(PageRange range) {
  while (!range.empty() && remove_batch(range)) {
  }
}

}  // namespace holdfast::mapping
