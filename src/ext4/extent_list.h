// Lists of records in memory: what a change reads out of a tree, alters and puts back.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ext4/extent_node.h"

namespace holdfast::ext4 {

using ExtentList = std::vector<ExtentRecord>;

// How an inode says where its blocks are.
enum class BlockMap : std::uint8_t {
  none,  // has none: device nodes, symbolic links inside the inode
  extents,
  indirect,  // ext2's and ext3's blocks of block numbers
};

// EOPNOTSUPP: the data lies inside the inode (inline_data).
Result<BlockMap> block_map(InodeNumber inode, const RawInode& raw);
// EOPNOTSUPP unless the inode has an extent tree.
Status require_extents(InodeNumber inode, const RawInode& raw);

struct LogicalRange {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};
// The range, cut where file blocks end.
LogicalRange clip_to_file_blocks(PageRange range);

// Adds a record after the others; joins the last one where both are contiguous, alike and not too long together, and
// is cut into records that are not too long.
void append_record(ExtentList& list, ExtentRecord record, std::uint64_t blocks_per_cluster);

// The whole records that overlap the range or touch it from either side.
Status records_around(Volume& volume, InodeNumber inode, const RawInode& raw, LogicalRange range, ExtentList& found);

// The record before the range and the one after it; a count of 0 says there is none.
Status nearest_records(Volume& volume, InodeNumber inode, const RawInode& raw, LogicalRange range,
                       ExtentRecord& previous, ExtentRecord& next);

// The clusters that the blocks lie in, each once, as runs of whole clusters. Precondition: records of one file, in
// order, whose blocks are the only ones that the file has in these clusters.
std::vector<BlockRun> whole_clusters(const ExtentList& list, std::uint64_t blocks_per_cluster);
std::uint64_t count_clusters(const std::vector<BlockRun>& runs, std::uint64_t blocks_per_cluster);

}  // namespace holdfast::ext4
