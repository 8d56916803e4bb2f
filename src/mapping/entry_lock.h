// The lock of one entry: whoever has it decides what the index names.
//
// First come, first served: unlocking hands the lock to the first waiter, so a newcomer never overtakes. Waits end at
// their deadline or by a signal. A waiter whose entry was erased meanwhile starts over from the root of the tree.
//
// Who holds an entry lock waits for nothing and takes no lock ranked before `tree`, but that of the file's windows to
// remove or install translations: zap waits for entry locks while its caller holds the inode, and nobody waits for one
// while he holds the windows' lock.
#pragma once

#include <cstdint>

#include "base/parker.h"
#include "base/units.h"
#include "mapping/entry.h"

namespace holdfast::mapping {

class Mapping;

// One sleeper in the queue of a mapping; lives on the sleeper's stack. Everything but the Parker is guarded by the tree
// lock, under which the sleeper leaves too: so a waker never touches a sleeper that is gone.
//
// Invariant L1: while somebody waits for an entry it is LOCKED; the lock passes to the first of its waiters, or, when
// the entry is erased, all of them are told to retry.
struct LockWaiter {
  enum class State : std::uint8_t { waiting, granted, retry };

  PageIndex index;
  State state = State::waiting;
  Parker parker;
  LockWaiter* next = nullptr;
};

class EntryLock {
 public:
  EntryLock(EntryLock&& other) noexcept : mapping_(other.mapping_), index_(other.index_), entry_(other.entry_) {
    other.mapping_ = nullptr;
  }
  EntryLock& operator=(EntryLock&&) = delete;
  // Unlocks. An EMPTY entry that nobody waits for is erased.
  ~EntryLock();

  // Where the entry begins, and what it is (without the LOCKED bit).
  PageIndex index() const { return index_; }
  Entry entry() const { return entry_; }
  // EMPTY becomes ZERO: a hole that readers see. Precondition: entry().is_empty().
  void set_zero() { entry_ = Entry::zero(entry_.order()); }

 private:
  friend class Mapping;
  EntryLock(Mapping& mapping, PageIndex index, Entry entry) : mapping_(&mapping), index_(index), entry_(entry) {}

  Mapping* mapping_;
  PageIndex index_;
  Entry entry_;
};

}  // namespace holdfast::mapping
