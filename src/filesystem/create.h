// New inodes with and without names: files, directories, symbolic links, nodes.
//
// Locks: the parent directory's inode lock, then a handle. Either the name and the inode are both there afterwards or
// neither is.
#pragma once

#include <string_view>

#include "filesystem/core.h"
#include "filesystem/path.h"

namespace holdfast::filesystem {

struct NewInode {
  FileType type = FileType::regular;
  std::uint32_t permissions = 0644;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
  std::string_view symlink_target = {};
};

// A new inode named `parent.name`. EEXIST (also when a directory of that name is there), ENOENT (the parent was
// removed), ENOSPC, EMLINK.
Result<InodeRef> create(Core& core, const Parent& parent, const NewInode& what, std::string_view path);

// A regular file without a name, on the orphan list until it is linked in.
Result<InodeRef> create_unnamed(Core& core, std::uint32_t permissions);

// Another name for an inode that is not a directory. EPERM (directory), EEXIST, EMLINK, ENOENT (its last name is gone;
// an unnamed file may be linked in while it is open).
Status add_link(Core& core, Inode& inode, const Parent& parent, std::string_view path);

// Notes in the attributes that the directory's names changed. Its lock is held.
Status touch_directory(Handle& handle, Inode& directory);

}  // namespace holdfast::filesystem
