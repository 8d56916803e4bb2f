// The inode of bad blocks (EXT2_BAD_INO): a file without a name that owns what is never to be handed out, as
// badblocks(8) and `e2fsck -l` make it. Its blocks are mapped in the way of ext2, twelve numbers in the inode and then
// blocks of numbers, and no record is cut out of it again. libext2fs counts its size and blocks without those of
// numbers.
//
// With clusters one block stands for each: a second one of the same cluster is an error to e2fsck.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <functional>
#include <vector>

#include "base/result.h"
#include "ext4/volume_core.h"

namespace holdfast::ext4 {

// The runs of clusters that the list owns, in the order of the list. EUCLEAN, EIO.
Status each_bad_run(VolumeCore& volume, const std::function<void(BlockRun)>& visit);

// Blocks of numbers that so many more need at most.
std::uint32_t bad_list_blocks(std::size_t more);

// Appends first blocks of clusters, which are taken already, below 2^32. EFBIG: numbers are of 32 bits, and the list
// has three levels; ENOSPC, EUCLEAN, EIO: the list has the first of them maybe, and the caller stops.
Status add_bad_blocks(VolumeCore& volume, const std::vector<BlockNumber>& blocks);

}  // namespace holdfast::ext4
