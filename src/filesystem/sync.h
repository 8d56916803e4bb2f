// fsync(2), fdatasync(2), syncfs(2).
//
// Order: bytes reach the medium first, then what says that the blocks hold data (record.h), then the commit of that.
// On carriers that keep nothing beyond the memory itself there is nothing to flush: the commit alone.
#pragma once

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Everything written to the file before is durable after. Bytes stored through windows and by devices that hold a pin
// as well: they never say when they write, so all written extents are flushed. EIO.
Status sync(Inode& inode, bool data_only);

// The same for the whole file system. Core::sync.
Status write_back(Core& core);

}  // namespace holdfast::filesystem
