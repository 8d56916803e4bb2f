// On persistent memory: which bytes of a file may wait in the processor's caches, so that a sync flushes those only.
//
// Stores come from three sides:
//   - the library's own: they are flushed where they are made (persist in ordered.h), or before their block is recorded
//     as written (record.cc);
//   - windows: a translation that lets stores through comes after the mark of its entry, and goes with it at a sync. As
//     the kernel maps what it is given at will, a load through a window with write access marks like a store;
//   - pins with write access: taken on entries that are marked. A page that is pinned at a sync stays marked, since
//     nobody can know when its holder writes.
// A mark goes with its entry: whoever takes entries away writes them back before, or takes the blocks away as well.
//
// No mark tells of stores through windows that have no faults (Faults::none), nor of those of a process that died:
// there all blocks of the file are flushed, as long as there is such a window, and once after.
#pragma once

#include "base/clock.h"
#include "base/result.h"
#include "base/units.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Somebody is about to store to the range: its entries are marked. Those that are not there, or go meanwhile, stay so.
// ETIMEDOUT, EINTR. Nothing to do, and one branch, on other carriers.
Status mark_stores(Inode& inode, PageRange range, Deadline deadline);
// A window that nobody watches lets stores through from now on.
void note_unmarked_stores(Inode& inode) HF_EXCLUDES(inode.lock);

// What is marked in the range is durable. Blocks for as long as its lines take. EIO, EINTR: it stays marked.
Status flush_marked(Inode& inode, PageRange range);
// All that may have been stored to the range before is flushed; the fence is the caller's. As flush_marked.
Status flush_stores(Inode& inode, PageRange range) HF_EXCLUDES(inode.lock);
// All blocks of the range that hold data, by what the format knows.
Status flush_written(Inode& inode, PageRange range);

// The entries of a broken range are about to go, and units that reach out of it whole; what of them does not leave the
// file is flushed before, where it is marked. The range is zapped, and its gate is closed.
Status flush_beside(Inode& inode, PageRange broken, PageRange leaving);

}  // namespace holdfast::filesystem
