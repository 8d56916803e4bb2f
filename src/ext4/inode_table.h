// The inodes in memory: read from their table once, changed in place, written to their table block at a commit.
//
// Invariants:
//   I1 an inode is here at most once; a RawInode* stays good until trim(), which runs only between operations.
//   I2 a changed inode is on the dirty list until seal() has brought it, checksummed, into its table block.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ext4/block_cache.h"
#include "ext4/group_table.h"
#include "ext4/superblock.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class InodeTable {
 public:
  InodeTable(BlockCache& cache, const Geometry& geometry, GroupTable& groups, std::string device_name);

  // Whatever lies in the table, zeros included. EINVAL (number out of range), ENOENT (never used), EUCLEAN, EIO.
  Result<RawInode*> get(std::uint32_t inode);
  // A place for an inode that is just being made: zeros, not read. `first_use`: its table block was never used, so the
  // rest of the block becomes zeros too.
  Result<RawInode*> make(std::uint32_t inode, bool first_use);
  void changed(std::uint32_t inode);

  // Writes changed inodes into their table blocks. Part of a commit.
  Status seal();
  std::size_t dirty() const { return dirty_.size(); }
  // How often changed() was called.
  std::uint64_t changes() const { return changes_; }
  std::size_t size() const { return inodes_.size(); }
  // When there are more clean inodes than the limit, drops some, those not used lately first.
  void trim(std::size_t inodes_max);

  std::uint32_t seed(std::uint32_t inode, std::uint32_t generation) const;

 private:
  struct Cached {
    RawInode raw;
    bool dirty = false;
    bool used = true;  // since the last trim
  };

  std::uint64_t table_block(std::uint32_t inode) const;
  std::size_t offset_in_block(std::uint32_t inode) const;
  Status unpack(std::uint32_t inode, const std::byte* from, RawInode& raw) const;
  void pack(std::uint32_t inode, const RawInode& raw, std::byte* to) const;
  Error broken(std::uint32_t inode, const std::string& what) const;

  BlockCache& cache_;
  const Geometry& geometry_;
  GroupTable& groups_;
  std::string device_name_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Cached>> inodes_;
  std::vector<std::uint32_t> dirty_;
  std::uint64_t changes_ = 0;
};

}  // namespace holdfast::ext4
