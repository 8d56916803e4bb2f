#include "cli/host_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>

#include "base/result.h"
#include "cli/host_file.h"
#include "cli/path.h"

namespace holdfast::cli {
namespace {

Status done(int result, const std::string& path) { return result == 0 ? Status() : Error(errno, path, ""); }

FileKind kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileKind::directory;
    case S_IFLNK:
      return FileKind::symlink;
    case S_IFCHR:
      return FileKind::character_device;
    case S_IFBLK:
      return FileKind::block_device;
    case S_IFIFO:
      return FileKind::fifo;
    case S_IFSOCK:
      return FileKind::socket;
    default:
      return FileKind::regular;
  }
}

TimeStamp time_of(const timespec& time) { return {time.tv_sec, static_cast<std::uint32_t>(time.tv_nsec)}; }

// What an *xattr call gives, however long it is by the time of the second call.
template <typename Call>
Result<std::string> sized(const std::string& path, Call call) {
  std::string value;
  for (;;) {
    const ssize_t need = call(nullptr, 0);
    if (need < 0) return Error(errno, path, "");
    if (need == 0) return value;
    value.resize(static_cast<std::size_t>(need));
    const ssize_t got = call(value.data(), value.size());
    if (got >= 0) {
      value.resize(static_cast<std::size_t>(got));
      return value;
    }
    if (errno != ERANGE) return Error(errno, path, "");
  }
}

class HostPath final : public Attributed {
 public:
  explicit HostPath(std::string path) : path_(std::move(path)) {}

  Status set_owner(std::uint32_t uid, std::uint32_t gid) override {
    return done(lchown(path_.c_str(), uid, gid), path_);
  }
  Status set_permissions(std::uint32_t permissions) override {
    return done(fchmodat(AT_FDCWD, path_.c_str(), permissions, 0), path_);
  }
  Status set_times(TimeStamp accessed, TimeStamp modified) override {
    const std::array<timespec, 2> times{timespec_of(accessed), timespec_of(modified)};
    return done(utimensat(AT_FDCWD, path_.c_str(), times.data(), AT_SYMLINK_NOFOLLOW), path_);
  }
  Status set_attribute(const std::string& name, const std::string& value) override {
    return done(lsetxattr(path_.c_str(), name.c_str(), value.data(), value.size(), 0), path_);
  }

 private:
  std::string path_;
};

struct DirectoryCloser {
  void operator()(DIR* directory) const { closedir(directory); }
};

}  // namespace

Node node_of(const struct stat& status) {
  Node node;
  node.identity = {status.st_dev, status.st_ino};
  node.kind = kind_of(status.st_mode);
  node.permissions = status.st_mode & 07777U;
  node.links = status.st_nlink;
  node.uid = status.st_uid;
  node.gid = status.st_gid;
  node.size = static_cast<std::uint64_t>(status.st_size);
  node.allocated = static_cast<std::uint64_t>(status.st_blocks) * 512;
  node.accessed = time_of(status.st_atim);
  node.modified = time_of(status.st_mtim);
  node.changed = time_of(status.st_ctim);
  node.device_major = major(status.st_rdev);
  node.device_minor = minor(status.st_rdev);
  return node;
}

Result<Node> HostTree::look(const std::string& path) const {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return Error(errno, path, "");
  return node_of(status);
}

Result<Node> HostTree::look_following(const std::string& path) const {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return Error(errno, path, "");
  return node_of(status);
}

Result<std::vector<std::string>> HostTree::names(const std::string& directory) const {
  const std::unique_ptr<DIR, DirectoryCloser> open(opendir(directory.c_str()));
  if (!open) return Error(errno, directory, "");
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(open.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return Error(errno, directory, "");
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> HostTree::read_symlink(const std::string& path) const {
  std::string target(PATH_MAX, '\0');
  const ssize_t length = readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return Error(errno, path, "");
  target.resize(static_cast<std::size_t>(length));
  return target;
}

Result<std::unique_ptr<SourceFile>> HostTree::open(const std::string& path) const { return HostSourceFile::open(path); }

Result<std::vector<std::string>> HostTree::attributes(const std::string& path) const {
  Result<std::string> list =
      sized(path, [&](char* into, std::size_t size) { return llistxattr(path.c_str(), into, size); });
  std::vector<std::string> names;
  if (!list && list.error().code() == ENOTSUP) return names;
  if (!list) return std::move(list).error();
  for (std::size_t begin = 0; begin < list->size();) {
    const std::size_t end = std::min(list->find('\0', begin), list->size());
    if (end > begin) names.push_back(list->substr(begin, end - begin));
    begin = end + 1;
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<std::string> HostTree::attribute(const std::string& path, const std::string& name) const {
  return sized(path, [&](char* into, std::size_t size) { return lgetxattr(path.c_str(), name.c_str(), into, size); });
}

Status HostTree::make_directory(const std::string& path) {
  HF_TRY(done(mkdir(path.c_str(), 0700), path));
  // A default list of the folder above is not of the source.
  lremovexattr(path.c_str(), kAclAccess);
  lremovexattr(path.c_str(), kAclDefault);
  return {};
}

Status HostTree::make_node(const std::string& path, const Node& like) {
  mode_t type = S_IFIFO;
  if (like.kind == FileKind::socket) type = S_IFSOCK;
  if (like.kind == FileKind::character_device) type = S_IFCHR;
  if (like.kind == FileKind::block_device) type = S_IFBLK;
  const dev_t number = makedev(like.device_major, like.device_minor);
  if (mknod(path.c_str(), type | 0600U, number) == 0) return {};
  const bool device = type == S_IFCHR || type == S_IFBLK;
  if (errno == EPERM && device) return Error(EPERM, path, "a device node, which only root can make", "run as root");
  return Error(errno, path, "");
}

Status HostTree::symlink(const std::string& target, const std::string& path) {
  return done(::symlink(target.c_str(), path.c_str()), path);
}

Status HostTree::link(const std::string& existing, const std::string& path) {
  return done(linkat(AT_FDCWD, existing.c_str(), AT_FDCWD, path.c_str(), 0), path);
}

Result<std::unique_ptr<NewFile>> HostTree::new_file(const std::string& directory) {
  return HostNewFile::create(directory);
}

Status HostTree::publish(NewFile& file, const std::string& path) {
  return static_cast<HostNewFile&>(file).publish(path);  // every NewFile of this tree is one
}

Status HostTree::rename(const std::string& from, const std::string& to) {
  return done(std::rename(from.c_str(), to.c_str()), to);
}

Status HostTree::remove(const std::string& path) { return done(unlink(path.c_str()), path); }

std::unique_ptr<Attributed> HostTree::at(const std::string& path) { return std::make_unique<HostPath>(path); }

}  // namespace holdfast::cli
