// Inodes that have no name but still have blocks: what an unclean end must free, and what quarantine is made of.
//
// Two forms, both read by e2fsck and the kernel. The list: s_last_orphan names the first inode, i_dtime of each the
// next. The orphan file: an array of inode numbers, each block with its own checksum. Where there is an orphan file it
// is used, and the list only when the file is full.
//
// Invariants:
//   O1 links_ mirrors the list on the medium: links_[i].next is inode i's i_dtime, the first is s_last_orphan.
//   O2 slots_ mirrors the file: inode i stands in slot slots_[i]; RO_COMPAT_ORPHAN_PRESENT is set while there is any.
//   O3 every slot below next_slot_ is in slots_ or in free_slots_.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

class OrphanList {
 public:
  // `super` is the volume's own copy, which add and remove change.
  OrphanList(Volume& volume, ext2_super_block& super) : volume_(volume), super_(super) {}

  // Reads what the last opener left. EUCLEAN: a number out of range, a circle, an inode that is not in use.
  Status load();
  // Nothing happens when the inode is already there.
  Status add(InodeNumber inode);
  // Nothing happens when it is not there.
  Status remove(InodeNumber inode);
  // In the order in which e2fsck would take them.
  std::vector<InodeNumber> all() const;
  bool empty() const { return links_.empty() && slots_.empty(); }
  bool file_is_empty() const { return slots_.empty(); }
  // EUCLEAN: the orphan file is not, to the byte, one that nothing was ever in. Precondition: there is one.
  Status check_file_empty();

  // Sets the checksums of changed blocks of the orphan file. Part of a commit.
  Status seal();

 private:
  struct Link {
    std::uint32_t previous = 0;
    std::uint32_t next = 0;
  };

  Status load_list();
  Status load_file();
  Status map_file();
  Status check_number(std::uint32_t inode, const char* where) const;
  // One that `where` names. EUCLEAN: it is free.
  Result<const RawInode*> in_use(std::uint32_t inode, const char* where);
  Result<BlockRef> file_block(std::size_t index);
  void set_slot(BlockRef& block, std::uint32_t slot, std::uint32_t inode);
  Result<bool> add_to_file(std::uint32_t inode);
  Status remove_from_file(std::uint32_t inode);
  Status add_to_list(std::uint32_t inode);
  Status remove_from_list(std::uint32_t inode);
  bool has_file() const { return (super_.s_feature_compat & EXT4_FEATURE_COMPAT_ORPHAN_FILE) != 0; }

  Volume& volume_;
  ext2_super_block& super_;
  std::unordered_map<std::uint32_t, Link> links_;
  std::unordered_map<std::uint32_t, std::uint32_t> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::uint32_t next_slot_ = 0;
  bool mapped_ = false;
  std::vector<BlockNumber> blocks_;   // of the orphan file
  std::vector<bool> verified_;        // by block index
  std::vector<std::size_t> changed_;  // block indexes
  std::vector<bool> listed_;
  std::uint32_t file_seed_ = 0;
};

}  // namespace holdfast::ext4
