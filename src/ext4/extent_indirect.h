// Reading files whose blocks are mapped as ext2 and ext3 do it: twelve block numbers in the inode, then blocks of block
// numbers in up to three levels.
#pragma once

#include "base/result.h"
#include "ext4/extent_list.h"

namespace holdfast::ext4 {

// Appends the runs of the range, in order. EUCLEAN, EIO.
Status find_indirect(Volume& volume, InodeNumber inode, const RawInode& raw, LogicalRange range, ExtentList& found);

}  // namespace holdfast::ext4
