// A place in an extent tree: finds a record by binary search and goes on from there in both directions.
//
// The nodes of the way down are kept in the block cache and read in place. A cursor is good until the tree changes.
#pragma once

#include <array>
#include <cstdint>

#include "base/result.h"
#include "ext4/extent_node.h"

namespace holdfast::ext4 {

class ExtentCursor {
 public:
  // `raw` is *volume.inode(inode), with the EXTENTS flag.
  ExtentCursor(Volume& volume, InodeNumber inode, const RawInode& raw) : volume_(volume), inode_(inode), raw_(raw) {}

  // Stands on the record that holds `logical`, or on the first one after it, or at the end. EUCLEAN, EIO.
  Status seek(std::uint64_t logical);
  // Precondition: !at_end().
  Status next();
  // To the record before; false when there is none, and the cursor stays. Also from the end.
  Result<bool> previous();

  bool at_end() const { return at_end_; }
  // Precondition: !at_end(). Its blocks are blocks that a file may own.
  const ExtentRecord& record() const { return record_; }

 private:
  struct Level {
    BlockRef keep;
    ExtentEntries entries;
    std::size_t position = 0;
    std::uint64_t upper = 0;  // keys of the whole node are below
  };

  Status descend(std::size_t level, std::uint64_t logical);
  Status enter_child(std::size_t level);
  Status take_record();
  // From the end of a leaf to the first record of the next one.
  Status climb_forward();

  Volume& volume_;
  InodeNumber inode_;
  const RawInode& raw_;
  unsigned depth_ = 0;
  std::array<Level, kExtentDepthMax + 1> levels_;  // [0] is the root, [depth_] the leaf
  ExtentRecord record_;
  bool at_end_ = true;
};

}  // namespace holdfast::ext4
