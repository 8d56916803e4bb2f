// What a fault does to the tree: an index gets a page, or gets it back.
#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/check.h"
#include "mapping/mapping.h"

namespace holdfast::mapping {

Error Mapping::no_memory() const { return Error(ENOMEM, fmt::format("inode {}", file_.inode), "no memory for a node"); }

// Takes the entry's reference (E4) and, inside a break, refuses pins (M4). Nobody can pin the page through this mapping
// before the entry is published, so the mark comes in time.
Status Mapping::track(PageIndex index, Entry entry) {
  HF_MARK("mapping.insert.track");
  HF_TRY(pages_.track(entry.pfn(), entry.order(), entry.shared() ? pagemap::kNoOwner : owner_id_, index));
  if (!entry.shared() && marks_now({index, index + entry.order().pages()})) {
    pages_.set_break(entry.pfn(), entry.order());
  }
  tracked_pages_.fetch_add(entry.order().pages().raw(), std::memory_order_relaxed);
  return {};
}

// Puts a new entry where nothing stands. Undone whole when there is no memory.
Status Mapping::insert_fresh(PageIndex index, Entry entry) {
  HF_TRY(track(index, entry));
  if (entries_.store(index, entry)) {
    entry_pages_.fetch_add(entry.order().pages().raw(), std::memory_order_relaxed);
    return {};
  }
  tracked_pages_.fetch_sub(entry.order().pages().raw(), std::memory_order_relaxed);
  pages_.untrack(entry.pfn(), entry.order());
  clear_break(entry);
  return no_memory();
}

// Changes what `found` names; the entry is still locked afterwards if it was ours, but for its new value in `found`.
Result<Mapping::InsertOutcome> Mapping::insert_at(Found& found, PageIndex index, Entry wanted) {
  const PageRange unit{index, index + wanted.order().pages()};
  // Under the tree lock: either the overrun was marked before, or the commit's zap comes later and finds the entry.
  if (HoldTables::this_thread_overrun(*this, unit)) {
    return Error(EAGAIN, fmt::format("inode {}", file_.inode), "the range left the file meanwhile");
  }
  if (found.smaller) return InsertOutcome::conflict;
  if (found.entry.tracks()) return InsertOutcome::already_there;
  if (found.entry.zapped() && found.entry.pfn() + (index - found.index) == wanted.pfn()) {
    // The reference first, then ZAP goes, then the caller installs translations: never one without the other.
    const Entry revived = wanted.shared() ? found.entry.without_zap().as_shared() : found.entry.without_zap();
    HF_TRY(track(found.index, revived));
    if (revived.shared()) clear_break(found.entry);
    found.entry = revived;
    entries_.replace(found.index, found.ours ? found.entry.with_lock() : found.entry);
    return InsertOutcome::inserted;
  }
  if (wanted.order() > kOrder4K && (straddles_break(unit) || !pages_.unused(wanted.pfn(), wanted.order()))) {
    return InsertOutcome::conflict;
  }
  if (found.entry.order() == wanted.order() && !found.entry.none()) {
    // EMPTY, ZERO, or a ZAP entry of a block that this index does not name any more.
    HF_TRY(track(index, wanted));
    if (found.entry.has_page()) {
      clear_marks(index);
      clear_break(found.entry);
    }
    entries_.replace(index, found.ours ? wanted.with_lock() : wanted);
    found.entry = wanted;
    return InsertOutcome::inserted;
  }
  if (!found.entry.none()) {
    // Of the rest of it the file's bytes may wait in caches still, and its mark alone tells. Test:
    // Marks.ALargeEntryThatIsReplacedInPart.
    if (found.entry.order() > wanted.order() && entries_.marked(found.index, EntryMark::dirty)) {
      return InsertOutcome::dirty;
    }
    forget(found.index, found.entry);
    entries_.erase(found.index);
    found = {};
  }
  HF_TRY(insert_fresh(index, wanted));
  return InsertOutcome::inserted;
}

Result<Mapping::InsertOutcome> Mapping::insert(PageIndex index, Pfn pfn, Order order, Deadline deadline,
                                               Sharing sharing) {
  HF_CHECK(index.is_aligned(order) && pfn.is_aligned(order), "E2: index {:#x} and page {:#x} of order {}", index.raw(),
           pfn.raw(), order.raw());
  bool took_over = false;
  Result<InsertOutcome> outcome = InsertOutcome::conflict;
  {
    const MutexLock lock(tree_);
    HF_ASSIGN(Found found, settle(index, order, deadline));
    outcome = insert_at(found, index, unmarked(Entry::real(pfn, order, sharing)));
    // A page that this file alone has by now may still be pinned through one that shared it: its last put is told here.
    const Entry entry = entries_.load(index).without_lock();
    if (outcome && *outcome == InsertOutcome::inserted && !entry.shared() &&
        pages_.owner(entry.pfn(), entry.order()) != owner_id_) {
      pages_.set_owner(entry.pfn(), entry.order(), owner_id_, index.align_down(entry.order()));
      took_over = true;
    }
    // On every way out the lock goes on, failure included.
    if (found.ours) release_entry(found.index, found.entry);
  }
  if (took_over) epoch::synchronize();  // as in make_own
  return outcome;
}

bool Mapping::straddles_break(PageRange unit) const {
  const std::vector<BreakRecord>& breaks = breaks_;
  return std::any_of(breaks.begin(), breaks.end(), [unit](const BreakRecord& one) {
    const bool inside = one.range.first <= unit.first && unit.end <= one.range.end;
    return one.state != BreakState::queued && one.range.overlaps(unit) && !inside;
  });
}

// --- forming a unit from what fills it ---

bool Mapping::may_form(PageRange unit, Pfn pfn, Order order) {
  const auto overlaps = [unit](const auto& one) { return one.overlaps(unit); };
  const std::vector<BreakRecord>& breaks = breaks_;
  if (std::any_of(gates_.begin(), gates_.end(), overlaps) ||
      std::any_of(breaks.begin(), breaks.end(),
                  [&](const BreakRecord& one) { return one.state != BreakState::queued && overlaps(one.range); })) {
    return false;
  }
  XArray::Cursor cursor(entries_, unit);
  PageIndex filled = unit.first;
  while (filled < unit.end) {
    if (!cursor.next() || cursor.index() != filled) return false;
    const Entry entry = cursor.entry();
    if (entry.locked() || entry.shared() || !entry.tracks() || entry.order() >= order) return false;
    if (entry.pfn() != pfn + (filled - unit.first) || busy_count(filled, entry)) return false;
    filled = cursor.behind();
  }
  return true;
}

// Takes the references of the small entries away; each becomes ZAP. False: one of them is pinned or shared. Dropping
// `tracked` and counting a pin change the same word: a pin that came before is seen here, one that comes after is
// refused. Test: Race.FormingAUnitMeetsAPin.
bool Mapping::untrack_parts(PageRange unit) {
  XArray::Cursor cursor(entries_, unit);
  while (cursor.next()) {
    const Entry entry = cursor.entry();
    cursor.replace(entry.with_zap());
    HF_MARK("mapping.form.zapped");
    if (pages_.untrack(entry.pfn(), entry.order()).refcount() != 0) return false;
  }
  return true;
}

void Mapping::retrack_parts(PageRange unit) {
  XArray::Cursor cursor(entries_, unit);
  while (cursor.next()) {
    const Entry entry = cursor.entry();
    if (!entry.zapped()) continue;
    if (pages_.track(entry.pfn(), entry.order(), owner_id_, cursor.index()).has_value()) {
      cursor.replace(entry.without_zap());
    } else {
      // The device closed meanwhile: the entry stays ZAP, as all entries will be when the device goes.
      tracked_pages_.fetch_sub(entry.order().pages().raw(), std::memory_order_relaxed);
    }
  }
}

bool Mapping::try_form_unit(PageIndex first, Pfn pfn, Order order) {
  if (order == kOrder4K || !first.is_aligned(order) || !pfn.is_aligned(order)) return false;
  const PageRange unit{first, first + order.pages()};
  const MutexLock lock(tree_);
  if (!may_form(unit, pfn, order)) return false;
  HF_MARK("mapping.form.begin");
  if (untrack_parts(unit) && pages_.unused(pfn, order) && pages_.track(pfn, order, owner_id_, first).has_value()) {
    // A store to one of them is a store to all of it.
    const Entry formed = Entry::real(pfn, order);
    if (entries_.form(first, entries_.find_marked(unit, EntryMark::dirty) ? formed : unmarked(formed))) return true;
    pages_.untrack(pfn, order);
  }
  retrack_parts(unit);
  return false;
}

}  // namespace holdfast::mapping
