// From a path to an inode. Paths are absolute; symbolic links are followed inside the pool.
//
// A walk takes no inode lock: each step asks the format for one name. A name that moves while a walk passes it is
// found at its old or its new place, as path walks elsewhere do.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "filesystem/core.h"

namespace holdfast::filesystem {

enum class LastLink : std::uint8_t { follow, keep };  // a symbolic link as the last component

// The inode that the path names. ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EINVAL (not absolute).
Result<InodeRef> walk(Core& core, std::string_view path, LastLink last);

// The directory that holds the last component, and that component, which need not exist.
struct Parent {
  InodeRef directory;
  std::string name;                // "" for the root itself
  bool must_be_directory = false;  // the path ended in a slash
};
Result<Parent> walk_to_parent(Core& core, std::string_view path);

// What `name` in the directory is now; kNoInode: nothing.
Result<Name> look_up(Core& core, const Inode& directory, std::string_view name);

// The same, with the inode; an empty reference: no such name.
Result<InodeRef> look_up_inode(Core& core, const Inode& directory, std::string_view name);

// EINVAL for "." and "..", ENAMETOOLONG, EEXIST/EBUSY for the root ("" with `code`).
Status check_new_name(const Parent& parent, std::string_view path);

inline constexpr std::size_t kNameBytesMax = 255;
inline constexpr std::size_t kPathBytesMax = 4096;

}  // namespace holdfast::filesystem
