// Names that go: unlink and rmdir. They return at once: what is still open or pinned lives on as an orphan and is
// evicted after its last handle and pin.
#pragma once

#include <string_view>

#include "filesystem/core.h"
#include "filesystem/path.h"

namespace holdfast::filesystem {

// EISDIR, ENOENT, EBUSY ("/").
Status unlink(Core& core, std::string_view path);
// ENOTDIR, ENOTEMPTY, EINVAL ("."), EBUSY ("/").
Status remove_directory(Core& core, std::string_view path);

// EOPNOTSUPP: the inode's last name cannot go, since its blocks could not. Before drop_name. Its lock is held.
Status check_drop(const Inode& inode, std::string_view path);
// One name of `inode` is gone: its count goes down, and with the last name it becomes an orphan. Its lock is held.
Status drop_name(Core& core, Handle& handle, Inode& inode);

}  // namespace holdfast::filesystem
