// Targets of symbolic links: inside the inode when shorter than 60 bytes, else in one block of their own.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

// EINVAL: not a symbolic link. EUCLEAN, EIO.
Result<std::string> read_symlink(Volume& volume, InodeNumber inode);
// Sets the target and the size of a link that has none yet. ENAMETOOLONG: more than 4095 bytes. EINVAL: an empty
// target, a zero byte in it, not a symbolic link, or one that has a target. ENOSPC.
Status write_symlink(Volume& volume, InodeNumber inode, std::string_view target);

}  // namespace holdfast::ext4
