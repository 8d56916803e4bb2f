#include "ext4/extent_account.h"

#include <cerrno>

#include <fmt/format.h>

namespace holdfast::ext4 {

namespace {

constexpr std::uint64_t kSectorsPerBlock = kBlockBytes / 512;

bool has_huge_file(const Volume& volume) {
  return (volume.superblock().s_feature_ro_compat & EXT4_FEATURE_RO_COMPAT_HUGE_FILE) != 0;
}

// What i_blocks says, in 512-byte sectors.
std::uint64_t sectors(const Volume& volume, const RawInode& raw) {
  std::uint64_t count = raw.body.i_blocks;
  if (has_huge_file(volume)) {
    count |= std::uint64_t{raw.body.osd2.linux2.l_i_blocks_hi} << 32;
    if ((raw.body.i_flags & EXT4_HUGE_FILE_FL) != 0) count *= kSectorsPerBlock;
  }
  return count;
}

// A damaged inode may own more than it counts: the count stops at 0, and e2fsck sets it right.
std::uint64_t changed(const Volume& volume, const RawInode& raw, std::int64_t clusters) {
  const std::uint64_t now = sectors(volume, raw);
  const std::uint64_t per_cluster = volume.blocks_per_cluster() * kSectorsPerBlock;
  if (clusters >= 0) return now + static_cast<std::uint64_t>(clusters) * per_cluster;
  const std::uint64_t less = static_cast<std::uint64_t>(-clusters) * per_cluster;
  return less > now ? 0 : now - less;
}

}  // namespace

Status check_account(const Volume& volume, InodeNumber inode, const RawInode& raw, std::int64_t clusters) {
  if (has_huge_file(volume) || changed(volume, raw, clusters) >> 32 == 0) return {};
  return Error(EFBIG, fmt::format("inode {}", filesystem::raw(inode)),
               "the volume's inodes count no more than 2 TiB of blocks", "tune2fs -O huge_file");
}

void account(Volume& volume, InodeNumber inode, RawInode& raw, std::int64_t clusters) {
  std::uint64_t count = changed(volume, raw, clusters);
  if (has_huge_file(volume)) {
    raw.body.i_flags &= ~std::uint32_t{EXT4_HUGE_FILE_FL};
    if (count >> 48 != 0) {
      raw.body.i_flags |= EXT4_HUGE_FILE_FL;
      count /= kSectorsPerBlock;
    }
    raw.body.osd2.linux2.l_i_blocks_hi = static_cast<std::uint16_t>(count >> 32);
  }
  raw.body.i_blocks = static_cast<std::uint32_t>(count);
  volume.inode_changed(inode);
}

}  // namespace holdfast::ext4
