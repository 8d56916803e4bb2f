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

// Where it went. ENOSPC, EFBIG, EROFS, EFAULT (the buffer lies in a window that does not show all of it; see
// window_memory.h), EINTR (while another append owns the end): nothing was written. EIO: the memory of either file
// cannot be read or written; part of a long append may be there then, as it may where the buffer's file is cut short
// meanwhile (EFAULT).
Result<std::uint64_t> append(Inode& inode, std::span<const std::byte> from);

}  // namespace holdfast::filesystem
