// Where a page of a file is, learnt from the format when the cache does not know.
#pragma once

#include "filesystem/inode.h"

namespace holdfast::filesystem {

// Never `unknown`. Errors as Format::extents.
Result<Found> locate(Inode& inode, PageIndex index) HF_REQUIRES(inode.lock);

// The same where the caller has no lock: takes it only if the page is unknown. The answer may be old at once.
Result<Found> locate_unlocked(Inode& inode, PageIndex index) HF_EXCLUDES(inode.lock);

}  // namespace holdfast::filesystem
