// Marks and gates of breaks, and the search for pins under them.
#include <algorithm>

#include "base/check.h"
#include "base/wait_queue.h"
#include "mapping/walk.h"

namespace holdfast::mapping {

std::optional<Entry> Mapping::first_tracking(PageRange range) {
  std::optional<Entry> found;
  walk(range, [&found](PageIndex /*index*/, Entry entry) {
    if (entry.tracks()) found = entry;
    return !found;
  });
  return found;
}

// --- marks ---

PageRange Mapping::rounded(PageRange range) const {
  if (range.empty()) return range;
  const auto at_first = entries_.find({range.first, range.first + PageCount(1)});
  if (at_first) range.first = at_first->index;
  if (range.end < kEndOfFile) {
    const PageIndex last = range.end - PageCount(1);
    const auto at_last = entries_.find({last, range.end});
    if (at_last) range.end = std::max(range.end, at_last->index + at_last->entry.order().pages());
  }
  return range;
}

PageRange Mapping::round_to_units(PageRange range) const {
  const MutexLock lock(tree_);
  return rounded(range);
}

Mapping::BreakRecord& Mapping::record(std::uint64_t id) {
  for (BreakRecord& one : breaks_) {
    if (one.id == id) return one;
  }
  HF_CHECK(false, "no break {} of inode {}", id, file_.inode);
  __builtin_unreachable();
}

void Mapping::set_state(std::uint64_t id, BreakState state) {
  const MutexLock lock(tree_);
  record(id).state = state;
}

Mapping::BreakMark Mapping::queue_mark(PageRange range, bool until_unpinned) {
  const MutexLock lock(tree_);
  const BreakMark mark{range, next_break_++};
  breaks_.push_back({range, mark.id, until_unpinned, BreakState::queued});
  breaks_count_.fetch_add(1, std::memory_order_relaxed);
  return mark;
}

// Whoever is beyond `queued` has its range to itself; of those that wait the earlier goes first. The first in the queue
// waits only for active ones, and those wait for nobody here: no circle.
bool Mapping::goes_before(const BreakRecord& other, const BreakRecord& mine, PageRange rounded) const {
  if (other.id == mine.id) return false;
  if (other.state == BreakState::queued) return other.id < mine.id && other.range.overlaps(mine.range);
  return other.range.overlaps(rounded);
}

std::vector<PageRange> Mapping::waits_behind(const BreakMark& mark) const {
  std::vector<PageRange> ranges;
  const MutexLock lock(tree_);
  // From the latest to the earliest: a queued one is reached before those that it waits for itself.
  std::vector<const BreakRecord*> reached;
  for (auto other = breaks_.rbegin(); other != breaks_.rend(); ++other) {
    bool before = other->id == mark.id;
    if (!before && other->state != BreakState::queued) continue;
    for (const BreakRecord* const later : reached) {
      before = before || goes_before(*other, *later, rounded(later->range));
    }
    if (before) reached.push_back(&*other);
  }
  for (const BreakRecord& other : breaks_) {
    if (other.state == BreakState::queued || !other.until_unpinned) continue;
    for (const BreakRecord* const later : reached) {
      if (!goes_before(other, *later, rounded(later->range))) continue;
      ranges.push_back(other.range);
      break;
    }
  }
  return ranges;
}

bool Mapping::try_activate(BreakMark& mark) {
  {
    const MutexLock lock(tree_);
    BreakRecord& mine = record(mark.id);
    const PageRange range = rounded(mine.range);
    for (const BreakRecord& other : breaks_) {
      if (goes_before(other, mine, range)) return false;
    }
    mine.range = mark.range = range;
    // Either/or with an insert, which tracks its page under this lock: before, then the walk below finds its entry;
    // after, then it sees this state and marks the page itself. Test: Race.InsertMeetsANewMark.
    mine.state = BreakState::marking;
  }
  HF_MARK("mapping.break.marking");
  walk(mark.range, [this](PageIndex, Entry entry) {
    if (entry.tracks() && !entry.shared()) pages_.set_break(entry.pfn(), entry.order());
    return true;
  });
  set_state(mark.id, BreakState::active);
  return true;
}

void Mapping::unmark(const BreakMark& mark) {
  bool marked = false;
  {
    const MutexLock lock(tree_);
    BreakRecord& mine = record(mark.id);
    marked = mine.state == BreakState::active;
    // Inserts do not mark from here on; overlapping breaks still wait, so nobody else's mark is cleared below.
    if (marked) mine.state = BreakState::clearing;
  }
  if (marked) {
    walk(mark.range, [this](PageIndex, Entry entry) {
      clear_break(entry);
      return true;
    });
  }
  {
    const MutexLock lock(tree_);
    breaks_.erase(breaks_.begin() + (&record(mark.id) - breaks_.data()));
    breaks_count_.fetch_sub(1, std::memory_order_relaxed);
  }
  wake(break_key());
}

void Mapping::clear_break(Entry entry) const {
  if (!entry.has_page() || entry.shared()) return;
  if (pages_.read(entry.pfn(), entry.order()).breaking()) pages_.clear_break(entry.pfn(), entry.order());
}

bool Mapping::marks_now(PageRange unit) const {
  const std::vector<BreakRecord>& breaks = breaks_;
  return std::any_of(breaks.begin(), breaks.end(), [unit](const BreakRecord& one) {
    return (one.state == BreakState::marking || one.state == BreakState::active) && one.range.overlaps(unit);
  });
}

std::optional<PageRange> Mapping::active_break(PageRange range) const {
  // relaxed: only a hint.
  if (breaks_count_.load(std::memory_order_relaxed) == 0) return std::nullopt;
  return breaking(range);
}

std::optional<PageRange> Mapping::breaking(PageRange range) const {
  const MutexLock lock(tree_);
  for (const BreakRecord& one : breaks_) {
    if (one.state != BreakState::queued && one.range.overlaps(range)) return one.range;
  }
  return std::nullopt;
}

// --- pins under a mark ---

// P4 for what the entry names: the count of its own order, and those of larger units around it, which may still be
// pinned from a time when one entry named all of it. Smaller counts are 0 since the unit formed.
std::optional<Mapping::BusyUnit> Mapping::busy_count(PageIndex index, Entry entry) const {
  for (const Order order : {kOrder4K, kOrder2M, kOrder1G}) {
    if (order < entry.order()) continue;
    const Pfn first = entry.pfn().align_down(order);
    if (first + order.pages() > Pfn(pages_.pages().raw())) break;
    if (pages_.read(first, order).pins() != 0) return BusyUnit{index, first, order};
  }
  return std::nullopt;
}

std::optional<Mapping::BusyUnit> Mapping::first_pinned(PageRange range) {
  std::optional<BusyUnit> busy;
  walk(range, [&](PageIndex index, Entry entry) {
    if (entry.has_page() && !entry.shared()) busy = busy_count(index, entry);
    return !busy;
  });
  return busy;
}

// --- gates ---

bool Mapping::close_gate(PageRange range, Nanoseconds patience) {
  {
    const MutexLock lock(tree_);
    gates_.push_back(range);
    // seq_cst: partner is the load in Hold::try_enter; the words of holds are read after this.
    closed_gates_.fetch_add(1, std::memory_order_seq_cst);
  }
  HF_MARK("mapping.gate.closed");
  const Deadline until = Deadline::after(patience);
  for (;;) {
    const LastingHolds inside = HoldTables::lasting(*this, range);
    if (inside.empty()) return true;
    HF_MARK("mapping.gate.waits");
    // A signal does not end this wait: it is short.
    const ParkOutcome outcome = wait_until(hold_ended_key(), until, [&] { return inside.ended(); });
    if (outcome == ParkOutcome::timed_out) return false;
  }
}

void Mapping::open_gate(PageRange range) {
  {
    const MutexLock lock(tree_);
    const auto gate = std::find(gates_.begin(), gates_.end(), range);
    HF_CHECK(gate != gates_.end(), "no gate is closed at [{}, {})", range.first.raw(), range.end.raw());
    gates_.erase(gate);
    closed_gates_.fetch_sub(1, std::memory_order_seq_cst);
  }
  wake(break_key());
}

bool Mapping::gate_closed(PageRange range) const {
  if (closed_gates_.load(std::memory_order_seq_cst) == 0) return false;
  const MutexLock lock(tree_);
  return std::any_of(gates_.begin(), gates_.end(), [range](const PageRange& gate) { return gate.overlaps(range); });
}

}  // namespace holdfast::mapping
