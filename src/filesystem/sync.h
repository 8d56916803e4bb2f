// fsync(2), fdatasync(2), syncfs(2).
//
// Order: bytes are flushed first, then what says that the blocks hold data is recorded (record.h), then that is
// committed; the commit is one only when the bytes are there (ordered.h). On carriers that keep nothing beyond the
// memory itself there is nothing to flush: the commit alone.
#pragma once

#include "filesystem/core.h"

namespace holdfast::filesystem {

// Everything written to the file before is durable after. Bytes stored through windows and by devices that hold a pin
// as well: they never say when they write, so all written extents are flushed; on persistent memory those of marked
// entries (dirty.h). EIO, EINTR. Of a range: the bytes in it, and what finds them.
Status sync(Inode& inode, bool data_only, PageRange range = kWholeFile);

// What was written through the file is durable, as far as it was opened for that. As sync().
Status sync_written(const OpenFile& file, std::uint64_t offset, std::uint64_t length);

// The same for the whole file system. Core::sync.
Status write_back(Core& core);

}  // namespace holdfast::filesystem
