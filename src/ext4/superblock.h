// The superblock: read once, every number in it checked before use, kept as one copy that commits write home.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "device/device.h"

extern "C" {
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
}

namespace holdfast::ext4 {

inline constexpr std::uint64_t kSuperblockOffset = 1024;  // bytes from the start of block 0
inline constexpr std::uint32_t kBitmapBits = 4096 * 8;
inline constexpr std::uint64_t kUnitBlocks = 512;  // of 4 KiB: the 2 MiB unit that allocation keeps to

using GroupNumber = std::uint32_t;

// What the superblock says of the volume's shape, after it was found possible.
struct Geometry {
  std::uint64_t blocks = 0;
  std::uint32_t cluster_shift = 0;  // log2 of blocks per cluster
  std::uint32_t blocks_per_group = 0;
  std::uint32_t clusters_per_group = 0;
  std::uint32_t inodes = 0;
  std::uint32_t inodes_per_group = 0;
  std::uint32_t inode_bytes = 0;
  std::uint32_t inode_table_blocks = 0;  // of one group
  std::uint32_t first_inode = 0;         // below it, only the root may be used by name
  std::uint32_t descriptor_bytes = 0;
  std::uint32_t groups = 0;
  std::uint32_t descriptor_blocks = 0;
  std::uint32_t seed = 0;  // of metadata checksums
  bool metadata_checksums = false;
  bool descriptor_checksums = false;  // of either algorithm: then uninitialized groups exist

  std::uint64_t blocks_per_cluster() const { return std::uint64_t{1} << cluster_shift; }
  std::uint64_t clusters() const { return blocks >> cluster_shift; }
  std::uint64_t cluster_of(std::uint64_t block) const { return block >> cluster_shift; }
  std::uint64_t first_block(GroupNumber group) const { return std::uint64_t{group} * blocks_per_group; }
  std::uint64_t first_cluster(GroupNumber group) const { return std::uint64_t{group} * clusters_per_group; }
  GroupNumber group_of(std::uint64_t block) const { return static_cast<GroupNumber>(block / blocks_per_group); }
  // The last group may be shorter.
  std::uint32_t group_clusters(GroupNumber group) const {
    const std::uint64_t rest = clusters() - first_cluster(group);
    return rest < clusters_per_group ? static_cast<std::uint32_t>(rest) : clusters_per_group;
  }
  std::uint32_t descriptors_per_block() const { return 4096 / descriptor_bytes; }
  std::uint32_t inodes_per_block() const { return 4096 / inode_bytes; }
  GroupNumber group_of_inode(std::uint32_t inode) const { return (inode - 1) / inodes_per_group; }
  std::uint32_t index_of_inode(std::uint32_t inode) const { return (inode - 1) % inodes_per_group; }
};

struct SuperblockRead {
  ext2_super_block super{};
  bool torn = false;  // its checksum does not match
};

// The superblock as it lies on the device, with magic and block size verified.
// EINVAL: not an ext4 image. ENOTSUP: other block sizes. EUCLEAN: damaged. EIO.
Result<SuperblockRead> read_superblock(device::Device& device);
// The error where nothing helps against torn. EUCLEAN.
Error superblock_torn(const device::Device& device);

// EUCLEAN naming the impossible number; ENOTSUP (clusters above 2 MiB); EINVAL when the device is shorter than the
// volume. The features have been checked before.
Result<Geometry> check_geometry(const ext2_super_block& super, const device::Device& device);

// Whether a group begins with a copy of the superblock and the descriptors.
bool group_has_superblock(const ext2_super_block& super, GroupNumber group);
// Where descriptor block `index` lies.
std::uint64_t descriptor_block_location(const ext2_super_block& super, const Geometry& geometry, std::uint32_t index);
// Blocks at the start of a group that superblock and descriptor copies take (reserved descriptor blocks included).
std::uint64_t group_base_blocks(const ext2_super_block& super, const Geometry& geometry, GroupNumber group);

// 40-bit times of the superblock.
inline void set_time(std::uint32_t& low, std::uint8_t& high, std::int64_t seconds) {
  low = static_cast<std::uint32_t>(seconds);
  high = static_cast<std::uint8_t>(seconds >> 32);
}

}  // namespace holdfast::ext4
