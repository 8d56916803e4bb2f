#include "ext4/mkfs_layout.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "ext4/block_cache.h"
#include "ext4/group_table.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint64_t kLargestCluster = 2 * MiB;
constexpr std::uint64_t kBytesPerInode = 16 * KiB;
constexpr std::uint32_t kInodeBytes = 256;
constexpr std::uint32_t kInodesPerBlock = kBlockBytes / kInodeBytes;
constexpr std::uint32_t kDescriptorBytes = EXT2_MIN_DESC_SIZE_64BIT;
constexpr std::uint64_t kBlocksMax = std::uint64_t{1} << 34;  // 64 TiB: one inode for every 16 KiB still has a number
constexpr std::uint32_t kShortGroupClusters = 64;             // a last group shorter than this is left out

Status check_options(const device::Device& device, const MkfsOptions& options) {
  if (!std::has_single_bit(options.cluster_bytes) || options.cluster_bytes < kBlockBytes ||
      options.cluster_bytes > kLargestCluster) {
    return Error(EINVAL, device.name(), fmt::format("a cluster cannot have {} bytes", options.cluster_bytes),
                 "choose a power of two from 4 KiB to 2 MiB");
  }
  if (options.label.size() > EXT2_LABEL_LEN) {
    return Error(EINVAL, device.name(), fmt::format("the label \"{}\" is longer than 16 bytes", options.label));
  }
  if (device.geometry().size < smallest_device(options.cluster_bytes)) {
    return Error(ENOSPC, device.name(), fmt::format("{} bytes are too few for a file system", device.geometry().size),
                 fmt::format("give it at least {} KiB", smallest_device(options.cluster_bytes) / KiB));
  }
  if (device.pages().raw() > kBlocksMax) {
    return Error(EINVAL, device.name(), "the device is larger than 64 TiB");
  }
  return {};
}

// Fills `bytes` with random ones, or with ones that follow from the given UUID.
void fill_random(const MkfsOptions& options, std::uint32_t salt, void* bytes, std::size_t length) {
  if (!options.uuid && getrandom(bytes, length, 0) == static_cast<ssize_t>(length)) return;
  auto* to = static_cast<std::byte*>(bytes);
  for (std::size_t i = 0; i < length; ++i) {
    salt = crc32c(salt + 1, options.uuid ? options.uuid->data() : nullptr, options.uuid ? options.uuid->size() : 0);
    to[i] = static_cast<std::byte>(salt);
  }
}

void set_identity(ext2_super_block& super, const MkfsOptions& options) {
  if (options.uuid) {
    std::memcpy(super.s_uuid, options.uuid->data(), sizeof(super.s_uuid));
  } else {
    fill_random(options, 1, super.s_uuid, sizeof(super.s_uuid));
    super.s_uuid[6] = static_cast<std::uint8_t>((super.s_uuid[6] & 0x0fu) | 0x40u);  // version 4: random
    super.s_uuid[8] = static_cast<std::uint8_t>((super.s_uuid[8] & 0x3fu) | 0x80u);
  }
  fill_random(options, 2, super.s_hash_seed, sizeof(super.s_hash_seed));
  super.s_checksum_seed = crc32c(~std::uint32_t{0}, super.s_uuid, sizeof(super.s_uuid));
  std::memcpy(super.s_volume_name, options.label.data(), options.label.size());
  const std::int64_t now = (options.time ? *options.time : file_time_now()).seconds;
  set_time(super.s_mkfs_time, super.s_mkfs_time_hi, now);
  set_time(super.s_lastcheck, super.s_lastcheck_hi, now);
  set_time(super.s_wtime, super.s_wtime_hi, now);
}

// No orphan_file: without a journal e2fsck takes it for an error. The orphan list does the same.
void set_features(ext2_super_block& super, bool clusters) {
  super.s_feature_compat =
      EXT2_FEATURE_COMPAT_EXT_ATTR | EXT2_FEATURE_COMPAT_DIR_INDEX | EXT4_FEATURE_COMPAT_SPARSE_SUPER2;
  super.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                             EXT4_FEATURE_INCOMPAT_64BIT | EXT4_FEATURE_INCOMPAT_FLEX_BG |
                             EXT4_FEATURE_INCOMPAT_CSUM_SEED | EXT4_FEATURE_INCOMPAT_LARGEDIR;
  super.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
                              EXT4_FEATURE_RO_COMPAT_DIR_NLINK | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
                              EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
  if (clusters) super.s_feature_ro_compat |= EXT4_FEATURE_RO_COMPAT_BIGALLOC;
}

void set_constants(ext2_super_block& super) {
  super.s_magic = EXT2_SUPER_MAGIC;
  super.s_rev_level = EXT2_DYNAMIC_REV;
  super.s_creator_os = EXT2_OS_LINUX;
  super.s_state = EXT2_VALID_FS;
  super.s_errors = EXT2_ERRORS_CONTINUE;
  super.s_max_mnt_count = -1;
  super.s_log_block_size = 2;
  super.s_first_ino = EXT2_GOOD_OLD_FIRST_INO;
  super.s_inode_size = kInodeBytes;
  super.s_min_extra_isize = sizeof(ext2_inode_large) - EXT2_GOOD_OLD_INODE_SIZE;
  super.s_want_extra_isize = super.s_min_extra_isize;
  super.s_desc_size = kDescriptorBytes;
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  super.s_flags = EXT2_FLAGS_SIGNED_HASH;
  super.s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
  super.s_checksum_type = EXT2_CRC32C_CHKSUM;
  super.s_log_groups_per_flex = 4;
  super.s_kbytes_written = 1;
}

// Blocks, groups and inodes.
Status set_size(ext2_super_block& super, const device::Device& device, const MkfsOptions& options) {
  const std::uint64_t per_cluster = options.cluster_bytes / kBlockBytes;
  const std::uint64_t per_group = kBitmapBits * per_cluster;
  std::uint64_t blocks = device.pages().raw() / per_cluster * per_cluster;
  if (blocks > per_group && blocks % per_group < kShortGroupClusters * per_cluster) blocks -= blocks % per_group;
  const std::uint64_t groups = (blocks + per_group - 1) / per_group;

  const std::uint64_t wanted = options.inodes != 0 ? options.inodes : blocks * kBlockBytes / kBytesPerInode;
  const std::uint64_t largest = std::min<std::uint64_t>(kBitmapBits, ~std::uint32_t{0} / groups);
  if (options.inodes > largest * groups) {
    return Error(EINVAL, device.name(), fmt::format("{} inodes do not fit", options.inodes),
                 fmt::format("at most {} can be had", largest * groups));
  }
  const std::uint64_t each = std::clamp<std::uint64_t>((wanted + groups - 1) / groups, kInodesPerBlock, largest);
  const std::uint64_t inodes_per_group =
      std::min(round_up(each, kInodesPerBlock), round_down(largest, kInodesPerBlock));

  super.s_blocks_count = static_cast<std::uint32_t>(blocks);
  super.s_blocks_count_hi = static_cast<std::uint32_t>(blocks >> 32);
  super.s_log_cluster_size = static_cast<std::uint32_t>(std::countr_zero(options.cluster_bytes)) - 10;
  super.s_clusters_per_group = kBitmapBits;
  super.s_blocks_per_group = static_cast<std::uint32_t>(per_group);
  super.s_inodes_per_group = static_cast<std::uint32_t>(inodes_per_group);
  super.s_inodes_count = static_cast<std::uint32_t>(inodes_per_group * groups);
  super.s_backup_bgs[0] = groups > kBackupGroup ? kBackupGroup : 0;
  return {};
}

bool keeps_bytes(const device::Geometry& geometry) {
  return geometry.kind == device::Kind::disk_file || geometry.kind == device::Kind::devdax;
}

// By size, as mke2fs does, up to 64 MiB: a larger one would be filled by no transaction of ours.
std::uint32_t usual_journal(std::uint64_t blocks) {
  if (blocks < 2048) return 0;
  if (blocks < 32 * 1024) return 1024;
  if (blocks < 256 * 1024) return 4096;
  if (blocks < 512 * 1024) return 8192;
  return 16384;
}

Status set_journal(MkfsLayout& layout, const device::Device& device, const MkfsOptions& options) {
  constexpr std::uint64_t kBytesMin = 4 * MiB;
  constexpr std::uint64_t kBytesMax = 4 * GiB;
  // What lies in the log from a former life must not be taken for this one's: where there may be such, no number
  // follows from the UUID, which may be the same.
  MkfsOptions any = options;
  if (options.force) any.uuid.reset();
  fill_random(any, 3, &layout.journal_sequence, sizeof(layout.journal_sequence));
  switch (options.journal) {
    case NewJournal::none:
      return {};
    case NewJournal::automatic:
      if (keeps_bytes(device.geometry())) layout.journal_blocks = usual_journal(layout.geometry.blocks);
      return {};
    case NewJournal::sized:
      break;
  }
  if (options.journal_bytes < kBytesMin || options.journal_bytes > kBytesMax) {
    return Error(EINVAL, device.name(), fmt::format("a journal cannot have {} bytes", options.journal_bytes),
                 "choose 4 MiB to 4 GiB");
  }
  if (options.journal_bytes > layout.geometry.blocks * kBlockBytes / 2) {
    return Error(ENOSPC, device.name(), "the journal would take more than half of the device",
                 "ask for a smaller journal, or none");
  }
  layout.journal_blocks = static_cast<std::uint32_t>(options.journal_bytes / kBlockBytes);
  return {};
}

// Hands out the front of the volume, block after block, around what is taken already.
class Packer {
 public:
  Packer(std::uint64_t first, BlockZone taken) : next_(first), taken_(taken) {}

  std::uint64_t take(std::uint64_t count) {
    if (next_ < taken_.end && next_ + count > taken_.first) next_ = taken_.end;
    const std::uint64_t first = next_;
    next_ += count;
    return first;
  }
  std::uint64_t next() const { return next_; }

 private:
  std::uint64_t next_;
  BlockZone taken_;
};

}  // namespace

Result<MkfsLayout> plan_layout(const device::Device& device, const MkfsOptions& options) {
  HF_TRY(check_options(device, options));
  MkfsLayout layout;
  ext2_super_block& super = layout.super;
  set_constants(super);
  set_features(super, options.cluster_bytes > kBlockBytes);
  set_identity(super, options);
  HF_TRY(set_size(super, device, options));
  HF_ASSIGN(layout.geometry, check_geometry(super, device));
  HF_TRY(set_journal(layout, device, options));

  const Geometry& geometry = layout.geometry;
  const std::uint64_t base = group_base_blocks(super, geometry, 0);
  BlockZone backup;
  if (geometry.groups > kBackupGroup) {
    backup.first = geometry.first_block(kBackupGroup);
    backup.end = backup.first + base;
  }
  Packer packer(base, backup);
  layout.descriptors.resize(std::size_t{geometry.descriptor_blocks} * kBlockBytes);
  const auto descriptor = [&](GroupNumber group) {
    return reinterpret_cast<ext4_group_desc*>(layout.descriptors.data() + std::size_t{group} * kDescriptorBytes);
  };
  for (GroupNumber group = 0; group < geometry.groups; ++group) {
    const std::uint64_t block = packer.take(1);
    descriptor(group)->bg_block_bitmap = static_cast<std::uint32_t>(block);
    descriptor(group)->bg_block_bitmap_hi = static_cast<std::uint32_t>(block >> 32);
  }
  for (GroupNumber group = 0; group < geometry.groups; ++group) {
    const std::uint64_t block = packer.take(1);
    descriptor(group)->bg_inode_bitmap = static_cast<std::uint32_t>(block);
    descriptor(group)->bg_inode_bitmap_hi = static_cast<std::uint32_t>(block >> 32);
  }
  for (GroupNumber group = 0; group < geometry.groups; ++group) {
    const std::uint64_t block = packer.take(geometry.inode_table_blocks);
    descriptor(group)->bg_inode_table = static_cast<std::uint32_t>(block);
    descriptor(group)->bg_inode_table_hi = static_cast<std::uint32_t>(block >> 32);
  }
  // Root and lost+found come next, and something should be left.
  constexpr std::uint64_t kClustersAfter = 8;
  if (packer.next() + layout.journal_blocks + kClustersAfter * geometry.blocks_per_cluster() > geometry.blocks) {
    return Error(ENOSPC, device.name(), fmt::format("{} inodes leave no room for files", super.s_inodes_count),
                 "ask for fewer inodes");
  }
  return layout;
}

std::uint64_t smallest_device(std::uint64_t cluster_bytes) { return std::max<std::uint64_t>(MiB, 16 * cluster_bytes); }

}  // namespace holdfast::ext4
