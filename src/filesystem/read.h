// preadv(2).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Bytes kept by one short hold: what a truncate of the range may have to wait for.
inline constexpr std::uint64_t kBytesAHold = 2 * MiB;

// Bytes read, 0 at or past the end. Holes and unwritten blocks read as zeros. Takes no lock once the extents are known;
// waits only while the gate of the range is closed (bounded). EIO, when nothing was read before; EFAULT as in
// window_memory.h.
Result<std::size_t> read(Inode& inode, std::uint64_t offset, std::span<const iovec> into);

}  // namespace holdfast::filesystem
