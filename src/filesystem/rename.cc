#include "filesystem/rename.h"

#include <cerrno>
#include <optional>

#include "filesystem/create.h"
#include "filesystem/inode_locks.h"
#include "filesystem/links.h"
#include "filesystem/path.h"
#include "filesystem/unlink.h"

namespace holdfast::filesystem {
namespace {

// One end of the move: the directory, the name in it, and what the name means (nothing: an empty reference).
struct End {
  Parent parent;
  InodeRef inode;
};

Result<End> find_end(Core& core, std::string_view path) {
  HF_ASSIGN(Parent parent, walk_to_parent(core, path));
  if (parent.name.empty() || parent.name == "." || parent.name == "..") return Error(EBUSY, std::string(path), "");
  HF_ASSIGN(InodeRef inode, look_up_inode(core, *parent.directory, parent.name));
  return End{std::move(parent), std::move(inode)};
}

Result<bool> unchanged(Core& core, const End& end) {
  HF_ASSIGN(const Name now, look_up(core, *end.parent.directory, end.parent.name));
  return now.inode == (end.inode ? end.inode->number : kNoInode);
}

// Whether `inode` is `directory` or lies above it. Stable under the rename lock.
Result<bool> is_above(Core& core, const Inode& inode, const Inode& directory) {
  InodeNumber at = directory.number;
  const InodeNumber root = core.format().root();
  while (at != inode.number) {
    if (at == root) return false;
    HF_ASSIGN(const std::optional<Name> parent, core.format().lookup(at, ".."));
    if (!parent || parent->inode == at) return false;
    at = parent->inode;
  }
  return true;
}

class Renaming {
 public:
  Renaming(Core& core, End& source, End& target, RenameMode mode, std::string_view from, std::string_view to)
      : core_(core), source_(source), target_(target), mode_(mode), from_(from), to_(to) {}

  // Everything that can be refused, under the locks of the parents.
  Status check() const {
    const bool moves_directory = source_.inode->type == FileType::directory;
    if (!moves_directory && (source_.parent.must_be_directory || target_.parent.must_be_directory)) {
      return error(ENOTDIR, source_.parent.must_be_directory ? from_ : to_);
    }
    HF_TRY(check_not_into_itself(source_, target_, from_));
    if (mode_ == RenameMode::exchange) {
      if (!target_.inode) return error(ENOENT, to_);
      return check_not_into_itself(target_, source_, to_);
    }
    if (!target_.inode) return {};
    if (mode_ == RenameMode::no_replace) return error(EEXIST, to_);
    const bool over_directory = target_.inode->type == FileType::directory;
    if (moves_directory && !over_directory) return error(ENOTDIR, to_);
    if (!moves_directory && over_directory) return error(EISDIR, to_);
    if (!over_directory) return {};
    HF_ASSIGN(const bool above, is_above(core_, *target_.inode, *source_.parent.directory));
    if (above) return error(ENOTEMPTY, to_);
    HF_ASSIGN(const bool empty, core_.format().directory_empty(target_.inode->number));
    if (!empty) return error(ENOTEMPTY, to_);
    return {};
  }

  // The change, in one handle; all inodes are locked.
  Status apply() {
    Format& format = core_.format();
    HF_ASSIGN(handle_, format.begin({.inodes = 6, .names = 3, .takes_space = true}));
    Inode& moved = *source_.inode;
    const Name new_name{target_.parent.name, moved.number, moved.type};
    if (target_.inode) {
      HF_TRY(format.replace_name(*handle_, target_directory().number, new_name));
    } else {
      HF_TRY(format.add_name(*handle_, target_directory().number, new_name));
    }
    if (mode_ == RenameMode::exchange) {
      const Inode& other = *target_.inode;
      HF_TRY(format.replace_name(*handle_, source_directory().number, {source_.parent.name, other.number, other.type}));
      HF_TRY(adopt(*target_.inode, target_directory(), source_directory()));
    } else {
      HF_TRY(format.remove_name(*handle_, source_directory().number, source_.parent.name));
      if (target_.inode) HF_TRY(replaced(*target_.inode));
    }
    HF_TRY(adopt(moved, source_directory(), target_directory()));
    HF_TRY(touch_directory(*handle_, source_directory()));
    if (&source_directory() != &target_directory()) HF_TRY(touch_directory(*handle_, target_directory()));
    moved.set_path_hint(to_);
    handle_->done();
    return {};
  }

 private:
  static Error error(int code, std::string_view path) { return Error(code, std::string(path), ""); }
  Inode& source_directory() const { return *source_.parent.directory; }
  Inode& target_directory() const { return *target_.parent.directory; }

  Status check_not_into_itself(const End& moved, const End& place, std::string_view path) const {
    if (moved.inode->type != FileType::directory) return {};
    HF_ASSIGN(const bool above, is_above(core_, *moved.inode, *place.parent.directory));
    if (above) return Error(EINVAL, std::string(path), "a directory cannot move into itself");
    return {};
  }

  // `inode` now has its name in `now` instead of `before`.
  Status adopt(Inode& inode, Inode& before, Inode& now) {
    inode.lock.assert_held();
    before.lock.assert_held();
    now.lock.assert_held();
    if (inode.type == FileType::directory && &before != &now) {
      HF_TRY(core_.format().set_parent(*handle_, inode.number, now.number));
      before.attributes.links = without_subdirectory(before.attributes.links);
      now.attributes.links = with_subdirectory(now.attributes.links);
    }
    inode.attributes.changed = file_time_now();
    return core_.format().write_inode(*handle_, inode.number, inode.attributes);
  }

  Status replaced(Inode& victim) {
    Inode& directory = target_directory();
    directory.lock.assert_held();
    if (victim.type == FileType::directory) {
      directory.attributes.links = without_subdirectory(directory.attributes.links);
    }
    return drop_name(core_, *handle_, victim);
  }

  Core& core_;
  End& source_;
  End& target_;
  const RenameMode mode_;
  const std::string_view from_;
  const std::string_view to_;
  std::unique_ptr<Handle> handle_;
};

// Parents in the order in which their locks are safe to take.
Result<bool> source_parent_first(Core& core, const End& source, const End& target) {
  const Inode& a = *source.parent.directory;
  const Inode& b = *target.parent.directory;
  HF_ASSIGN(const bool a_above, is_above(core, a, b));
  if (a_above) return true;
  HF_ASSIGN(const bool b_above, is_above(core, b, a));
  if (b_above) return false;
  return raw(a.number) < raw(b.number);
}

// Children: a child that is the other end's parent is locked as a parent already; of two others the lower number
// goes first.
std::pair<Inode*, Inode*> child_order(const End& source, const End& target) {
  Inode* a = &*source.inode;
  Inode* b = target.inode ? &*target.inode : nullptr;
  if (b != nullptr && raw(b->number) < raw(a->number)) std::swap(a, b);
  return {a, b};
}

}  // namespace

Status rename(Core& core, std::string_view from, std::string_view to, RenameMode mode) {
  HF_TRY(core.writable());
  for (;;) {
    HF_ASSIGN(End source, find_end(core, from));
    HF_ASSIGN(End target, find_end(core, to));
    if (!source.inode) return Error(ENOENT, std::string(from), "");
    std::optional<MutexLock> tree;
    Inode* first = &*source.parent.directory;
    Inode* second = &*target.parent.directory;
    if (first != second) {
      tree.emplace(core.rename_lock());
      HF_ASSIGN(const bool in_order, source_parent_first(core, source, target));
      if (!in_order) std::swap(first, second);
    }
    const auto [child, other_child] = child_order(source, target);
    Renaming renaming(core, source, target, mode, from, to);
    // A directory that would move into itself is refused before its lock is taken below its own descendant's.
    if (source.inode->type == FileType::directory || (target.inode && target.inode->type == FileType::directory)) {
      HF_TRY(renaming.check());
    }
    const InodeLocks locks{first, second, child, other_child};
    HF_ASSIGN(const bool source_there, unchanged(core, source));
    HF_ASSIGN(const bool target_there, unchanged(core, target));
    if (!source_there || !target_there) continue;
    if (target.inode && &*source.inode == &*target.inode) {  // two names of one inode: rename(2) leaves both
      return mode == RenameMode::no_replace ? Status(Error(EEXIST, std::string(to), "")) : Status();
    }
    target.parent.directory->lock.assert_held();
    if (target.parent.directory->attributes.links == 0) return Error(ENOENT, std::string(to), "");
    HF_TRY(renaming.check());
    if (target.inode && mode != RenameMode::exchange) HF_TRY(check_drop(*target.inode, to));
    return renaming.apply();
  }
}

}  // namespace holdfast::filesystem
