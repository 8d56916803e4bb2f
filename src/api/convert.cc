#include "api/convert.h"

#include <cerrno>

namespace holdfast::api {

// Both enumerations list the same kinds in the same order.
static_assert(static_cast<int>(FileKind::socket) == static_cast<int>(filesystem::FileType::socket));
static_assert(static_cast<int>(FileKind::symlink) == static_cast<int>(filesystem::FileType::symlink));
static_assert(static_cast<int>(FileKind::fifo) == static_cast<int>(filesystem::FileType::fifo));

FileKind to_public(filesystem::FileType type) { return static_cast<FileKind>(type); }
filesystem::FileType to_internal(FileKind kind) { return static_cast<filesystem::FileType>(kind); }

TimeStamp to_public(FileTime time) { return {time.seconds, time.nanoseconds}; }
FileTime to_internal(TimeStamp time) { return {time.seconds, time.nanoseconds}; }

Stat to_stat(std::uint32_t inode, const filesystem::Attributes& attributes) {
  Stat stat;
  stat.inode = inode;
  stat.kind = to_public(attributes.type);
  stat.permissions = attributes.permissions;
  stat.links = attributes.links;
  stat.uid = attributes.uid;
  stat.gid = attributes.gid;
  stat.size = attributes.size;
  stat.allocated = attributes.allocated;
  stat.accessed = to_public(attributes.accessed);
  stat.modified = to_public(attributes.modified);
  stat.changed = to_public(attributes.changed);
  stat.created = to_public(attributes.created);
  stat.device_major = attributes.device_major;
  stat.device_minor = attributes.device_minor;
  return stat;
}

Status check_time(TimeStamp time) {
  if (time.nanoseconds < 1'000'000'000U) return {};
  return Error(EINVAL, "time", "a second has fewer nanoseconds");
}

}  // namespace holdfast::api
