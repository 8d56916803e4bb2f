// The caller's memory where it lies in windows of files.
//
// A buffer in a window is a range of a file, and is read and written as one, through memory of ours in between: so the
// library never faults in a window under a lock or in a hold. It must not: the touch may have to wait for that very
// lock, or for a gate that waits for the hold. Nor does it pin the range: a pin waits behind a break of it, and the
// break may wait for a pin that the caller has itself; a short hold passes such a break (mapping/hold.h). The price is
// a second copy.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Whether a byte of the pieces, or of the list of them, lies in a window of this process. No lock; next to nothing
// while there are no windows.
bool in_windows(std::span<const iovec> pieces);
// The same of names, paths and values. Those are copied where they enter the library (api/convert.h).
bool in_windows(std::string_view text);

// read() and write() for such pieces: the same, and as with system calls on mapped memory EFAULT where a window is for
// reading only, was given up, or lies past its file's end. ENOSPC: a hole of the window's file gets no blocks.
Result<std::size_t> read_to_windows(Inode& inode, std::uint64_t offset, std::span<const iovec> into);
Result<std::size_t> write_from_windows(Inode& inode, std::uint64_t offset, std::span<const iovec> from);

// Whether all of the caller's bytes can be read now: EFAULT. A window whose file is cut short may change that at any
// time.
Status check_readable(std::span<const std::byte> from);

// Copies the caller's bytes, wherever they lie, to memory of ours of the same length. EFAULT, EIO.
Status gather(std::span<const std::byte> from, std::byte* to);

}  // namespace holdfast::filesystem
