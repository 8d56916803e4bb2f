// libext2fs over the block cache: an io_manager whose reads and writes go through BlockCache, and the hooks by which
// the library gets blocks and inodes from us.
//
// Nothing here ever flushes: what the library writes becomes part of the running transaction. Its copies of the
// superblock and the group descriptors are for looking at the volume's shape only; ours are the truth.
#pragma once

#include <memory>

#include "base/result.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

struct LibraryDeleter {
  void operator()(ext2_filsys library) const { ext2fs_free(library); }
};
using Library = std::unique_ptr<struct_ext2_filsys, LibraryDeleter>;

// EUCLEAN with the library's words. The volume must outlive the library.
Result<Library> open_library(Volume& volume);

}  // namespace holdfast::ext4
