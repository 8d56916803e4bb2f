// fallocate(2): blocks for a range. See punch.h for taking them away.
#pragma once

#include <cstdint>

#include "filesystem/inode.h"
#include "filesystem/punch.h"  // IWYU pragma: export

namespace holdfast::filesystem {

// Every page of the range has a block afterwards; holes become unwritten blocks, which read as zeros. Without
// `keep_size` the file ends at the end of the range at the earliest. Blocks on the inode lock only. ENOSPC: no block
// was added. EINVAL, EFBIG, EROFS.
Status allocate(Inode& inode, std::uint64_t offset, std::uint64_t length, bool keep_size);

}  // namespace holdfast::filesystem
