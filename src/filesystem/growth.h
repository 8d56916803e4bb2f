// The size grows: what the file shows between its old end and its new one.
//
// Bytes past the end may hold anything: a store through a window, a device's write behind the end of a pinned page, a
// writer that came too late. So before they become part of the file they are zeroed, and blocks past the end that a
// larger entry tracks already are converted, since a pin may reach them without asking.
#pragma once

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Bytes from the present end of the file to `end` read as zeros once the size says that they are there. EIO.
Status reveal(Inode& inode, std::uint64_t end) HF_REQUIRES(inode.lock);

// The size is at least `end` from now on: what was published of extents and bytes before is seen by whoever sees it.
// Commits first where that is needed (reach.h); fails where that does, and the size stays.
Status grow_to(Inode& inode, std::uint64_t end) HF_REQUIRES(inode.lock);

}  // namespace holdfast::filesystem
