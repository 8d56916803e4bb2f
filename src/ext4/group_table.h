// The group descriptors, all of them in memory, and the map of what group metadata occupies.
//
// Invariants:
//   G1 every location in a descriptor lies inside the volume, and no two metadata areas overlap (checked at load).
//   G2 zones() is sorted, merged and complete: superblock and descriptor copies, bitmaps, inode tables.
//   G3 a changed descriptor is marked; seal() brings every marked one, checksummed, into its cached block.
//
// Locking: the format lock, as everything of a Volume.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "ext4/block_cache.h"
#include "ext4/superblock.h"

namespace holdfast::ext4 {

struct BlockZone {
  std::uint64_t first = 0;
  std::uint64_t end = 0;
};

class GroupTable {
 public:
  GroupTable(const ext2_super_block& super, const Geometry& geometry, std::string device_name);

  // Reads and checks all descriptors, those that are in `replayed` (may be null) from there. EUCLEAN naming the group
  // and what is wrong with it; EIO.
  Status load(device::Device& device, const ReplayedBlocks* replayed = nullptr);
  // Takes descriptors that were just made. Precondition: they are right.
  void adopt(std::vector<std::byte> descriptors);

  std::uint64_t block_bitmap(GroupNumber group) const;
  std::uint64_t inode_bitmap(GroupNumber group) const;
  std::uint64_t inode_table(GroupNumber group) const;
  std::uint32_t free_clusters(GroupNumber group) const;
  std::uint32_t free_inodes(GroupNumber group) const;
  std::uint32_t used_directories(GroupNumber group) const;
  std::uint32_t unused_inodes(GroupNumber group) const;  // at the end of the table, never used so far
  // EXT2_BG_INODE_UNINIT, EXT2_BG_BLOCK_UNINIT, EXT2_BG_INODE_ZEROED; 0 without descriptor checksums.
  std::uint32_t flags(GroupNumber group) const;

  void set_free_clusters(GroupNumber group, std::uint32_t count);
  void set_free_inodes(GroupNumber group, std::uint32_t count);
  void set_used_directories(GroupNumber group, std::uint32_t count);
  void set_unused_inodes(GroupNumber group, std::uint32_t count);
  void set_flags(GroupNumber group, std::uint32_t flags);
  void clear_flags(GroupNumber group, std::uint32_t flags);

  // The bitmaps' checksums, which their descriptors keep.
  bool block_bitmap_verifies(GroupNumber group, const std::byte* bitmap) const;
  bool inode_bitmap_verifies(GroupNumber group, const std::byte* bitmap) const;
  void seal_block_bitmap(GroupNumber group, const std::byte* bitmap);
  void seal_inode_bitmap(GroupNumber group, const std::byte* bitmap);

  // Blocks of descriptors that seal() will change.
  std::size_t changed_blocks() const { return changed_blocks_.size(); }
  // Sets the checksums of all changed descriptors.
  void seal_checksums();
  // The same, and copies the changed descriptors into their cached blocks. Part of a commit.
  Status seal(BlockCache& cache);

  std::span<const BlockZone> zones() const { return zones_; }
  // Whether the blocks touch group metadata.
  bool overlaps_metadata(std::uint64_t first, std::uint64_t count) const;
  // Clusters of the whole volume that hold group metadata.
  std::uint64_t metadata_clusters() const;
  // A block bitmap with the group's metadata and what lies past the volume's end marked used; returns the free bits.
  std::uint32_t make_block_bitmap(GroupNumber group, std::byte* bitmap) const;
  // An empty inode bitmap, with the bits past the group's inodes set.
  void make_inode_bitmap(std::byte* bitmap) const;
  // Whether a bitmap read from the medium has all metadata of the group marked used.
  bool bitmap_covers_metadata(GroupNumber group, const std::byte* bitmap) const;

  std::span<const std::byte> bytes() const { return descriptors_; }

 private:
  const ext4_group_desc* at(GroupNumber group) const;
  ext4_group_desc* change(GroupNumber group);
  void seal_checksum(GroupNumber group);
  bool wide() const { return geometry_.descriptor_bytes >= EXT2_MIN_DESC_SIZE_64BIT; }
  std::uint32_t bitmap_checksum(const std::byte* bitmap, std::size_t length) const;
  Status check_descriptor(GroupNumber group) const;
  void collect_zones();
  Status check_zones();
  Error broken(GroupNumber group, const std::string& what) const;
  // Calls visit(first bit, count) for the group's metadata, in clusters of the group.
  template <typename Visit>
  void for_metadata(GroupNumber group, Visit visit) const;

  const ext2_super_block& super_;
  const Geometry& geometry_;
  std::string device_name_;
  std::vector<std::byte> descriptors_;
  std::vector<BlockZone> zones_;
  std::vector<bool> changed_;                  // by group
  std::vector<std::uint32_t> changed_blocks_;  // descriptor blocks with a changed descriptor
  std::vector<bool> block_listed_;
};

}  // namespace holdfast::ext4
