#include "ext4/superblock.h"

#include <bit>
#include <cerrno>

#include <fmt/format.h>

#include "device/copy.h"
#include "ext4/checksum.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kMaxLogCluster = 11;  // 2 MiB
constexpr std::uint32_t kLogBlock = 2;        // 4 KiB

bool has(std::uint32_t features, std::uint32_t bit) { return (features & bit) != 0; }

Error broken(const device::Device& device, const std::string& what) {
  return Error(EUCLEAN, device.name(), "the superblock is damaged: " + what, "run e2fsck -f");
}

Error not_ext4(const device::Device& device, const std::string& why) {
  return Error(EINVAL, device.name(), "not an ext4 image (" + why + ")");
}

Status check_block_size(const ext2_super_block& super, const device::Device& device) {
  if (super.s_log_block_size == kLogBlock) return {};
  if (super.s_log_block_size > 6) return broken(device, fmt::format("log block size {}", super.s_log_block_size));
  return Error(ENOTSUP, device.name(), fmt::format("made with {} KiB blocks", 1u << super.s_log_block_size),
               "make it with mke2fs -b 4096");
}

bool is_power_of(std::uint64_t value, std::uint64_t base) {
  while (value % base == 0) value /= base;
  return value == 1;
}

}  // namespace

Error superblock_torn(const device::Device& device) { return broken(device, "its checksum does not match"); }

Result<SuperblockRead> read_superblock(device::Device& device) {
  if (device.geometry().size < kSuperblockOffset + sizeof(ext2_super_block)) {
    return not_ext4(device, fmt::format("{} bytes are too few", device.geometry().size));
  }
  SuperblockRead read;
  ext2_super_block& super = read.super;
  if (device::copy(&super, device.at(kSuperblockOffset), sizeof(super)) != device::CopyOutcome::done) {
    return Error(EIO, device.name(), "reading the superblock failed");
  }
  if (super.s_magic != EXT2_SUPER_MAGIC) return not_ext4(device, fmt::format("bad magic {:#06x}", super.s_magic));
  if (super.s_rev_level != EXT2_DYNAMIC_REV) {
    return Error(ENOTSUP, device.name(), fmt::format("the image has revision {}", super.s_rev_level),
                 "make it with a mke2fs of this century");
  }
  if (has(super.s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_METADATA_CSUM)) {
    if (super.s_checksum_type != EXT2_CRC32C_CHKSUM) {
      return broken(device, fmt::format("checksum type {} is unknown", super.s_checksum_type));
    }
    read.torn = super.s_checksum != superblock_checksum(super);
  }
  HF_TRY(check_block_size(super, device));
  if (super.s_creator_os != EXT2_OS_LINUX) {
    return Error(ENOTSUP, device.name(), fmt::format("made for operating system {}", super.s_creator_os),
                 "make it with mke2fs -o linux");
  }
  return read;
}

namespace {

Status check_clusters(const ext2_super_block& super, const device::Device& device) {
  const bool bigalloc = has(super.s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_BIGALLOC);
  const std::uint32_t log = super.s_log_cluster_size;
  if (!bigalloc && log != super.s_log_block_size) return broken(device, fmt::format("log cluster size {}", log));
  if (bigalloc && log > 31 - 10) return broken(device, fmt::format("log cluster size {}", log));
  if (bigalloc && log < super.s_log_block_size) return broken(device, fmt::format("log cluster size {}", log));
  if (log > kMaxLogCluster) {
    return Error(ENOTSUP, device.name(), fmt::format("made with clusters of {} KiB", std::uint64_t{1} << log),
                 "make it with clusters of at most 2 MiB (mke2fs -C 2M)");
  }
  return {};
}

Status check_groups(const ext2_super_block& super, const device::Device& device) {
  const std::uint32_t shift = super.s_log_cluster_size - kLogBlock;
  if (super.s_first_data_block != 0) return broken(device, fmt::format("first block {}", super.s_first_data_block));
  if (super.s_clusters_per_group < 8 || super.s_clusters_per_group > kBitmapBits ||
      super.s_clusters_per_group % 8 != 0) {
    return broken(device, fmt::format("{} clusters in a group", super.s_clusters_per_group));
  }
  if (super.s_blocks_per_group != std::uint64_t{super.s_clusters_per_group} << shift) {
    return broken(device, fmt::format("{} blocks in a group of {} clusters", super.s_blocks_per_group,
                                      super.s_clusters_per_group));
  }
  if (super.s_log_groups_per_flex > 31) {
    return broken(device, fmt::format("log groups per flex group {}", super.s_log_groups_per_flex));
  }
  if (super.s_reserved_gdt_blocks > 1024) {
    return broken(device, fmt::format("{} reserved descriptor blocks", super.s_reserved_gdt_blocks));
  }
  return {};
}

Status check_inodes(const ext2_super_block& super, const device::Device& device) {
  if (!std::has_single_bit(std::uint32_t{super.s_inode_size}) || super.s_inode_size < EXT2_GOOD_OLD_INODE_SIZE ||
      super.s_inode_size > 4096) {
    return broken(device, fmt::format("inodes of {} bytes", super.s_inode_size));
  }
  const std::uint32_t per_block = 4096u / super.s_inode_size;
  if (super.s_inodes_per_group < per_block || super.s_inodes_per_group > kBitmapBits ||
      super.s_inodes_per_group % 8 != 0) {
    return broken(device, fmt::format("{} inodes in a group", super.s_inodes_per_group));
  }
  if (super.s_first_ino < EXT2_GOOD_OLD_FIRST_INO || super.s_first_ino > super.s_inodes_per_group) {
    return broken(device, fmt::format("first inode {}", super.s_first_ino));
  }
  return {};
}

Status check_descriptor_size(const ext2_super_block& super, const device::Device& device) {
  if (!has(super.s_feature_incompat, EXT4_FEATURE_INCOMPAT_64BIT)) return {};
  if (super.s_desc_size < EXT2_MIN_DESC_SIZE_64BIT || super.s_desc_size > EXT2_MAX_DESC_SIZE ||
      !std::has_single_bit(std::uint32_t{super.s_desc_size})) {
    return broken(device, fmt::format("group descriptors of {} bytes", super.s_desc_size));
  }
  return {};
}

}  // namespace

Result<Geometry> check_geometry(const ext2_super_block& super, const device::Device& device) {
  HF_TRY(check_clusters(super, device));
  HF_TRY(check_groups(super, device));
  HF_TRY(check_inodes(super, device));
  HF_TRY(check_descriptor_size(super, device));
  const bool wide = has(super.s_feature_incompat, EXT4_FEATURE_INCOMPAT_64BIT);

  Geometry geometry;
  geometry.blocks = super.s_blocks_count | (wide ? std::uint64_t{super.s_blocks_count_hi} << 32 : 0);
  geometry.cluster_shift = super.s_log_cluster_size - kLogBlock;
  geometry.blocks_per_group = super.s_blocks_per_group;
  geometry.clusters_per_group = super.s_clusters_per_group;
  geometry.inodes = super.s_inodes_count;
  geometry.inodes_per_group = super.s_inodes_per_group;
  geometry.inode_bytes = super.s_inode_size;
  geometry.inode_table_blocks = static_cast<std::uint32_t>(
      (std::uint64_t{super.s_inodes_per_group} * super.s_inode_size + kPageBytes - 1) / kPageBytes);
  geometry.first_inode = super.s_first_ino;
  geometry.descriptor_bytes = wide ? super.s_desc_size : EXT2_MIN_DESC_SIZE;
  geometry.metadata_checksums = has(super.s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_METADATA_CSUM);
  geometry.descriptor_checksums =
      geometry.metadata_checksums || has(super.s_feature_ro_compat, EXT4_FEATURE_RO_COMPAT_GDT_CSUM);
  geometry.seed = filesystem_seed(super);

  if (geometry.blocks < 8 || geometry.blocks % geometry.blocks_per_cluster() != 0) {
    return broken(device, fmt::format("{} blocks", geometry.blocks));
  }
  if (geometry.blocks > device.pages().raw()) {
    return Error(
        EINVAL, device.name(),
        fmt::format("the file system has {} blocks but the device only {}", geometry.blocks, device.pages().raw()),
        "the image was cut short: copy it again whole, or run resize2fs");
  }
  const std::uint64_t groups = (geometry.blocks + geometry.blocks_per_group - 1) / geometry.blocks_per_group;
  if (groups * geometry.inodes_per_group != geometry.inodes) {
    return broken(device,
                  fmt::format("{} inodes in {} groups of {}", geometry.inodes, groups, geometry.inodes_per_group));
  }
  geometry.groups = static_cast<std::uint32_t>(groups);
  geometry.descriptor_blocks =
      static_cast<std::uint32_t>((groups + geometry.descriptors_per_block() - 1) / geometry.descriptors_per_block());
  if (has(super.s_feature_incompat, EXT2_FEATURE_INCOMPAT_META_BG) &&
      super.s_first_meta_bg > geometry.descriptor_blocks) {
    return broken(device, fmt::format("first meta block group {}", super.s_first_meta_bg));
  }
  for (std::uint32_t i = 0; i < geometry.descriptor_blocks; ++i) {
    if (descriptor_block_location(super, geometry, i) < geometry.blocks) continue;
    return broken(device, "the group descriptors do not fit");
  }
  return geometry;
}

bool group_has_superblock(const ext2_super_block& super, GroupNumber group) {
  if (group == 0) return true;
  if (has(super.s_feature_compat, EXT4_FEATURE_COMPAT_SPARSE_SUPER2)) {
    return group == super.s_backup_bgs[0] || group == super.s_backup_bgs[1];
  }
  if (group == 1 || !has(super.s_feature_ro_compat, EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER)) return true;
  return is_power_of(group, 3) || is_power_of(group, 5) || is_power_of(group, 7);
}

std::uint64_t descriptor_block_location(const ext2_super_block& super, const Geometry& geometry, std::uint32_t index) {
  if (!has(super.s_feature_incompat, EXT2_FEATURE_INCOMPAT_META_BG) || index < super.s_first_meta_bg) {
    return std::uint64_t{1} + index;
  }
  const GroupNumber group = index * geometry.descriptors_per_block();
  return geometry.first_block(group) + (group_has_superblock(super, group) ? 1 : 0);
}

std::uint64_t group_base_blocks(const ext2_super_block& super, const Geometry& geometry, GroupNumber group) {
  const bool meta_bg = has(super.s_feature_incompat, EXT2_FEATURE_INCOMPAT_META_BG);
  const std::uint32_t per_block = geometry.descriptors_per_block();
  const bool has_super = group_has_superblock(super, group);
  if (meta_bg && group / per_block >= super.s_first_meta_bg) {
    const std::uint32_t place = group % per_block;
    const bool has_descriptors = place == 0 || place == 1 || place == per_block - 1;
    return (has_super ? 1u : 0u) + (has_descriptors ? 1u : 0u);
  }
  if (!has_super) return 0;
  if (meta_bg) return std::uint64_t{1} + super.s_first_meta_bg;
  return std::uint64_t{1} + geometry.descriptor_blocks + super.s_reserved_gdt_blocks;
}

}  // namespace holdfast::ext4
