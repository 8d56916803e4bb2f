#include "mapping/entry_lock.h"

#include <cerrno>

#include <fmt/format.h>

#include "mapping/mapping.h"

namespace holdfast::mapping {

EntryLock::~EntryLock() {
  if (mapping_ != nullptr) mapping_->unlock_entry(index_, entry_);
}

// Sleeps until the lock of the entry that covers `index` is the caller's, or that entry is gone. Drops the tree lock
// while it sleeps: what the caller knew of the tree is old afterwards.
Mapping::LockWait Mapping::wait_for_lock(PageIndex index, Deadline deadline, bool killable) {
  LockWaiter self;
  self.index = index;
  *lock_waiters_end_ = &self;
  lock_waiters_end_ = &self.next;
  while (self.state == LockWaiter::State::waiting) {
    tree_.unlock();
    HF_MARK("mapping.lock.waits");
    const ParkOutcome outcome = self.parker.park(deadline);
    HF_MARK("mapping.lock.woken");
    tree_.lock();
    const bool gives_up = outcome == ParkOutcome::timed_out || (outcome == ParkOutcome::interrupted && killable);
    // Either the lock was passed on before the tree lock was retaken, then it is taken all the same and goes on to the
    // next waiter by the caller; or the waiter leaves the queue, then nobody passes it anything.
    // Tests: EntryLockTest.GivingUpLeavesTheQueue, EntryLockTest.GrantThatMeetsADeadlineIsKept.
    if (gives_up && self.state == LockWaiter::State::waiting) {
      take_out(self);
      return outcome == ParkOutcome::timed_out ? LockWait::timed_out : LockWait::interrupted;
    }
  }
  return self.state == LockWaiter::State::granted ? LockWait::granted : LockWait::retry;
}

void Mapping::take_out(LockWaiter& waiter) {
  LockWaiter** link = &lock_waiters_;
  while (*link != &waiter) link = &(*link)->next;
  *link = waiter.next;
  if (waiter.next == nullptr) lock_waiters_end_ = link;
}

LockWaiter* Mapping::first_waiter(PageIndex index, Order order) const {
  for (LockWaiter* waiter = lock_waiters_; waiter != nullptr; waiter = waiter->next) {
    if (waiter->index.align_down(order) == index) return waiter;
  }
  return nullptr;
}

// Gives an existing entry the value `entry` and its lock to the first waiter; unlocked when there is none (L1).
void Mapping::publish(PageIndex index, Entry entry) {
  LockWaiter* const next = first_waiter(index, entry.order());
  entries_.replace(index, next == nullptr ? entry.without_lock() : entry.with_lock());
  if (next == nullptr) return;
  take_out(*next);
  next->state = LockWaiter::State::granted;
  next->parker.unpark();
}

// What must happen when the entry at `index` is erased, besides erasing it: M3, L1, M4.
void Mapping::forget(PageIndex index, Entry entry) {
  HF_CHECK(!entry.tracks(), "M3: entry {:#x} at index {:#x} is erased without a zap", entry.raw(), index.raw());
  entry_pages_.fetch_sub(entry.order().pages().raw(), std::memory_order_relaxed);
  clear_break(entry);
  while (LockWaiter* const waiter = first_waiter(index, entry.order())) {
    take_out(*waiter);
    waiter->state = LockWaiter::State::retry;
    waiter->parker.unpark();
  }
}

// Ends a holding of the lock: an EMPTY entry stays only for those who wait for it.
void Mapping::release_entry(PageIndex index, Entry entry) {
  if (entry.is_empty() && first_waiter(index, entry.order()) == nullptr) {
    forget(index, entry);
    entries_.erase(index);
  } else {
    publish(index, entry);
  }
}

void Mapping::unlock_entry(PageIndex index, Entry entry) {
  const MutexLock lock(tree_);
  release_entry(index, entry);
}

Error Mapping::lock_error(LockWait outcome, PageIndex index) const {
  std::string object = fmt::format("inode {}", file_.inode);
  if (outcome == LockWait::interrupted) return Error(EINTR, std::move(object), "a signal came");
  return Error(ETIMEDOUT, std::move(object), fmt::format("page {} stayed locked until the deadline", index.raw()));
}

// Finds what stands at the unit, and makes sure that nobody else has it locked.
Result<Mapping::Found> Mapping::settle(PageIndex index, Order order, Deadline deadline) {
  const PageRange unit{index, index + order.pages()};
  for (;;) {
    const std::optional<XArray::Found> found = entries_.find(unit);
    if (!found) return Found{index, Entry(), false, false};
    // Before the lock bit: a conflict is one, whoever holds the smaller entry.
    if (found->entry.order() < order) return Found{found->index, found->entry, true, false};
    if (!found->entry.locked()) return Found{found->index, found->entry, false, false};
    const LockWait outcome = wait_for_lock(found->index, deadline, true);
    if (outcome == LockWait::granted) {
      return Found{found->index, entries_.load(found->index).without_lock(), false, true};
    }
    if (outcome != LockWait::retry) return lock_error(outcome, found->index);
  }
}

Result<EntryLock> Mapping::lock_entry(PageIndex index, Order order, Deadline deadline) {
  HF_CHECK(index.is_aligned(order), "E2: index {:#x} of order {}", index.raw(), order.raw());
  const MutexLock lock(tree_);
  HF_ASSIGN(const Found found, settle(index, order, deadline));
  if (found.smaller || (found.entry.none() && straddles_break({index, index + order.pages()}))) {
    return Error(EEXIST, fmt::format("inode {}", file_.inode),
                 fmt::format("smaller entries are inside the unit at page {}", index.raw()));
  }
  if (found.entry.none()) {
    const Entry empty = Entry::empty(order);
    if (!entries_.store(index, empty.with_lock())) return no_memory();
    entry_pages_.fetch_add(order.pages().raw(), std::memory_order_relaxed);
    return EntryLock(*this, index, empty);
  }
  if (!found.ours) entries_.replace(found.index, found.entry.with_lock());
  return EntryLock(*this, found.index, found.entry);
}

}  // namespace holdfast::mapping
