// All extended attributes of one inode, read into memory, and their way back: into the rest of the inode and into one
// block of their own, which the kernel may have made several inodes share.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "ext4/attribute_region.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class AttributeStore {
 public:
  // EUCLEAN, EIO.
  static Result<AttributeStore> load(Volume& volume, InodeNumber inode);

  AttributeList in_inode;
  AttributeList in_block;  // save_block() puts it in order

  // Bytes for bytes_needed(); 0: the inode has no place for attributes.
  std::size_t inode_room() const { return inode_region_.home_bytes; }
  static std::size_t block_room();

  // Writes in_inode back. Precondition: it fits.
  void save_inode();
  // Writes in_block back: to the block, to a new one (none yet, or a shared one), or gives the block up when the list
  // is empty. Precondition: it fits. ENOSPC, EFBIG with nothing changed. EUCLEAN: the list is written, but the old
  // block could not be freed and stays marked as used.
  Status save_block();

 private:
  struct InodeRegion {
    std::size_t magic_at = 0;    // in the whole inode
    std::size_t home_bytes = 0;  // behind the magic
  };

  AttributeStore(Volume& volume, InodeNumber inode, RawInode& raw) : volume_(&volume), inode_(inode), raw_(&raw) {}
  Status find_inode_region();
  Status load_inode();
  Status load_block();
  Result<BlockRef> new_block();
  Status give_up_block();

  Volume* volume_;
  InodeNumber inode_;
  RawInode* raw_;
  InodeRegion inode_region_;
  BlockRef block_;                // none: the inode has no block of attributes
  std::uint32_t references_ = 0;  // inodes that share the block
};

}  // namespace holdfast::ext4
