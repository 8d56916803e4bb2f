// Telling the format what writes did: which unwritten blocks hold data now, the size, the times.
//
// Writes convert blocks in memory and note it; the format is told in one handle for many writes: at sync, when the
// last handle goes, when the notes become many, and before anything that needs both to agree. Until then a crash finds
// the file as it was recorded: unwritten blocks read as zeros, never as what lay there before.
#pragma once

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Pages of the range, unwritten until now, hold data: known here at once, to the windows too, and noted for the format.
void mark_written(Inode& inode, PageRange range) HF_REQUIRES(inode.lock);
// The range leaves the file: nothing of it is to be recorded any more.
void forget_unrecorded(Inode& inode, PageRange range) HF_REQUIRES(inode.lock);

// Whether record() would begin a handle.
bool needs_recording(Inode& inode) HF_REQUIRES(inode.lock);
// Everything noted, in one handle, or a few when the notes are very many. On an error those not told of stay.
Status record_locked(Inode& inode) HF_REQUIRES(inode.lock);
Status record(Inode& inode) HF_EXCLUDES(inode.lock);
// Keeps the notes few: records when there are many. Called by writers, who report the error.
Status record_if_many(Inode& inode) HF_REQUIRES(inode.lock);

}  // namespace holdfast::filesystem
