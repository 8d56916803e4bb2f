// ftruncate(2).
#pragma once

#include <cstdint>

#include <holdfast/types.h>

#include "base/clock.h"
#include "filesystem/inode.h"
#include "layout/break.h"

namespace holdfast::filesystem {

// Growing waits for nobody. Shrinking breaks the range that leaves, by the policy, with no lock held; then the inode
// lock. Errors as holdfast::File::truncate: nothing has changed then. No lock is held by the caller.
Status truncate(Inode& inode, std::uint64_t size, OnPinned on_pinned, Deadline deadline);

// --- its parts, for callers that do not wait ---
// EFBIG, EINVAL (not a regular file), EROFS, ECHILD.
Status check_truncate(const Inode& inode, std::uint64_t size);
// What has to be broken to shrink to `size`.
PageRange range_to_truncate(const Inode& inode, std::uint64_t size, OnPinned on_pinned);
// Grows, or does nothing; false: the file is longer by now, a break is needed.
Result<bool> try_grow(Inode& inode, std::uint64_t size);
// The second stage. False: stage 1 again (Break::again_wait).
Result<bool> commit_truncate(Inode& inode, layout::Break& broken, std::uint64_t size, OnPinned on_pinned);

}  // namespace holdfast::filesystem
