// FALLOC_FL_PUNCH_HOLE and FALLOC_FL_ZERO_RANGE of fallocate(2).
#pragma once

#include <cstdint>

#include <holdfast/types.h>

#include "base/clock.h"
#include "filesystem/inode.h"
#include "layout/break.h"

namespace holdfast::filesystem {

// The range is a hole afterwards, the size stays. Policy and errors as holdfast::File::punch. No lock is held.
Status punch(Inode& inode, std::uint64_t offset, std::uint64_t length, OnPinned on_pinned, Deadline deadline);

// The range reads as zeros afterwards and has blocks; the size grows over it.
Status zero_range(Inode& inode, std::uint64_t offset, std::uint64_t length, OnPinned on_pinned, Deadline deadline);

// --- parts of punch, for callers that do not wait ---
// EINVAL (length 0, not a regular file), EFBIG, EROFS, ECHILD.
Status check_range(const Inode& inode, std::uint64_t offset, std::uint64_t length);
PageRange range_to_punch(const Inode& inode, std::uint64_t offset, std::uint64_t length, OnPinned on_pinned);
// False: stage 1 again.
Result<bool> commit_punch(Inode& inode, layout::Break& broken, std::uint64_t offset, std::uint64_t length,
                          OnPinned on_pinned);

}  // namespace holdfast::filesystem
