// i_blocks: what an inode occupies, tree nodes and the attribute block included, whole clusters each.
#pragma once

#include <cstdint>

#include "ext4/volume.h"

namespace holdfast::ext4 {

// EFBIG when the count could not be written down (only volumes without huge_file, above 2 TiB).
Status check_account(const Volume& volume, InodeNumber inode, const RawInode& raw, std::int64_t clusters);
// Adds clusters (or takes away) and notes the change. Precondition: check_account said yes.
void account(Volume& volume, InodeNumber inode, RawInode& raw, std::int64_t clusters);

}  // namespace holdfast::ext4
