// Directories of ext4: linear ones and those with an index of hashes (HTree).
//
// Contracts are those of filesystem::Format; `links` of inodes and time stamps are the caller's. Changes happen inside
// a handle. A function that fails has changed nothing: what it may need is read, checked and reserved first.
//
// A directory of one block is linear; when it grows beyond, and the file system has dir_index, it gets an index, as the
// kernel does it. Larger linear directories (mke2fs -d makes such) stay linear.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "ext4/volume.h"
#include "filesystem/format.h"

namespace holdfast::ext4 {

using filesystem::Name;

// All of them: ENOTDIR, EUCLEAN (the reason names inode and block), EOPNOTSUPP, EIO. Names of more than 255 bytes are
// ENAMETOOLONG.

Result<std::optional<Name>> lookup(Volume& volume, InodeNumber directory, std::string_view name);
// EEXIST. ENOSPC. EINVAL: an empty name, or one with a slash or a zero byte.
Status add_name(Volume& volume, InodeNumber directory, const Name& name);
// ENOENT. EINVAL: `.` and `..`.
Status remove_name(Volume& volume, InodeNumber directory, std::string_view name);
Status replace_name(Volume& volume, InodeNumber directory, const Name& name);

// Precondition: an inode just created, a directory without blocks. ENOSPC.
Status make_directory(Volume& volume, InodeNumber directory, InodeNumber parent);
Status set_parent(Volume& volume, InodeNumber directory, InodeNumber parent);
Result<bool> directory_empty(Volume& volume, InodeNumber directory);

// A name for which `visit` says false counts as seen: the cursor returned is behind it. `visit` runs under the format
// lock and calls nothing of the volume.
Result<std::uint64_t> read_directory(Volume& volume, InodeNumber directory, std::uint64_t cursor,
                                     const filesystem::Format::NameVisitor& visit);

}  // namespace holdfast::ext4
