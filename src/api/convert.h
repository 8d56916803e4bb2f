// Between the public vocabulary and that of the layers below.
#pragma once

#include <holdfast/file.h>
#include <holdfast/filesystem.h>

#include "base/clock.h"
#include "filesystem/format.h"

namespace holdfast::api {

FileKind to_public(filesystem::FileType type);
filesystem::FileType to_internal(FileKind kind);
TimeStamp to_public(FileTime time);
FileTime to_internal(TimeStamp time);
Stat to_stat(std::uint32_t inode, const filesystem::Attributes& attributes);
// EINVAL: the nanoseconds are no nanoseconds.
Status check_time(TimeStamp time);

}  // namespace holdfast::api
