// On persistent memory: what a program can store to is there after a power failure.
//
// A program that holds a pin or has a window makes its stores durable itself, by flushes of its own lines and a fence,
// and tells nobody. So what finds the bytes again must be durable before the program can store: that the block is the
// file's, that it is written, and that the file reaches so far. Hence
//   Q1  an entry (mapping::Mapping::insert) comes only over blocks that the file has durably, and as far as the file
//       reaches durably;
//   Q2  a file grows into pages that an entry tracks already (its last page; a unit that reaches past its end) only
//   when
//       the new size is durable, and the conversion of what was unwritten with it.
// Translations and pins need entries, so the two are enough; but for windows without faults, which the kernel fills
// with what a write has just shown (Faults::none): those promise nothing.
//
// A commit is made only where something of this file waits for one (as ext4 keeps i_datasync_tid), by whoever cannot
// wait for it otherwise: the fault, the pin, or the writer of Q2. On other carriers nothing is kept, and nothing waits.
//
// Either/or of an entry and a change: a change is counted before the extents (the size) say it, and who inserts looks
// at the extents (the size) first, and at the count then. So either the entry is for what was there before the change,
// or its maker sees that something waits. Test: Reach.AnEntryMeetsAConversion.
//
// Either/or of an entry and a growth (Q2): the growth counts, and looks then for entries and for holds around the old
// end; who inserts has published its hold, and looks at the count then; all four are sequentially consistent. So either
// the growth sees the hold (or the entry), and commits before it shows the new size, or the other sees the count.
// Test: Reach.AnEntryMeetsAGrowth.
#pragma once

#include <cstdint>

#include "base/atomic.h"
#include "base/result.h"

namespace holdfast::filesystem {

class Inode;

struct Reach {
  Atomic<std::uint64_t> changes{1};  // of where bytes live, and how far; 1: what the object of before knew
  Atomic<std::uint64_t> durable{0};  // so many of them are
  // Guarded by the inode's lock.
  bool recorded = true;         // the format knows all changes
  std::uint64_t in_commit = 0;  // and this one has them, or one before
};

// Blocks come, become written, or the size grows: before anybody can see it. The inode's lock is held.
void note_reach(Inode& inode);
// All changes were told to the format; its handles have ended, or this one will before the next. The lock is held.
void note_recorded(Inode& inode);

// Whether all that the caller has looked up of the file before is durable. Lock-free.
bool reaches_durably(const Inode& inode);
// Records and commits what is not: as of now. Blocks on commits. EIO, EROFS: it is not.
Status make_reach_durable(Inode& inode);
// The same where the inode's lock is held: nothing changes until it is let go.
Status make_reach_durable_locked(Inode& inode);

}  // namespace holdfast::filesystem
