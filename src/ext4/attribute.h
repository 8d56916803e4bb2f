// Extended attributes of an inode, by their full names.
//
// Contracts are those of the functions of the same name in filesystem/format.h. All are called with the format lock
// held, the changing ones inside a handle. Values are opaque bytes, but for access control lists, which are given and
// taken in the form of the system call and lie on the medium in ext4's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ext4/volume.h"

namespace holdfast::ext4 {

using AttributeMode = filesystem::Format::AttributeMode;

// Names whose prefix has no word are left out.
Result<std::vector<std::string>> list_attributes(Volume& volume, InodeNumber inode);
// ENODATA, EOPNOTSUPP (prefix), ERANGE (name), EUCLEAN, EIO.
Result<std::string> get_attribute(Volume& volume, InodeNumber inode, std::string_view name);
// EEXIST, ENODATA (by mode), ENOSPC (does not fit beside the others, or the pool is full), E2BIG (above 64 KiB),
// EINVAL (not an access control list), EOPNOTSUPP, ERANGE. An access control list without entries removes.
Status set_attribute(Volume& volume, InodeNumber inode, std::string_view name, std::string_view value,
                     AttributeMode mode);
// ENODATA.
Status remove_attribute(Volume& volume, InodeNumber inode, std::string_view name);
Status remove_all_attributes(Volume& volume, InodeNumber inode);

}  // namespace holdfast::ext4
