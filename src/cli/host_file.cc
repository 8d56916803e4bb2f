#include "cli/host_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/host_tree.h"
#include "cli/path.h"

namespace holdfast::cli {

timespec timespec_of(TimeStamp time) { return {time.seconds, static_cast<long>(time.nanoseconds)}; }

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (fd_ >= 0 && this != &other) close(fd_);
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Result<std::unique_ptr<SourceFile>> HostSourceFile::open(const std::string& path) {
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) return Error(errno, path, "");
  struct stat status {};
  if (fstat(fd.get(), &status) != 0) return Error(errno, path, "");
  if (!S_ISREG(status.st_mode)) return Error(EINVAL, path, "is no regular file any more");
  return std::unique_ptr<SourceFile>(std::make_unique<HostSourceFile>(std::move(fd), path));
}

Result<Node> HostSourceFile::look() const {
  struct stat status {};
  if (fstat(fd_.get(), &status) != 0) return Error(errno, path_, "");
  return node_of(status);
}

Result<std::size_t> HostSourceFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  for (;;) {
    const ssize_t got = pread(fd_.get(), into.data(), into.size(), static_cast<off_t>(offset));
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return Error(errno, path_, "");
  }
}

Result<std::uint64_t> HostSourceFile::seek(std::uint64_t offset, int whence) const {
  const off_t found = lseek(fd_.get(), static_cast<off_t>(offset), whence);
  if (found < 0) return Error(errno, path_, "");
  return static_cast<std::uint64_t>(found);
}

Result<std::uint64_t> HostSourceFile::next_data(std::uint64_t offset) const { return seek(offset, SEEK_DATA); }
Result<std::uint64_t> HostSourceFile::next_hole(std::uint64_t offset) const { return seek(offset, SEEK_HOLE); }

Result<std::unique_ptr<NewFile>> HostNewFile::create(const std::string& directory) {
  std::string temporary;
  Descriptor fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) {
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) return Error(errno, directory, "");
    temporary = join(directory, ".holdfast.XXXXXX");
    fd = Descriptor(mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) return Error(errno, directory, "");
  }
  // A default list of the folder is not of the source.
  fremovexattr(fd.get(), kAclAccess);
  return std::unique_ptr<NewFile>(std::make_unique<HostNewFile>(std::move(fd), directory, std::move(temporary)));
}

HostNewFile::~HostNewFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Status HostNewFile::done(int result) const { return result == 0 ? Status() : Error(errno, directory_, ""); }

Status HostNewFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return done(-1);
    offset += static_cast<std::uint64_t>(written);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status HostNewFile::set_size(std::uint64_t size) { return done(ftruncate(fd_.get(), static_cast<off_t>(size))); }

Status HostNewFile::set_owner(std::uint32_t uid, std::uint32_t gid) { return done(fchown(fd_.get(), uid, gid)); }

Status HostNewFile::set_permissions(std::uint32_t permissions) { return done(fchmod(fd_.get(), permissions)); }

Status HostNewFile::set_times(TimeStamp accessed, TimeStamp modified) {
  const std::array<timespec, 2> times{timespec_of(accessed), timespec_of(modified)};
  return done(futimens(fd_.get(), times.data()));
}

Status HostNewFile::set_attribute(const std::string& name, const std::string& value) {
  return done(fsetxattr(fd_.get(), name.c_str(), value.data(), value.size(), 0));
}

Status HostNewFile::sync() { return done(fsync(fd_.get())); }

Status HostNewFile::publish(const std::string& path) {
  if (temporary_.empty()) {
    // The descriptor's own name in /proc: linkat with an empty path needs a privilege, this does not.
    const std::string self = fmt::format("/proc/self/fd/{}", fd_.get());
    return linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0 ? Status()
                                                                                          : Error(errno, path, "");
  }
  if (linkat(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path.c_str(), 0) == 0) {
    unlink(temporary_.c_str());
    temporary_.clear();
    return {};
  }
  const int code = errno;
  // A file system without hard links (FAT): the rename may not replace what is there.
  if (code != EPERM && code != EOPNOTSUPP) return Error(code, path, "");
  if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) {
    temporary_.clear();
    return {};
  }
  return Error(errno, path, "");
}

}  // namespace holdfast::cli
