// One file's tree of entries, and everything that may happen to an entry. Knows no file system: callers bring page
// frames and orders.
//
// Races are decided here by four mechanisms:
//   - the entry's LOCKED bit: one holder decides what an index names; FIFO hand-over, killable waits (entry_lock.h);
//   - break marks: ranges where no new pin may enter (layout sets them, for the whole of a break's wait);
//   - gates: ranges closed for the bounded commit of a break, where also no copy, insert or fault may enter;
//   - short holds (hold.h): published by copies, inserts and faults; closing a gate waits for those inside.
//
// Invariants (checked by check())
//   M1  every real, unzapped entry's unit is tracked: by this entry alone, and its (owner, index) name this mapping
//       here; or, where the entry is SHARED, by at least this one (sharing.cc).
//   M2  entries are disjoint, aligned (E2), and `entry_pages()` is the sum of their sizes.
//   M3  an entry is erased only when zapped (or page-less) and not LOCKED by another.
//   M4  a tracked unit inside an active break carries its break mark, unless it is SHARED: those carry none.
//   M5  no entry straddles the end of an active break.
//   M6  where marks are kept, an entry with a page is CLEAN or marked dirty, but while its lock is held.
//
// Locking: `tree` (rank tree) guards changes of the tree, the breaks, the gates and the queue for entry locks; lookups
// and pins need none but run inside an epoch. It is never held while waiting, and long walks drop it between batches.
// What a walk saw of an index stays true afterwards because of marks and gates, not because of the lock.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/mark.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/trace.h"
#include "base/units.h"
#include "mapping/entry.h"
#include "mapping/entry_lock.h"
#include "mapping/hold.h"
#include "mapping/pinned_run.h"
#include "mapping/xarray.h"
#include "pagemap/pagemap.h"
#include "pagemap/pin_table.h"

namespace holdfast::mapping {

// Upcall 3 of 3: windows that show the file.
class TranslationRemover {
 public:
  // Removes every translation of the range, in every window, before it returns.
  virtual void remove_translations(PageRange range) = 0;

 protected:
  ~TranslationRemover() = default;
};

// Whether stores through entries are to be known of: where flushing means something.
enum class Marks : std::uint8_t { none, kept };

class Mapping {
 public:
  // `owner` is told of last puts of pages whose entries this mapping zapped.
  Mapping(pagemap::PageMap& pages, pagemap::PageOwner& owner, pagemap::FileKey file, Marks marks = Marks::none);
  // Precondition: no entry, break or gate is left (remove(everything) was called), and no reader.
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  pagemap::PageMap& pages() const { return pages_; }
  pagemap::FileKey file() const { return file_; }
  pagemap::OwnerId owner_id() const { return owner_id_; }
  // The caller keeps `remover` alive until it is replaced and no zap runs.
  void set_translation_remover(TranslationRemover* remover);

  // --- lookup: lock-free, any thread ---
  // The entry that covers the index; the LOCKED bit may be set.
  Entry lookup(PageIndex index) const {
    const epoch::Guard guard;
    return entries_.load(index);
  }

  // The first entry that tracks a page of the range. Takes the tree lock.
  std::optional<Entry> first_tracking(PageRange range);

  // --- pins: lock-free ---
  enum class PinOutcome : std::uint8_t {
    pinned,
    absent,  // or CLEAN, and write access was asked for
    breaking,
    full,
    shared,  // write access to a block that others may have: the file needs one of its own first (sharing.cc)
  };
  struct PinResult {
    PinOutcome outcome = PinOutcome::absent;
    PageIndex at;  // where anything but `pinned` was met
  };
  // Pins every unit that holds a page of the range and verifies each entry from the root; all or nothing. Appends what
  // was counted to `runs`. Never blocks. A transient count that is undone wakes whom it confused.
  //
  // Who gives pins an identity keeps one epoch::Guard around { take_slot, try_pin, confirm_slot } and one around
  // { release_slot, unpin }: a break by `fail` waits for such guards before it counts (see layout/break.h).
  PinResult try_pin(PageRange range, std::vector<PinnedRun>& runs, Access access = Access::read) const;
  // The same for the unit that covers one index, without a vector, inside an epoch: the hot path.
  PinResult try_pin_unit(PageIndex index, PinnedRun& run, Access access = Access::read) const;

  // --- faults and slow pins: the caller is inside a Hold of the range ---
  enum class InsertOutcome : std::uint8_t {
    inserted,       // tracked now, also when a ZAP entry was revived (at its own order) or an EMPTY/ZERO one replaced
    already_there,  // a real entry covers the index
    conflict,       // no entry of this order may stand here now: insert smaller
    dirty,          // a larger ZAP entry, of other blocks in part, would take its mark along: write that back first
  };
  // Makes `index` name the unit (aligned; pfn aligned alike). Waits for the entry's lock, until the deadline.
  // ENODEV (device closed), EMLINK, ENOMEM, ETIMEDOUT, EINTR: nothing changed. EAGAIN: the caller's hold was overrun by
  // a detaching break: leave it, look the extents up again, start over.
  // A conflict are smaller entries inside the unit, a page of it that is still in use by itself, or the end of a break
  // inside the unit (M5). Translations of a ZERO entry are the caller's, who replaces them by the block's.
  // A ZAP entry that is revived is SHARED if it was, or if `sharing` says so; make_own() ends that.
  Result<InsertOutcome> insert(PageIndex index, Pfn pfn, Order order, Deadline deadline,
                               Sharing sharing = Sharing::own);
  // Replaces idle entries that exactly fill a congruent unit by one entry of `order`, if nobody holds any of them, no
  // break or closed gate overlaps and none is locked. False: the same pages are named as before. Existing translations
  // stay good: they show the same memory.
  bool try_form_unit(PageIndex first, Pfn pfn, Order order);

  // --- blocks of several files: see sharing.cc ---
  // The blocks of the range are no other file's any more: SHARED entries become this file's own, with the page's back
  // pointer, and with the break mark where a break is active. The caller has the file's lock, so that no other file
  // gets them meanwhile. Waits for entry locks, and for an epoch. Translations stay: those of SHARED entries refuse
  // stores, and are the caller's to renew.
  void make_own(PageRange range);

  // --- entry locks: see entry_lock.h ---
  // Locks the entry that covers `index`; where there is none, creates an EMPTY one of `order` first. ETIMEDOUT, EINTR,
  // ENOMEM; EEXIST: smaller entries are in the way. Nothing changed then.
  Result<EntryLock> lock_entry(PageIndex index, Order order, Deadline deadline);

  // --- dirty marks: only where flushing means something ---
  // Marks stay with an entry through zap and revival and go when it is erased. Marking where no entry is does nothing.
  void set_mark(PageIndex index, EntryMark mark);
  void clear_mark(PageIndex index, EntryMark mark);
  bool marked(PageIndex index, EntryMark mark) const;
  // The first entry with the mark that overlaps the range.
  std::optional<XArray::Found> first_marked(PageRange range, EntryMark mark) const;
  // For who is about to store: marks the entry that covers `index` dirty, so that it is not CLEAN any more, and gives
  // its lock, under which a writable translation may be installed. Waits for the lock of another, to the deadline.
  // EAGAIN: no entry tracks the page. ETIMEDOUT, EINTR.
  Result<EntryLock> mark_dirty(PageIndex index, Deadline deadline);
  // Flushes every entry of the range that is dirty at the call, and the last store to it before the call with it; those
  // that nobody has pinned are CLEAN then. See write_back.cc. `flush` runs with the entry's lock held, so it waits for
  // nothing but the device and takes no lock ranked before `tree`. Its error ends the write-back; what was not flushed
  // stays dirty. ETIMEDOUT, EINTR: an entry stayed locked by another.
  using Flush = std::function<Status(PageIndex index, Pfn pfn, PageCount count)>;
  Status write_back(PageRange range, const Flush& flush, Deadline deadline);

  // --- breaks: called by the layout layer ---
  // Rounds a range out to the entries that straddle its ends.
  PageRange round_to_units(PageRange range) const;
  // A break's mark on a range: queued in order of arrival, then active. Active ranges never overlap, and of two that
  // would, the earlier goes first.
  struct BreakMark {
    PageRange range;
    std::uint64_t id = 0;
  };
  // `until_unpinned`: this break will wait for pins without a deadline.
  BreakMark queue_mark(PageRange range, bool until_unpinned = false);
  // True: the mark is active, `mark.range` is rounded to units, and no new pin enters it. False: another one's turn;
  // park on break_key() and ask again.
  bool try_activate(BreakMark& mark);
  // Of those that a queued mark waits for, directly or behind others: the ranges that are active until they are
  // unpinned.
  std::vector<PageRange> waits_behind(const BreakMark& mark) const;
  // Takes an active or queued mark away and wakes break_key().
  void unmark(const BreakMark& mark);
  // The range of an active break that overlaps. A break that begins at this moment may be missed: pins are refused by
  // the mark on their page all the same.
  std::optional<PageRange> active_break(PageRange range) const;
  // The same, and exact: a break that is not seen becomes active after this call.
  std::optional<PageRange> breaking(PageRange range) const;
  // Woken whenever a mark or a gate goes.
  const void* break_key() const { return &break_key_; }

  // First unit of the range with pins (P4). `order` and `pfn` name the count that has them, which may be that of a
  // larger unit whose entry is gone; `index` is where the entry begins. Waits for nothing: a locked entry is looked at
  // like any other, because its page's word is true whoever holds the lock. ZAP entries count too; SHARED ones do not.
  struct BusyUnit {
    PageIndex index;
    Pfn pfn;
    Order order;
  };
  std::optional<BusyUnit> first_pinned(PageRange range);

  // --- gates ---
  // Closes the gate of the range: nothing new enters. Waits up to `patience` for short holds inside; false: some are
  // still there (the gate is closed all the same; the caller reopens, or goes on knowing it).
  bool close_gate(PageRange range, Nanoseconds patience);
  // Takes the same range as close_gate. Wakes break_key().
  void open_gate(PageRange range);
  bool gate_closed(PageRange range) const;
  // Inside a closed gate: whether a short hold overlaps the range still.
  bool held(PageRange range) const { return HoldTables::any(*this, range); }

  // --- zap and delete: gate closed ---
  // Removes translations of the range, then returns each real entry's reference exactly once and marks it ZAP. Waits
  // for entry locks, which are short. Idempotent. Reports the first unit that is still pinned, or nullopt; SHARED ones
  // only where asked for.
  enum class Report : std::uint8_t { own, all };
  std::optional<BusyUnit> zap(PageRange range, Report report = Report::own);
  // Erases zapped and page-less entries of the range, whole units also where they straddle its ends. The association is
  // undone by zap; busy units (detach) lose their entry too. Who keeps dirty marks flushes what straddles before.
  void remove(PageRange range);

  // Pages of entries that track a page: real and not ZAP.
  PageCount tracked_pages() const { return PageCount(tracked_pages_.load(std::memory_order_relaxed)); }
  // Pages of all entries.
  PageCount entry_pages() const { return PageCount(entry_pages_.load(std::memory_order_relaxed)); }
  // Names the first broken invariant of X1..X4 and M1..M5, or nothing. For debug builds and tests, at quiet moments;
  // takes the tree lock.
  std::optional<std::string> check() const;

 private:
  friend class Hold;
  friend class EntryLock;

  // Entries looked at in one holding of the tree lock.
  static constexpr unsigned kBatch = 256;

  enum class BreakState : std::uint8_t {
    queued,
    marking,   // inserts mark; the walk that marks what was there is under way
    active,    // M4, M5
    clearing,  // inserts do not mark any more; the walk that clears is under way
  };
  struct BreakRecord {
    PageRange range;
    std::uint64_t id;
    bool until_unpinned;
    BreakState state;
  };

  // What stands where an entry is wanted, and is not locked by anyone else.
  struct Found {
    PageIndex index;
    Entry entry;           // without LOCKED; none: nothing stands there
    bool smaller = false;  // it is smaller than what is wanted; it may be locked
    bool ours = false;     // its lock was handed to us
  };

  // entry_lock.cc
  enum class LockWait : std::uint8_t { granted, retry, timed_out, interrupted };
  LockWait wait_for_lock(PageIndex index, Deadline deadline, bool killable) HF_REQUIRES(tree_);
  void take_out(LockWaiter& waiter) HF_REQUIRES(tree_);
  LockWaiter* first_waiter(PageIndex index, Order order) const HF_REQUIRES(tree_);
  void publish(PageIndex index, Entry entry) HF_REQUIRES(tree_);
  void forget(PageIndex index, Entry entry) HF_REQUIRES(tree_);
  void release_entry(PageIndex index, Entry entry) HF_REQUIRES(tree_);
  void unlock_entry(PageIndex index, Entry entry);
  Result<Found> settle(PageIndex index, Order order, Deadline deadline) HF_REQUIRES(tree_);
  Error lock_error(LockWait outcome, PageIndex index) const;
  Error no_memory() const;

  // insert.cc
  Status track(PageIndex index, Entry entry) HF_REQUIRES(tree_);
  Entry unmarked(Entry entry) const { return marks_ == Marks::kept ? entry.as_clean() : entry; }
  Status insert_fresh(PageIndex index, Entry entry) HF_REQUIRES(tree_);
  Result<InsertOutcome> insert_at(Found& found, PageIndex index, Entry wanted) HF_REQUIRES(tree_);
  bool straddles_break(PageRange unit) const HF_REQUIRES(tree_);
  bool may_form(PageRange unit, Pfn pfn, Order order) HF_REQUIRES(tree_);
  bool untrack_parts(PageRange unit) HF_REQUIRES(tree_);
  void retrack_parts(PageRange unit) HF_REQUIRES(tree_);

  // breaks.cc
  bool marks_now(PageRange unit) const HF_REQUIRES(tree_);
  // No break mark stays behind on a page that the entry will not name any more, or not as the file's own.
  void clear_break(Entry entry) const;
  PageRange rounded(PageRange range) const HF_REQUIRES(tree_);
  BreakRecord& record(std::uint64_t id) HF_REQUIRES(tree_);
  bool goes_before(const BreakRecord& other, const BreakRecord& mine, PageRange rounded) const HF_REQUIRES(tree_);
  void set_state(std::uint64_t id, BreakState state);
  std::optional<BusyUnit> busy_count(PageIndex index, Entry entry) const;

  // walk.h
  // Calls visit(index, entry) for the entries of the range until it says false.
  template <typename Visit>
  void walk(PageRange range, Visit visit);
  // Calls change(cursor) for the entries of the range, each when nobody else has it locked: it may replace or erase it.
  template <typename Change>
  void change_unlocked(PageRange range, Change change);
  template <typename Change>
  bool change_batch(PageRange& range, Change& change);

  // write_back.cc
  void pick_dirty(PageRange range);
  Result<std::optional<EntryLock>> lock_picked(PageRange range, Deadline deadline);
  void become(EntryLock& locked, Entry entry);
  Status write_back_one(EntryLock& locked, const Flush& flush);

  void clear_marks(PageIndex index) HF_REQUIRES(tree_);
  std::optional<std::string> check_entry(PageIndex index, Entry entry) const HF_REQUIRES(tree_);

  pagemap::PageMap& pages_;
  const pagemap::FileKey file_;
  const pagemap::OwnerId owner_id_;
  const std::uint32_t generation_;  // of the process that made it
  const Marks marks_;
  char break_key_ = 0;
  Atomic<TranslationRemover*> remover_;

  mutable Mutex tree_{LockRank::tree};
  XArray entries_;                                        // changed under tree_
  std::vector<BreakRecord> breaks_ HF_GUARDED_BY(tree_);  // in order of arrival
  std::vector<PageRange> gates_ HF_GUARDED_BY(tree_);
  std::uint64_t next_break_ HF_GUARDED_BY(tree_) = 1;
  LockWaiter* lock_waiters_ HF_GUARDED_BY(tree_) = nullptr;  // first come, first served
  LockWaiter** lock_waiters_end_ HF_GUARDED_BY(tree_) = &lock_waiters_;

  // Hints that spare the lock where there is no break and no gate.
  Atomic<std::uint32_t> closed_gates_;
  Atomic<std::uint32_t> breaks_count_;
  // Changed under tree_, read anywhere.
  Atomic<std::uint64_t> entry_pages_;
  Atomic<std::uint64_t> tracked_pages_;
};

// Either/or of a pin and a zap. The pin counts on the page's word, then reads the entry from the root of the tree. The
// zap exchanges the entry for its ZAP form, then drops `tracked` on the page's word and reads the pins there. All four
// steps are sequentially consistent. So either the pin reads the zapped entry and undoes its count, or the zap reads
// the pin. With a release store in place of the exchange both can miss each other, and a page is freed under a pin.
// From the root, because a slot of a node that left the tree says nothing, while the same entry may stand elsewhere.
// Tests: Race.R1_PinBetweenZapAndCount, Race.R3_UndoneCountWakes.
[[gnu::always_inline]] inline Mapping::PinResult Mapping::try_pin_unit(PageIndex index, PinnedRun& run,
                                                                       Access access) const {
  HF_DEBUG_CHECK(epoch::inside(), "page {:#x} is pinned outside of an epoch", index.raw());
  const Entry entry = entries_.load(index).without_lock();
  if (!entry.tracks()) return {PinOutcome::absent, index};
  if (entry.refuses_stores() && access == Access::write) [[unlikely]] {
    return {entry.shared() ? PinOutcome::shared : PinOutcome::absent, index};
  }
  HF_MARK("mapping.pin.found");
  switch (pages_.try_pin(entry.pfn(), entry.order())) {
    case pagemap::TakeOutcome::taken:
      break;
    case pagemap::TakeOutcome::untracked:
      return {PinOutcome::absent, index};
    case pagemap::TakeOutcome::breaking:
      return {PinOutcome::breaking, index};
    case pagemap::TakeOutcome::full:
      return {PinOutcome::full, index};
  }
  HF_MARK("mapping.pin.counted");
  if (__builtin_expect(entries_.load(index).without_lock() != entry, 0)) {
    pages_.unpin(entry.pfn(), entry.order());
    return {PinOutcome::absent, index};
  }
  run = {entry.pfn(), 1, entry.order()};
  HF_TRACE3(pin, index.raw(), 1, entry.order().raw());
  return {PinOutcome::pinned, index};
}

}  // namespace holdfast::mapping
