// Taking a range away: translations, references, entries.
#include "mapping/walk.h"

namespace holdfast::mapping {

std::optional<Mapping::BusyUnit> Mapping::zap(PageRange range, Report report) {
  HF_TRACE3(zap, file_.inode, range.first.raw(), range.end.raw());
  // acquire: partner is the store in set_translation_remover.
  if (TranslationRemover* const remover = remover_.load(std::memory_order_acquire)) {
    remover->remove_translations(range);
  }
  std::optional<BusyUnit> busy;
  change_unlocked(range, [&](XArray::Cursor& cursor) {
    const PageIndex index = cursor.index();
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
  });
  return busy;
}

void Mapping::remove(PageRange range) {
  change_unlocked(range, [this](XArray::Cursor& cursor) {
    tree_.assert_held();  // by change_batch
    forget(cursor.index(), cursor.entry());
    cursor.erase();
  });
}

}  // namespace holdfast::mapping
