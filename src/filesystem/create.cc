#include "filesystem/create.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "filesystem/inode_locks.h"
#include "filesystem/links.h"
#include "filesystem/window_memory.h"

namespace holdfast::filesystem {
namespace {

constexpr std::uint32_t kSetGroupId = 02000;

Attributes initial_attributes(const NewInode& what, const Attributes* parent) {
  Attributes attributes;
  attributes.type = what.type;
  attributes.permissions = what.permissions & 07777U;
  attributes.uid = geteuid();
  attributes.gid = getegid();
  if (parent != nullptr && (parent->permissions & kSetGroupId) != 0) {
    attributes.gid = parent->gid;
    if (what.type == FileType::directory) attributes.permissions |= kSetGroupId;
  }
  attributes.links = what.type == FileType::directory ? 2 : 1;
  attributes.accessed = attributes.modified = attributes.changed = attributes.created = file_time_now();
  attributes.device_major = what.device_major;
  attributes.device_minor = what.device_minor;
  return attributes;
}

Status fill(Core& core, Handle& handle, InodeNumber number, InodeNumber parent, const NewInode& what) {
  if (what.type == FileType::directory) return core.format().make_directory(handle, number, parent);
  HF_DEBUG_CHECK(!in_windows(what.symlink_target), "a link's target in a window is read under a lock");
  if (what.type == FileType::symlink) return core.format().write_symlink(handle, number, what.symlink_target);
  return {};
}

// An inode that could not be given its name or content goes to the orphan list, from which eviction takes it, or the
// next mount.
void discard(Core& core, Handle& handle, InodeNumber number, Attributes attributes) {
  attributes.links = 0;
  if (!core.format().write_inode(handle, number, attributes)) return;
  if (!core.format().add_orphan(handle, number)) return;
  handle.done();
  core.inodes().mark_orphan(*core.inodes().insert_new(number, attributes));
}

}  // namespace

Status touch_directory(Handle& handle, Inode& directory) {
  directory.lock.assert_held();
  Format& format = directory.core.format();
  // The format grew the directory by itself: its size is the format's to say.
  HF_ASSIGN(const Attributes now, format.read_inode(directory.number));
  directory.attributes.size = now.size;
  directory.size.store(now.size, std::memory_order_release);  // pairs with readers of Inode::size
  directory.attributes.modified = directory.attributes.changed = file_time_now();
  return format.write_inode(handle, directory.number, directory.attributes);
}

Result<InodeRef> create(Core& core, const Parent& parent, const NewInode& what, std::string_view path) {
  HF_TRY(core.writable());
  HF_TRY(check_new_name(parent, path));
  if (parent.must_be_directory && what.type != FileType::directory) return Error(EISDIR, std::string(path), "");
  Inode& directory = *parent.directory;
  const InodeLocks locks{&directory};
  directory.lock.assert_held();
  if (directory.attributes.links == 0) return Error(ENOENT, std::string(path), "");
  HF_ASSIGN(const Name taken, look_up(core, directory, parent.name));
  if (taken.inode != kNoInode) return Error(EEXIST, std::string(path), "");

  Format& format = core.format();
  const Attributes attributes = initial_attributes(what, &directory.attributes);
  HF_ASSIGN(const std::unique_ptr<Handle> handle,
            format.begin({.inodes = 3, .names = 1, .extents = 2, .takes_space = true}));
  HF_ASSIGN(const InodeNumber number, format.create_inode(*handle, directory.number, attributes));
  Status named = fill(core, *handle, number, directory.number, what);
  if (named) named = format.add_name(*handle, directory.number, {parent.name, number, what.type});
  if (!named) {
    discard(core, *handle, number, attributes);
    return std::move(named).error();
  }
  if (what.type == FileType::directory) {
    directory.attributes.links = with_subdirectory(directory.attributes.links);
  }
  HF_TRY(touch_directory(*handle, directory));
  // The format knows what filling changed (a directory's first block, a link's length).
  HF_ASSIGN(const Attributes filled, format.read_inode(number));
  InodeRef inode = core.inodes().insert_new(number, filled);
  inode->set_path_hint(path);
  handle->done();
  return inode;
}

Result<InodeRef> create_unnamed(Core& core, std::uint32_t permissions) {
  HF_TRY(core.writable());
  Format& format = core.format();
  Attributes attributes = initial_attributes({.permissions = permissions}, nullptr);
  attributes.links = 0;
  HF_ASSIGN(const std::unique_ptr<Handle> handle, format.begin({.inodes = 2, .takes_space = true}));
  HF_ASSIGN(const InodeNumber number, format.create_inode(*handle, format.root(), attributes));
  HF_TRY(format.add_orphan(*handle, number));
  HF_ASSIGN(attributes, format.read_inode(number));
  InodeRef inode = core.inodes().insert_new(number, attributes);
  core.inodes().mark_orphan(*inode);
  handle->done();
  return inode;
}

Status add_link(Core& core, Inode& inode, const Parent& parent, std::string_view path) {
  HF_TRY(core.writable());
  HF_TRY(check_new_name(parent, path));
  if (inode.type == FileType::directory) return Error(EPERM, std::string(path), "directories have one name");
  if (parent.must_be_directory) return Error(ENOTDIR, std::string(path), "");
  Inode& directory = *parent.directory;
  const InodeLocks locks{&directory, &inode};
  directory.lock.assert_held();
  inode.lock.assert_held();
  if (directory.attributes.links == 0) return Error(ENOENT, std::string(path), "");
  if (inode.attributes.links >= kLinksMax) return Error(EMLINK, std::string(path), "");
  HF_ASSIGN(const Name taken, look_up(core, directory, parent.name));
  if (taken.inode != kNoInode) return Error(EEXIST, std::string(path), "");

  Format& format = core.format();
  HF_ASSIGN(const std::unique_ptr<Handle> handle, format.begin({.inodes = 3, .names = 1, .takes_space = true}));
  HF_TRY(format.add_name(*handle, directory.number, {parent.name, inode.number, inode.type}));
  if (inode.attributes.links == 0) {
    HF_TRY(format.remove_orphan(*handle, inode.number));
    core.inodes().unmark_orphan(inode);
  }
  ++inode.attributes.links;
  inode.attributes.changed = file_time_now();
  HF_TRY(format.write_inode(*handle, inode.number, inode.attributes));
  HF_TRY(touch_directory(*handle, directory));
  handle->done();
  return {};
}

}  // namespace holdfast::filesystem
