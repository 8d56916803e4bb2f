// Which ext4 feature bits we can read and write, and what to do about the others.
#pragma once

#include <string>

#include "base/result.h"

extern "C" {
#include <ext2fs/ext2_fs.h>
}

namespace holdfast::ext4 {

// ENOTSUP naming the feature and the remedy, or EUCLEAN for a state that e2fsck must settle first. Read-only mounts
// are refused only what would be misread.
Status check_features(const ext2_super_block& super, const std::string& device, bool read_only);

}  // namespace holdfast::ext4
