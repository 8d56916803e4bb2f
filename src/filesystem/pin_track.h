// What a pin finds missing: blocks, their contents, and the entries that make pages countable.
//
// Either the entry of a page is inserted while its extent stands (inside a hold, with the extent looked up there), or
// the page left the file before, and a closed gate or the changed extent says so. Zeroes come before the conversion of
// an unwritten block, the conversion before the entry: whoever pins the page finds zeros or data, never what lay there.
#pragma once

#include <optional>

#include <holdfast/types.h>

#include <holdfast/units.h>

#include "base/clock.h"
#include "base/units.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Makes every page of the range, which lies below the end of the file, an entry's: of the largest unit that its blocks
// allow. Entries stay. ENXIO (read access to a hole; past the end), ENOSPC, ENODEV, ENOMEM, ETIMEDOUT, EINTR, EIO.
// Blocks on the inode lock where blocks are missing, and on a closed gate (bounded). No lock is held by the caller.
// `units`: whether this caller may take the time to have units made of blocks that come.
Status track(Inode& inode, PageRange range, Access access, Deadline deadline, Units units);

// The same without waiting, for a caller inside a Hold of the 2 MiB (of the larger unit) that the range lies in: false
// where blocks are missing, unwritten or unknown, or somebody has an entry locked.
bool try_track_held(Inode& inode, PageRange range);

// The unit of `order` that holds the page may be one entry: it lies whole on congruent, contiguous blocks, which are
// written as far as the file reaches. Its first page on the device. The extents are known; the caller is inside a hold
// of the unit or has the inode lock.
std::optional<Pfn> whole_unit(const Inode& inode, PageIndex index, Order order);

}  // namespace holdfast::filesystem
