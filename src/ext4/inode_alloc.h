// Which inodes are in use, and which one a new file gets.
//
// Files go into the group of their directory; directories right below the root are spread over the groups, deeper ones
// stay near their parent while there is room. A group's bitmap is read when the group is first asked for an inode.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "ext4/allocator.h"
#include "ext4/block_cache.h"
#include "ext4/group_table.h"
#include "ext4/inode_table.h"
#include "ext4/superblock.h"

namespace holdfast::ext4 {

class InodeAllocator {
 public:
  InodeAllocator(BlockCache& cache, const Geometry& geometry, GroupTable& groups, Allocator& blocks, InodeTable& table,
                 std::string device_name);

  void load();
  // Marks a free inode used and gives its place in the table, zeros. ENOSPC.
  struct Made {
    std::uint32_t number = 0;
    RawInode* raw = nullptr;
  };
  Result<Made> allocate(std::uint32_t parent, bool directory);
  // EUCLEAN when it was not in use.
  Status free(std::uint32_t inode, bool directory);
  Result<bool> in_use(std::uint32_t inode);
  std::uint64_t free_inodes() const { return free_; }

  // Brings the checksums of changed bitmaps into the descriptors. Part of a commit.
  Status seal();

 private:
  Result<BlockRef> bitmap(GroupNumber group);
  Result<GroupNumber> group_for(std::uint32_t parent, bool directory);
  GroupNumber spread_directory();
  void changed(GroupNumber group);
  Result<Made> take(GroupNumber group, std::uint32_t index, bool directory);

  BlockCache& cache_;
  const Geometry& geometry_;
  GroupTable& groups_;
  Allocator& blocks_;
  InodeTable& table_;
  std::string device_name_;
  std::vector<GroupNumber> changed_;
  std::vector<bool> listed_;
  std::uint64_t free_ = 0;
  GroupNumber rotor_ = 0;
};

}  // namespace holdfast::ext4
