// Where everything of a new file system lies.
//
// All group metadata is packed at the front, so that the rest is free in aligned units of 2 MiB and 1 GiB: superblock,
// descriptors, all block bitmaps, all inode bitmaps, all inode tables, around the one backup of superblock and
// descriptors at the start of group 1.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"
#include "device/device.h"
#include "ext4/ext4.h"
#include "ext4/superblock.h"

namespace holdfast::ext4 {

inline constexpr GroupNumber kBackupGroup = 1;

struct MkfsLayout {
  ext2_super_block super{};
  Geometry geometry;
  std::vector<std::byte> descriptors;  // locations only; counts and flags are the maker's
  std::uint32_t journal_blocks = 0;    // 0: none
  std::uint32_t journal_sequence = 0;  // that its log begins with: unlikely to be on the device already
};

// EINVAL, ENOSPC (too small; the reason says the least size).
Result<MkfsLayout> plan_layout(const device::Device& device, const MkfsOptions& options);

}  // namespace holdfast::ext4
