// Writing at the end of a file, whatever the end is by then.
//
// A short append is gathered into memory of ours first and stored under the inode lock, where the end stands still. A
// long one owns the end while it copies: other appends to the file wait for it, and nothing else does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Where it went. ENOSPC, EFBIG: nothing was written. EROFS, EIO. EINTR, while another append owns the end.
Result<std::uint64_t> append(Inode& inode, std::span<const std::byte> from);

}  // namespace holdfast::filesystem
