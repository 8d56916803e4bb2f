// The end of inodes without names and handles, and of pages in quarantine.
//
// A page in quarantine is freed when it is idle: no pin counts on it or on a unit around it, and no copy that a detach
// overran touches it. Either a look finds it idle, or the unpin that makes it so comes after the look and queues the
// inode for another one (PageOwner::last_put; the hook leaves the queue before the look).
// Test: Breaks.EvictionSeesTheUnpinThatComesDuringItsLook.
#pragma once

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// What the worker does for a request: evicts the inode as far as pins let it, or frees what is idle in the holding
// inode. Worker's turn. The inode may be gone afterwards.
void look_at(Inode& inode);

// Frees what is idle in the holding inode, and lets it go when nothing is left. Worker's turn.
void reap_holding(Core& core);

// Finishes what a former mount left on the orphan list. At mount, before anyone has a file.
Status clean_orphans(Core& core);

}  // namespace holdfast::filesystem
