// Makes a file system: the metadata first, by the layout; then its first inodes, through the volume itself; the backup
// last. Whatever its commit writes has no magic yet: that comes when everything else is durable, so a mkfs that was cut
// short leaves no image. Test: Mkfs.OneThatWasCutShortLeavesNothingToMount.
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "device/copy.h"
#include "ext4/bitmap.h"
#include "ext4/checksum.h"
#include "ext4/directory.h"
#include "ext4/ext4.h"
#include "ext4/extent_tree.h"
#include "ext4/inode_attributes.h"
#include "ext4/journal_super.h"
#include "ext4/mkfs_layout.h"
#include "ext4/mkfs_probe.h"
#include "ext4/volume_core.h"

namespace holdfast::ext4 {
namespace {

constexpr std::uint32_t kReservedInodes = EXT2_GOOD_OLD_FIRST_INO - 1;  // 1 to 10; the root is one of them

class Maker {
 public:
  Maker(device::Device& device, const MkfsOptions& options, MkfsLayout layout)
      : device_(device),
        options_(options),
        layout_(std::move(layout)),
        groups_(layout_.super, layout_.geometry, device.name()) {}

  Status make() {
    HF_TRY(write_superblock(0, true));
    groups_.adopt(std::move(layout_.descriptors));
    HF_TRY(make_groups());
    HF_TRY(write_descriptors(0));
    HF_TRY(device_.fence());
    HF_TRY(populate());
    HF_TRY(copy_to_backup());
    return write_superblock(0, false);
  }

 private:
  Status write(std::uint64_t offset, const void* bytes, std::size_t length) {
    const Pfn first(offset / kPageBytes);
    HF_TRY(device_.reserve(first, PageCount((offset + length + kPageBytes - 1) / kPageBytes - first.raw())));
    if (device::copy(device_.at(offset), bytes, length) != device::CopyOutcome::done) {
      return Error(EIO, device_.name(), fmt::format("writing at offset {} failed", offset));
    }
    return device_.flush(offset, length);
  }

  // The first block of a group that has a superblock: what lies before the superblock becomes zeros too.
  Status write_superblock(GroupNumber group, bool nothing_yet) {
    std::vector<std::byte> block(kBlockBytes);
    std::uint64_t at = 0;
    if (!nothing_yet) {
      ext2_super_block super = layout_.super;
      super.s_block_group_nr = static_cast<std::uint16_t>(group);
      super.s_checksum = superblock_checksum(super);
      at = group == 0 ? kSuperblockOffset : 0;
      std::memcpy(block.data() + at, &super, sizeof(super));
    }
    HF_TRY(write(Pfn(layout_.geometry.first_block(group)).bytes(), block.data(), block.size()));
    return device_.fence();
  }

  Status write_descriptors(GroupNumber group) {
    return write(Pfn(layout_.geometry.first_block(group) + 1).bytes(), groups_.bytes().data(), groups_.bytes().size());
  }

  // Bitmaps of groups that hold metadata are written now; those of all others follow from the layout when they are
  // first used, and so do inode tables.
  Status make_groups() {
    const Geometry& geometry = layout_.geometry;
    std::uint64_t free_clusters = 0;
    std::vector<std::byte> bitmap(kBlockBytes);
    for (GroupNumber group = 0; group < geometry.groups; ++group) {
      const bool last = group == geometry.groups - 1;
      const bool has_metadata = groups_.overlaps_metadata(
          geometry.first_block(group), std::uint64_t{geometry.group_clusters(group)} << geometry.cluster_shift);
      std::uint32_t free_here = geometry.clusters_per_group;
      if (has_metadata || last) {
        free_here = groups_.make_block_bitmap(group, bitmap.data());
        HF_TRY(write(Pfn(groups_.block_bitmap(group)).bytes(), bitmap.data(), bitmap.size()));
        groups_.seal_block_bitmap(group, bitmap.data());
      } else {
        groups_.set_flags(group, EXT2_BG_BLOCK_UNINIT);
      }
      if (group != 0) groups_.set_flags(group, EXT2_BG_INODE_UNINIT);
      groups_.set_free_clusters(group, free_here);
      groups_.set_free_inodes(group, geometry.inodes_per_group);
      groups_.set_unused_inodes(group, geometry.inodes_per_group);
      free_clusters += free_here;
    }
    HF_TRY(make_reserved_inodes());
    groups_.seal_checksums();
    ext2_super_block& super = layout_.super;
    const std::uint64_t free_blocks = free_clusters << geometry.cluster_shift;
    super.s_free_blocks_count = static_cast<std::uint32_t>(free_blocks);
    super.s_free_blocks_hi = static_cast<std::uint32_t>(free_blocks >> 32);
    super.s_free_inodes_count = super.s_inodes_count - kReservedInodes;
    super.s_overhead_clusters = static_cast<std::uint32_t>(groups_.metadata_clusters());
    return {};
  }

  // The first block of the first table, zeros but for what populate() writes.
  Status make_reserved_inodes() {
    std::vector<std::byte> block(kBlockBytes);
    HF_TRY(write(Pfn(groups_.inode_table(0)).bytes(), block.data(), block.size()));
    groups_.make_inode_bitmap(block.data());
    set_bits(block.data(), 0, kReservedInodes);
    HF_TRY(write(Pfn(groups_.inode_bitmap(0)).bytes(), block.data(), block.size()));
    groups_.seal_inode_bitmap(0, block.data());
    groups_.set_free_inodes(0, layout_.geometry.inodes_per_group - kReservedInodes);
    groups_.set_unused_inodes(0, layout_.geometry.inodes_per_group - kReservedInodes);
    groups_.set_used_directories(0, 1);
    return {};
  }

  Attributes attributes(FileType type, std::uint32_t permissions, std::uint32_t links) const {
    Attributes attributes;
    attributes.type = type;
    attributes.permissions = permissions;
    attributes.links = links;
    attributes.accessed = attributes.modified = attributes.changed = attributes.created =
        options_.time ? *options_.time : file_time_now();
    return attributes;
  }

  Status populate() {
    HF_ASSIGN(const std::unique_ptr<VolumeCore> volume,
              VolumeCore::open_unwritten(device_, layout_.super, layout_.geometry));
    HF_TRY(make_directories(*volume));
    if (layout_.journal_blocks != 0) HF_TRY(make_journal(*volume));
    volume->change_superblock().s_magic = 0;
    HF_TRY(volume->commit());
    layout_.super = volume->superblock();
    layout_.super.s_magic = EXT2_SUPER_MAGIC;
    groups_.adopt({volume->groups().bytes().begin(), volume->groups().bytes().end()});
    return {};
  }

  Status make_directories(VolumeCore& volume) {
    const InodeNumber root{EXT2_ROOT_INO};
    HF_ASSIGN(RawInode* const raw_root, volume.inode_table().make(EXT2_ROOT_INO, false));
    make_inode(volume.superblock(), *raw_root, attributes(FileType::directory, 0755, 3), 0);
    volume.inode_changed(root);
    HF_TRY(make_directory(volume, root, root));
    // Beside the reserved inodes, not where a new directory would go.
    HF_ASSIGN(const InodeAllocator::Made made, volume.inode_allocator().allocate(kReservedInodes, true));
    make_inode(volume.superblock(), *made.raw, attributes(FileType::directory, 0700, 2), 0);
    const InodeNumber lost_found{made.number};
    volume.inode_changed(lost_found);
    HF_TRY(make_directory(volume, lost_found, root));
    return add_name(volume, root, {"lost+found", lost_found, FileType::directory});
  }

  // The volume has no journal as long as it is being made: the feature goes into the superblock with the last commit.
  // What lay on the device stays in the log's blocks; none of it has a sequence that is looked for.
  Status make_journal(VolumeCore& volume) {
    const InodeNumber number{EXT2_JOURNAL_INO};
    HF_ASSIGN(RawInode* const raw_inode, volume.inode_table().make(EXT2_JOURNAL_INO, false));
    Attributes journal = attributes(FileType::regular, 0600, 1);
    journal.size = std::uint64_t{layout_.journal_blocks} * kBlockBytes;
    make_inode(volume.superblock(), *raw_inode, journal, 0);
    volume.inode_changed(number);
    std::vector<filesystem::Extent> added;
    HF_TRY(allocate_extents(volume, number, {PageIndex(0), PageIndex(layout_.journal_blocks)},
                            filesystem::Initial::written, added));
    ext2_super_block& super = volume.change_superblock();
    const JournalSuperWords words =
        JournalSuper::make(layout_.journal_blocks, layout_.journal_sequence, super.s_uuid).sealed();
    HF_TRY(write(added.front().pfn.bytes(), &words, sizeof(words)));
    super.s_feature_compat |= EXT3_FEATURE_COMPAT_HAS_JOURNAL;
    super.s_journal_inum = EXT2_JOURNAL_INO;
    super.s_jnl_backup_type = EXT3_JNL_BACKUP_BLOCKS;
    std::memcpy(super.s_jnl_blocks, raw_inode->body.i_block, sizeof(raw_inode->body.i_block));
    super.s_jnl_blocks[15] = static_cast<std::uint32_t>(journal.size >> 32);
    super.s_jnl_blocks[16] = static_cast<std::uint32_t>(journal.size);
    super.s_overhead_clusters += static_cast<std::uint32_t>((layout_.journal_blocks + volume.blocks_per_cluster() - 1) /
                                                            volume.blocks_per_cluster());
    return {};
  }

  Status copy_to_backup() {
    if (layout_.geometry.groups <= kBackupGroup) return {};
    HF_TRY(write_descriptors(kBackupGroup));
    return write_superblock(kBackupGroup, false);
  }

  device::Device& device_;
  const MkfsOptions& options_;
  MkfsLayout layout_;
  GroupTable groups_;
};

}  // namespace

Status make_filesystem(device::Device& device, const MkfsOptions& options) {
  if (device.read_only()) return Error(EROFS, device.name(), "the device was opened read-only");
  HF_ASSIGN(MkfsLayout layout, plan_layout(device, options));
  if (!options.force) {
    HF_ASSIGN(const std::optional<std::string> contents, find_contents(device));
    if (contents) {
      return Error(EEXIST, device.name(), "the device holds " + *contents, "ask for its replacement (--force)");
    }
  }
  return Maker(device, options, std::move(layout)).make();
}

}  // namespace holdfast::ext4
