// Attributes of an inode: what stat reports, and what chmod, chown, utimens and the xattr calls change.
//
// Locks: the inode's, then a handle.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "filesystem/core.h"

namespace holdfast::filesystem {

// With the newest times, those that reads and writes in place noted without a lock included.
Attributes attributes_of(Inode& inode);

Status set_permissions(Inode& inode, std::uint32_t permissions);
// chown(2) clears set-user-id and set-group-id of files that can be executed; so does this.
Status set_owner(Inode& inode, std::uint32_t uid, std::uint32_t gid);
Status set_times(Inode& inode, FileTime accessed, FileTime modified);

Result<std::vector<std::string>> list_extended(Inode& inode);
Result<std::string> get_extended(Inode& inode, std::string_view name);
Status set_extended(Inode& inode, std::string_view name, std::string_view value, Format::AttributeMode mode);
Status remove_extended(Inode& inode, std::string_view name);

}  // namespace holdfast::filesystem
