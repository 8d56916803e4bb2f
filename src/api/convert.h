// Between the public vocabulary and that of the layers below.
#pragma once

#include <holdfast/file.h>
#include <holdfast/filesystem.h>

#include <string>
#include <string_view>

#include "base/clock.h"
#include "filesystem/format.h"

namespace holdfast::api {

FileKind to_public(filesystem::FileType type);
filesystem::FileType to_internal(FileKind kind);
TimeStamp to_public(FileTime time);
FileTime to_internal(TimeStamp time);
Stat to_stat(std::uint32_t inode, const filesystem::Attributes& attributes);
// The caller's names, paths and values may lie in a window, where a touch waits for locks and handles of the file
// system: they are copied before any is taken.
inline std::string own(std::string_view text) { return std::string(text); }
// EINVAL: the nanoseconds are no nanoseconds.
Status check_time(TimeStamp time);

}  // namespace holdfast::api
