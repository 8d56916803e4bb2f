#include "filesystem/attributes.h"

#include <algorithm>
#include <cerrno>

#include "filesystem/window_memory.h"

namespace holdfast::filesystem {
namespace {

constexpr std::uint32_t kSetUserId = 04000;
constexpr std::uint32_t kSetGroupId = 02000;
constexpr std::uint32_t kGroupExecute = 00010;
constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;

FileTime from_lazy(std::int64_t nanoseconds) {
  return {nanoseconds / kNanosecondsPerSecond, static_cast<std::uint32_t>(nanoseconds % kNanosecondsPerSecond)};
}

// One change of attributes: `change` edits them, the change time follows, the format is told.
template <typename Change>
Status change_attributes(Inode& inode, Change change) {
  HF_TRY(inode.core.writable());
  const MutexLock lock(inode.lock);
  HF_ASSIGN(const std::unique_ptr<Handle> handle, inode.core.format().begin({.inodes = 1}));
  Attributes changed = inode.attributes;
  change(changed);
  changed.changed = file_time_now();
  HF_TRY(inode.core.format().write_inode(*handle, inode.number, changed));
  handle->done();
  inode.attributes = changed;
  return {};
}

template <typename Change>
Status change_extended(Inode& inode, bool takes_space, Change change) {
  HF_TRY(inode.core.writable());
  Format& format = inode.core.format();
  const MutexLock lock(inode.lock);
  HF_ASSIGN(const std::unique_ptr<Handle> handle,
            format.begin({.inodes = 1, .attribute_blocks = 1, .takes_space = takes_space}));
  HF_TRY(change(format, *handle));
  inode.attributes.changed = file_time_now();
  HF_TRY(format.write_inode(*handle, inode.number, inode.attributes));
  handle->done();
  return {};
}

}  // namespace

Attributes attributes_of(Inode& inode) {
  Attributes attributes;
  {
    const MutexLock lock(inode.lock);
    attributes = inode.attributes;
    // Blocks are counted by the format as it takes and frees them.
    if (const Result<Attributes> now = inode.core.format().read_inode(inode.number)) {
      attributes.allocated = now->allocated;
      attributes.size = inode.type == FileType::regular ? attributes.size : now->size;
    }
  }
  if (const std::int64_t modified = inode.modified_lazily.load(std::memory_order_relaxed); modified != 0) {
    attributes.modified = std::max(attributes.modified, from_lazy(modified));
    attributes.changed = std::max(attributes.changed, from_lazy(modified));
  }
  if (const std::int64_t accessed = inode.accessed_lazily.load(std::memory_order_relaxed); accessed != 0) {
    attributes.accessed = std::max(attributes.accessed, from_lazy(accessed));
  }
  return attributes;
}

Status set_permissions(Inode& inode, std::uint32_t permissions) {
  if (permissions > 07777U) return Error(EINVAL, inode.path_hint(), "permissions have 12 bits");
  return change_attributes(inode, [permissions](Attributes& attributes) { attributes.permissions = permissions; });
}

Status set_owner(Inode& inode, std::uint32_t uid, std::uint32_t gid) {
  const bool regular = inode.type == FileType::regular;
  return change_attributes(inode, [uid, gid, regular](Attributes& attributes) {
    attributes.uid = uid;
    attributes.gid = gid;
    if (!regular) return;
    attributes.permissions &= ~kSetUserId;
    if ((attributes.permissions & kGroupExecute) != 0) attributes.permissions &= ~kSetGroupId;
  });
}

Status set_times(Inode& inode, FileTime accessed, FileTime modified) {
  return change_attributes(inode, [&inode, accessed, modified](Attributes& attributes) {
    attributes.accessed = accessed;
    attributes.modified = modified;
    inode.accessed_lazily.store(0, std::memory_order_relaxed);
    inode.modified_lazily.store(0, std::memory_order_relaxed);
  });
}

Result<std::vector<std::string>> list_extended(Inode& inode) {
  HF_TRY(inode.core.usable());
  return inode.core.format().list_attributes(inode.number);
}

Result<std::string> get_extended(Inode& inode, std::string_view name) {
  HF_TRY(inode.core.usable());
  return inode.core.format().get_attribute(inode.number, name);
}

Status set_extended(Inode& inode, std::string_view name, std::string_view value, Format::AttributeMode mode) {
  HF_DEBUG_CHECK(!in_windows(name) && !in_windows(value), "an attribute in a window is read under a lock");
  return change_extended(inode, true, [&](Format& format, Handle& handle) {
    return format.set_attribute(handle, inode.number, name, value, mode);
  });
}

Status remove_extended(Inode& inode, std::string_view name) {
  return change_extended(inode, false, [&](Format& format, Handle& handle) {
    return format.remove_attribute(handle, inode.number, name);
  });
}

}  // namespace holdfast::filesystem
