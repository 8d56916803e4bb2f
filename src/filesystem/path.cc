#include "filesystem/path.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "filesystem/window_memory.h"

namespace holdfast::filesystem {
namespace {

constexpr unsigned kLinksFollowedMax = 40;  // as MAXSYMLINKS of the kernel's fs/namei.c
constexpr unsigned kStaleNamesMax = 64;     // more unlinks than can meet one look-up

Error bad_path(int code, std::string_view path) { return Error(code, std::string(path), ""); }

// Takes the first component off `rest`; false when only slashes are left.
bool next_component(std::string_view& rest, std::string_view& component) {
  const std::size_t start = rest.find_first_not_of('/');
  if (start == std::string_view::npos) return false;
  rest.remove_prefix(start);
  const std::size_t end = std::min(rest.find('/'), rest.size());
  component = rest.substr(0, end);
  rest.remove_prefix(end);
  return true;
}

bool only_slashes(std::string_view rest) { return rest.find_first_not_of('/') == std::string_view::npos; }

// The state of one walk: where it stands and what is left, symbolic links expanded as they come.
class Walk {
 public:
  Walk(Core& core, std::string_view path) : core_(core), path_(path) {
    HF_DEBUG_CHECK(!in_windows(path), "a path in a window is read under a lock");
  }

  // Walks until the path is used up, or until its last component when `stop_before_last`.
  Status run(LastLink last, bool stop_before_last) {
    HF_TRY(start(path_));
    std::string_view component;
    while (next_component(rest_, component)) {
      if (component.size() > kNameBytesMax) return bad_path(ENAMETOOLONG, path_);
      if (stop_before_last && only_slashes(rest_)) {
        last_ = std::string(component);
        trailing_slash_ = !rest_.empty();
        return require_directory();
      }
      HF_TRY(step(component, last));
    }
    return {};
  }

  InodeRef here_;
  std::string last_;
  bool trailing_slash_ = false;

 private:
  Status start(std::string_view from) {
    if (from.empty()) return bad_path(ENOENT, path_);
    if (from.front() != '/') return Error(EINVAL, std::string(path_), "not an absolute path");
    if (from.size() >= kPathBytesMax) return bad_path(ENAMETOOLONG, path_);
    HF_ASSIGN(here_, core_.inodes().get(core_.format().root()));
    rest_ = from;
    return {};
  }

  Status require_directory() const {
    if (here_->type != FileType::directory) return bad_path(ENOTDIR, path_);
    return {};
  }

  Status step(std::string_view component, LastLink last) {
    HF_TRY(require_directory());
    if (component == ".") return {};
    HF_ASSIGN(InodeRef next, look_up_inode(core_, *here_, component));
    if (!next) return bad_path(ENOENT, path_);
    const bool at_end = only_slashes(rest_);
    // A trailing slash asks for a directory, so it follows the link as well.
    if (next->type == FileType::symlink && (!at_end || !rest_.empty() || last == LastLink::follow)) {
      return follow(*next);
    }
    here_ = std::move(next);
    if (at_end && !rest_.empty()) return require_directory();
    return {};
  }

  Status follow(const Inode& link) {
    if (++links_followed_ > kLinksFollowedMax) return bad_path(ELOOP, path_);
    HF_ASSIGN(std::string target, core_.format().read_symlink(link.number));
    if (target.empty()) return bad_path(ENOENT, path_);
    target.append(rest_);
    if (target.size() >= kPathBytesMax) return bad_path(ENAMETOOLONG, path_);
    expanded_ = std::move(target);
    if (expanded_.front() == '/') return start(expanded_);
    rest_ = expanded_;
    return {};
  }

  Core& core_;
  std::string_view path_;
  std::string expanded_;
  std::string_view rest_;
  unsigned links_followed_ = 0;
};

}  // namespace

Result<Name> look_up(Core& core, const Inode& directory, std::string_view name) {
  HF_ASSIGN(std::optional<Name> found, core.format().lookup(directory.number, name));
  return found ? *std::move(found) : Name{std::string(name), kNoInode, FileType::regular};
}

Result<InodeRef> look_up_inode(Core& core, const Inode& directory, std::string_view name) {
  for (unsigned attempt = 0; attempt < kStaleNamesMax; ++attempt) {
    HF_ASSIGN(const std::optional<Name> found, core.format().lookup(directory.number, name));
    if (!found) return InodeRef();
    Result<InodeRef> inode = core.inodes().get(found->inode);
    // ESTALE: the name was unlinked after it was read and its inode is on the way out: read the name again.
    if (inode || inode.error().code() != ESTALE) return inode;
  }
  // A name goes before its inode does, so a name that stays names what nobody will free.
  return Error(EUCLEAN, core.name(),
               fmt::format("inode {}: the name \"{}\" means an inode without names", raw(directory.number), name),
               "run e2fsck -f");
}

Result<InodeRef> walk(Core& core, std::string_view path, LastLink last) {
  Walk walk(core, path);
  HF_TRY(walk.run(last, false));
  return std::move(walk.here_);
}

Result<Parent> walk_to_parent(Core& core, std::string_view path) {
  Walk walk(core, path);
  HF_TRY(walk.run(LastLink::keep, true));
  return Parent{std::move(walk.here_), std::move(walk.last_), walk.trailing_slash_};
}

Status check_new_name(const Parent& parent, std::string_view path) {
  if (parent.name.empty()) return bad_path(EEXIST, path);
  if (parent.name == "." || parent.name == "..") return bad_path(EEXIST, path);
  return {};
}

}  // namespace holdfast::filesystem
