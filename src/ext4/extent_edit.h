// One change to an extent tree, in two steps: plan() reads and reserves all that it needs and may fail, having changed
// nothing; apply() writes and cannot fail any more.
//
// Every change is the same one: the records that begin in a range of file blocks are replaced by others. From the
// leaves up, the nodes that hold them are filled anew: as many as the entries need, old nodes first, then reserved
// ones; what is left over is freed. A level whose nodes keep their keys and places ends the work. Leaves left half
// empty are joined with a neighbour, and a root with a single small child takes that child's place.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ext4/extent_node.h"

namespace holdfast::ext4 {

class ExtentEdit {
 public:
  // `raw` is *volume.inode(inode), with the EXTENTS flag.
  ExtentEdit(Volume& volume, InodeNumber inode, RawInode& raw);
  // Gives back what plan() reserved, unless apply() was called.
  ~ExtentEdit();
  ExtentEdit(const ExtentEdit&) = delete;
  ExtentEdit& operator=(const ExtentEdit&) = delete;

  // Precondition: no record lies across `first` or `end`; `records` are in order and inside [first, end). New nodes are
  // wanted near `near`. ENOSPC, EUCLEAN, EIO, EFBIG (depth).
  Status plan(std::uint64_t first, std::uint64_t end, const std::vector<ExtentRecord>& records, BlockNumber near);
  // Nodes that the plan adds, less those that it frees: what i_blocks grows by, in clusters.
  std::int64_t growth() const;
  // Writes the tree; i_blocks is left to the caller. EUCLEAN: the tree has changed, but a node that it no longer needs
  // could not be freed (its group's bitmap is damaged) and stays marked as used.
  Status apply();

 private:
  struct Level;
  struct Node {
    BlockRef keep;
    unsigned depth = 0;
    std::vector<ExtentEntry> entries;
  };

  Status gather(std::uint64_t first, std::uint64_t end);
  Status gather_nodes(std::size_t level, std::uint64_t first, std::uint64_t end);
  Status join_neighbour(std::size_t level, std::size_t added);
  // Spreads the entries over nodes; answers the index entries that name them.
  Result<std::vector<ExtentEntry>> fill_nodes(const std::vector<ExtentEntry>& content, unsigned depth, bool at_end,
                                              const std::vector<BlockNumber>& reusable);
  Result<BlockRef> new_node();
  Status finish_root(std::vector<ExtentEntry> content, unsigned depth, bool at_end);

  Volume& volume_;
  const InodeNumber inode_;
  RawInode& raw_;
  const std::uint32_t seed_;
  BlockNumber near_ = 0;
  std::vector<Level> levels_;  // of the tree as it is; [0] is the root
  std::vector<Node> written_;
  std::vector<BlockNumber> reserved_;
  std::vector<BlockNumber> surplus_;
  bool root_changes_ = false;
  unsigned new_depth_ = 0;
  std::vector<ExtentEntry> new_root_;
  bool applied_ = false;
};

}  // namespace holdfast::ext4
