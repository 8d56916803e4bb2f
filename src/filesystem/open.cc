#include "filesystem/open.h"

#include <cerrno>

#include "filesystem/create.h"
#include "filesystem/path.h"
#include "filesystem/truncate.h"

namespace holdfast::filesystem {
namespace {

struct Opened {
  InodeRef inode;
  bool created = false;
};

Result<Opened> find_or_create(Core& core, std::string_view path, const OpenMode& mode) {
  const bool keep_link = mode.no_follow || (mode.create && mode.exclusive);
  if (mode.create && mode.exclusive && !path.ends_with('/')) {
    // Only making it can succeed, and that looks for the name itself.
    HF_ASSIGN(const Parent parent, walk_to_parent(core, path));
    HF_ASSIGN(InodeRef created, create(core, parent, {.permissions = mode.permissions}, path));
    return Opened{std::move(created), true};
  }
  for (;;) {
    Result<InodeRef> found = walk(core, path, keep_link ? LastLink::keep : LastLink::follow);
    if (found) {
      if (mode.create && mode.exclusive) return Error(EEXIST, std::string(path), "");
      return Opened{std::move(found).value(), false};
    }
    if (!mode.create || found.error().code() != ENOENT) return std::move(found).error();
    HF_ASSIGN(const Parent parent, walk_to_parent(core, path));
    Result<InodeRef> created = create(core, parent, {.permissions = mode.permissions}, path);
    if (created) return Opened{std::move(created).value(), true};
    // Someone else made the name first: open theirs. A link that leads nowhere stays EEXIST.
    if (created.error().code() != EEXIST || mode.exclusive) return std::move(created).error();
    HF_ASSIGN(const InodeRef there, look_up_inode(core, *parent.directory, parent.name));
    if (there && there->type == FileType::symlink) return Error(ENOENT, std::string(path), "the link leads nowhere");
  }
}

}  // namespace

Result<std::shared_ptr<OpenFile>> open(const std::shared_ptr<Core>& core, std::string_view path, const OpenMode& mode) {
  HF_TRY(core->usable());
  if (!mode.read && !mode.write) return Error(EINVAL, std::string(path), "opened neither for reading nor writing");
  if (mode.write || mode.create || mode.truncate) HF_TRY(core->writable());
  HF_ASSIGN(Opened opened, find_or_create(*core, path, mode));
  Inode& inode = *opened.inode;
  switch (inode.type) {
    case FileType::regular:
      break;
    case FileType::directory:
      if (mode.write || mode.truncate) return Error(EISDIR, std::string(path), "");
      break;
    case FileType::symlink:
      return Error(ELOOP, std::string(path), "");
    case FileType::character_device:
    case FileType::block_device:
    case FileType::fifo:
    case FileType::socket:
      return Error(ENXIO, std::string(path), "a node without bytes of its own", "use it through a mount");
  }
  inode.set_path_hint(path);
  if (mode.truncate && !opened.created) HF_TRY(truncate(inode, 0, OnPinned::wait, Deadline::never()));
  return std::make_shared<OpenFile>(core, std::move(opened.inode), mode.read, mode.write, mode.durable);
}

Result<std::shared_ptr<OpenFile>> open_unnamed(const std::shared_ptr<Core>& core, std::uint32_t permissions) {
  HF_ASSIGN(InodeRef inode, create_unnamed(*core, permissions));
  return std::make_shared<OpenFile>(core, std::move(inode), true, true);
}

}  // namespace holdfast::filesystem
