#include "filesystem/unlink.h"

#include <cerrno>

#include "filesystem/create.h"
#include "filesystem/inode_locks.h"
#include "filesystem/links.h"

namespace holdfast::filesystem {
namespace {

// The parent is locked through `locks_`, and so is the inode that the name has now. Taking the child's lock needs the
// parent's, which is what keeps the name from changing in between.
struct NamedChild {
  Parent parent;
  InodeRef child;
};

// Finds the child; the locks are taken by the caller, who looks the name up again under them.
Result<NamedChild> find_child(Core& core, std::string_view path) {
  HF_ASSIGN(Parent parent, walk_to_parent(core, path));
  if (parent.name.empty()) return Error(EBUSY, std::string(path), "the root of the pool");
  if (parent.name == ".") return Error(EINVAL, std::string(path), "");
  if (parent.name == "..") return Error(ENOTEMPTY, std::string(path), "");
  HF_ASSIGN(InodeRef child, look_up_inode(core, *parent.directory, parent.name));
  if (!child) return Error(ENOENT, std::string(path), "");
  return NamedChild{std::move(parent), std::move(child)};
}

Result<bool> still_named(Core& core, const NamedChild& found) {
  HF_ASSIGN(const Name now, look_up(core, *found.parent.directory, found.parent.name));
  return now.inode == found.child->number;
}

}  // namespace

Status check_drop(const Inode& inode, std::string_view path) {
  inode.lock.assert_held();
  const bool last = inode.type == FileType::directory || inode.attributes.links <= 1;
  if (!last || inode.attributes.allocated == 0) return {};
  Status possible = inode.core.format().check_resizable(inode.number);
  return possible ? Status() : Status(std::move(possible).error().about(std::string(path)));
}

Status drop_name(Core& core, Handle& handle, Inode& inode) {
  inode.lock.assert_held();
  inode.attributes.links = inode.type == FileType::directory ? 0 : inode.attributes.links - 1;
  inode.attributes.changed = file_time_now();
  HF_TRY(core.format().write_inode(handle, inode.number, inode.attributes));
  if (inode.attributes.links > 0) return {};
  HF_TRY(core.format().add_orphan(handle, inode.number));
  core.inodes().mark_orphan(inode);
  return {};
}

Status unlink(Core& core, std::string_view path) {
  HF_TRY(core.writable());
  for (;;) {
    HF_ASSIGN(NamedChild found, find_child(core, path));
    Inode& directory = *found.parent.directory;
    if (found.child->type == FileType::directory) return Error(EISDIR, std::string(path), "", "use rmdir");
    if (found.parent.must_be_directory) return Error(ENOTDIR, std::string(path), "");
    const InodeLocks locks{&directory, &*found.child};
    HF_ASSIGN(const bool unchanged, still_named(core, found));
    if (!unchanged) continue;
    HF_TRY(check_drop(*found.child, path));
    HF_ASSIGN(const std::unique_ptr<Handle> handle, core.format().begin({.inodes = 3, .names = 1}));
    HF_TRY(core.format().remove_name(*handle, directory.number, found.parent.name));
    HF_TRY(drop_name(core, *handle, *found.child));
    HF_TRY(touch_directory(*handle, directory));
    handle->done();
    return {};
  }
}

Status remove_directory(Core& core, std::string_view path) {
  HF_TRY(core.writable());
  for (;;) {
    HF_ASSIGN(NamedChild found, find_child(core, path));
    Inode& directory = *found.parent.directory;
    if (found.child->type != FileType::directory) return Error(ENOTDIR, std::string(path), "");
    const InodeLocks locks{&directory, &*found.child};
    directory.lock.assert_held();
    HF_ASSIGN(const bool unchanged, still_named(core, found));
    if (!unchanged) continue;
    HF_ASSIGN(const bool empty, core.format().directory_empty(found.child->number));
    if (!empty) return Error(ENOTEMPTY, std::string(path), "");
    HF_TRY(check_drop(*found.child, path));
    HF_ASSIGN(const std::unique_ptr<Handle> handle, core.format().begin({.inodes = 3, .names = 1}));
    HF_TRY(core.format().remove_name(*handle, directory.number, found.parent.name));
    HF_TRY(drop_name(core, *handle, *found.child));
    directory.attributes.links = without_subdirectory(directory.attributes.links);
    HF_TRY(touch_directory(*handle, directory));
    handle->done();
    return {};
  }
}

}  // namespace holdfast::filesystem
