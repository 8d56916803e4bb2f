// How a Device comes to be: new memory, a new file, an existing file or /dev/dax.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/trace.h"
#include "device/carrier.h"
#include "device/describe.h"
#include "device/device.h"
#include "device/device_lock.h"
#include "device/device_parts.h"
#include "device/huge_memory.h"
#include "device/write_back.h"

namespace holdfast::device {

// The last step of every way to open: window, bookkeeping, done.
struct DeviceBuilder {
  static Result<std::unique_ptr<Device>> build(FileDescriptor file, bool locked, const std::string& name,
                                               const Geometry& geometry, OpenMode mode,
                                               std::unique_ptr<Durability> durability = nullptr) {
    HF_TRY(check_size(geometry, name));
    auto parts = std::make_unique<Device::Parts>();
    const int fd = file.get();
    parts->file = std::move(file);
    parts->locked = locked;
    HF_ASSIGN(parts->window, DeviceWindow::map(fd, name, geometry, mode));
    if (mode == OpenMode::read_write) {
      if (geometry.kind != Kind::devdax) {
        HF_ASSIGN(parts->backing, Backing::create(fd, name, geometry));
      }
      parts->durability = std::move(durability);
      if (geometry.kind == Kind::disk_file && parts->durability == nullptr) {
        parts->durability = std::make_unique<WriteBack>(fd, parts->window->begin(), name);
      }
    }
    std::unique_ptr<Device> device(new Device);
    device->name_ = name;
    device->geometry_ = geometry;
    device->window_ = parts->window->begin();
    device->fd_ = fd;
    device->identity_ = DescriptorIdentity(fd);
    device->read_only_ = mode == OpenMode::read_only;
    device->parts_ = std::move(parts);
    HF_TRACE3(device_open, name.c_str(), geometry.size, static_cast<int>(geometry.kind));
    return device;
  }
};

namespace {

constexpr std::uint64_t kUnitBytes = 2 * MiB;

std::uint64_t bytes_of(PageSize page_size) {
  switch (page_size) {
    case PageSize::base_4k:
      return kPageBytes;
    case PageSize::huge_2m:
      return 2 * MiB;
    case PageSize::huge_1g:
      return GiB;
  }
  return kPageBytes;
}

unsigned memfd_flags(PageSize page_size) {
  switch (page_size) {
    case PageSize::base_4k:
      break;
    case PageSize::huge_2m:
      return MFD_HUGETLB | MFD_HUGE_2MB;
    case PageSize::huge_1g:
      return MFD_HUGETLB | MFD_HUGE_1GB;
  }
  return 0;
}

// Rounds a wanted size up to whole pages. EINVAL, EFBIG.
Result<std::uint64_t> whole_pages(std::uint64_t size, std::uint64_t page_bytes, const std::string& name) {
  if (size == 0) return Error(EINVAL, name, "a device of size 0 was asked for", "give a size");
  if (size > kMaxDeviceBytes) {
    return Error(EFBIG, name, fmt::format("a device of {} was asked for", describe_bytes(size)),
                 fmt::format("the largest device is {}", describe_bytes(kMaxDeviceBytes)));
  }
  return round_up(size, page_bytes);
}

// ftruncate. The limit on file sizes is read first: crossing it would be a signal that ends the program, not an error.
Status set_size(int fd, std::uint64_t size, const std::string& name) {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size > limit.rlim_cur) {
    return Error(EFBIG, name,
                 fmt::format("{} are more than the limit on file sizes allows ({})", describe_bytes(size),
                             describe_bytes(limit.rlim_cur)),
                 "raise it (ulimit -f)");
  }
  while (ftruncate(fd, static_cast<off_t>(size)) != 0) {
    const int code = errno;
    if (code == EINTR) continue;
    return failed(code, name, fmt::format("cannot be given a size of {}", describe_bytes(size)),
                  code == EFBIG ? "its file system allows no file of that size" : "");
  }
  return {};
}

Error cannot_open(int code, const std::string& path) {
  switch (code) {
    case ENOENT:
      return {code, path, "does not exist", "create it first, or check the path"};
    case EACCES:
    case EPERM:
      return {code, path, "no permission to open it", "run as a user who may, or open it read-only if it can be read"};
    case EROFS:
      return {code, path, "its file system is read-only", "open it read-only"};
    case EEXIST:
      return {code, path, "exists already", "choose another path, or ask for it to be replaced"};
    case EISDIR:
      return {EINVAL, path, "a directory, not a regular file or /dev/dax device",
              "give the path of a pool file or of a /dev/dax device"};
    case ENXIO:
      return {code, path, "no driver answers for this device", "is it configured? (daxctl list)"};
    default:
      return failed(code, path, "cannot be opened");
  }
}

// Never waits: a FIFO or a terminal is recognised, not opened and waited for.
Result<FileDescriptor> open_file(const std::string& path, int flags) {
  for (;;) {
    FileDescriptor file(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, S_IRUSR | S_IWUSR));
    if (file) return file;
    if (errno != EINTR) return cannot_open(errno, path);
  }
}

// Refuses by type before anything is opened, because opening a special file may have effects of its own.
Status check_type(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return cannot_open(errno, path);
  if (S_ISREG(status.st_mode) || S_ISCHR(status.st_mode)) return {};
  const char* what = S_ISDIR(status.st_mode)   ? "a directory"
                     : S_ISBLK(status.st_mode) ? "a block device"
                                               : "a special file";
  return Error(EINVAL, path, fmt::format("{}, not a regular file or /dev/dax device", what),
               "give the path of a pool file or of a /dev/dax device");
}

// A file that is removed again unless keep() says that all went well.
class Unfinished {
 public:
  Unfinished(const std::string& path, bool is_new) : path_(is_new ? path : std::string()) {}
  ~Unfinished() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

Error cannot_make_memory(int code, const MemoryOptions& options, std::uint64_t size) {
  const bool huge = options.page_size != PageSize::base_4k;
  if (huge && (code == ENODEV || code == EINVAL || code == ENOSYS)) {
    return {ENOTSUP, options.name,
            fmt::format("this machine has no huge pages of {}", describe_bytes(bytes_of(options.page_size))),
            "use another page size"};
  }
  if (huge && (code == ENOMEM || code == ENOSPC)) {
    return huge_pages_missing(options.name, size, bytes_of(options.page_size));
  }
  return failed(code, options.name, fmt::format("cannot make {} of memory", describe_bytes(size)));
}

}  // namespace

Result<std::unique_ptr<Device>> Device::create_memory(const MemoryOptions& options) {
  Geometry geometry;
  geometry.kind = Kind::memory;
  geometry.page_bytes = bytes_of(options.page_size);
  HF_ASSIGN(geometry.size, whole_pages(options.size, geometry.page_bytes, options.name));
  if (options.page_size == PageSize::base_4k && geometry.size >= kUnitBytes) {
    if (FileDescriptor file = open_huge_memory()) {
      HF_TRY(set_size(file.get(), geometry.size, options.name));
      geometry.makes_units = true;
      return DeviceBuilder::build(std::move(file), false, options.name, geometry, OpenMode::read_write);
    }
  }
  FileDescriptor file(
      memfd_create(options.name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | memfd_flags(options.page_size)));
  if (!file) return cannot_make_memory(errno, options, geometry.size);
  HF_TRY(set_size(file.get(), geometry.size, options.name));
  // The size is settled: nobody who is given this descriptor can pull memory from under the window.
  if (fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return cannot_make_memory(errno, options, geometry.size);
  }
  return DeviceBuilder::build(std::move(file), false, options.name, geometry, OpenMode::read_write);
}

Result<std::unique_ptr<Device>> Device::create_file(const std::string& path, const CreateFileOptions& options) {
  // Cutting a file comes after locking it: O_TRUNC would cut one that is in use.
  auto file = open_file(path, O_RDWR | O_CREAT | O_EXCL);
  const bool is_new = file.has_value();
  if (!is_new) {
    if (file.error().code() != EEXIST || !options.replace) return std::move(file).error();
    HF_TRY(check_type(path));
    file = open_file(path, O_RDWR);
    if (!file) return std::move(file).error();
  }
  Unfinished unfinished(path, is_new);
  HF_ASSIGN(Geometry geometry, inspect_carrier(file->get(), path));
  if (geometry.kind == Kind::devdax) {
    return Error(EEXIST, path, "a dax device, not a file to create", "open it instead");
  }
  HF_ASSIGN(geometry.size, whole_pages(options.size, geometry.page_bytes, path));
  HF_TRY(lock_device(file->get(), path, OpenMode::read_write));
  if (!is_new) HF_TRY(set_size(file->get(), 0, path));
  HF_TRY(set_size(file->get(), geometry.size, path));
  auto device = DeviceBuilder::build(std::move(*file), true, path, geometry, OpenMode::read_write);
  if (device) unfinished.keep();
  return device;
}

Result<std::unique_ptr<Device>> Device::open(const std::string& path, OpenMode mode) {
  HF_TRY(check_type(path));
  HF_ASSIGN(FileDescriptor file, open_file(path, mode == OpenMode::read_write ? O_RDWR : O_RDONLY));
  HF_TRY(lock_device(file.get(), path, mode));
  // What the file is like is asked under the lock: its creator may just have given it its size.
  HF_ASSIGN(const Geometry geometry, inspect_carrier(file.get(), path));
  return DeviceBuilder::build(std::move(file), true, path, geometry, mode);
}

Result<std::unique_ptr<Device>> Device::simulate(FileDescriptor file, const std::string& name, const Geometry& geometry,
                                                 std::unique_ptr<Durability> durability) {
  return DeviceBuilder::build(std::move(file), false, name, geometry, OpenMode::read_write, std::move(durability));
}

}  // namespace holdfast::device
