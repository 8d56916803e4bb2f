// Where the journal lies: the blocks of its inode, in order.
//
// It is found before anything else of the volume is read, because until the log is replayed all the rest may be stale:
// from the superblock, the place of an inode table (which never changes) and the journal's inode alone. Its map is read
// once, in either of ext4's forms; it never changes while the volume is mounted.
//
// Invariant:
//   J1 runs_ covers log blocks [0, blocks()) without gaps; every block of it lies inside the volume, and none twice.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "ext4/superblock.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class JournalArea {
 public:
  // ENOTSUP: it lies on another device. EUCLEAN: its inode is damaged, or no journal. EIO.
  static Result<JournalArea> find(device::Device& device, const ext2_super_block& super, const Geometry& geometry);

  std::uint32_t blocks() const { return blocks_; }
  // Where block `index` of the log lies. Precondition: index < blocks().
  BlockNumber at(std::uint32_t index) const;
  std::span<const BlockRun> runs() const { return runs_; }
  bool contains(BlockNumber block) const;
  // Makes sure that stores to the journal meet memory. ENOSPC of the carrier.
  Status reserve(device::Device& device) const;

 private:
  class Reader;

  std::vector<BlockRun> runs_;        // in the log's order
  std::vector<std::uint32_t> first_;  // log block that each begins with
  std::vector<BlockRun> sorted_;      // by place
  std::uint32_t blocks_ = 0;
};

// The errors of damaged journals: EUCLEAN with the remedy.
Error journal_damaged(const device::Device& device, const std::string& what);

}  // namespace holdfast::ext4
