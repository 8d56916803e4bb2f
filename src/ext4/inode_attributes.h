// Between the inode as it lies on the medium and the attributes that the file system speaks of.
#pragma once

#include <cstdint>

#include "ext4/volume.h"

namespace holdfast::ext4 {

// Type bits of i_mode. EUCLEAN for a mode that names no type is the caller's: kNoType.
std::uint16_t mode_bits(FileType type);
bool has_known_type(std::uint16_t mode);

// Precondition: has_known_type. A directory that counts more links than ext4 can hold has links 1 (dir_nlink).
Attributes attributes_of(const ext2_super_block& super, const RawInode& raw);

// EFBIG, EMLINK, EINVAL (times before 1901 or after 2446, or after 2038 in 128-byte inodes are clamped, not refused).
Status check_attributes(const ext2_super_block& super, const Attributes& attributes);

// Sets everything but generation, block counts and the flags that say how the inode is stored. The file's type must be
// what it was, or the inode new. Precondition: check_attributes said yes.
void set_attributes(const ext2_super_block& super, RawInode& raw, const Attributes& attributes);

// A new inode: an empty extent tree where the volume has extents, room for the extra fields, the generation.
void make_inode(const ext2_super_block& super, RawInode& raw, const Attributes& attributes, std::uint32_t generation);

}  // namespace holdfast::ext4
