#include "device/carrier.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>
#include <optional>
#include <sstream>

#include "base/units.h"
#include "device/describe.h"
#include "device/devdax_sysfs.h"
#include "device/small_file.h"

namespace holdfast::device {
namespace {

// Whether the tmpfs that holds the file was mounted with huge= (it allocates in units then). proc(5), mountinfo: the
// third word is the device, the options follow.
bool is_mounted_huge(int fd) {
  struct stat status {};
  const std::optional<std::string> mounts = read_text("/proc/self/mountinfo");
  if (fstat(fd, &status) != 0 || !mounts) return false;
  const std::string device = fmt::format(" {}:{} ", gnu_dev_major(status.st_dev), gnu_dev_minor(status.st_dev));
  std::istringstream lines(*mounts);
  for (std::string line; std::getline(lines, line);) {
    if (line.find(device) == std::string::npos) continue;
    return line.find("huge=always") != std::string::npos || line.find("huge=within_size") != std::string::npos;
  }
  return false;
}

Result<Geometry> inspect_file(int fd, const std::string& path, std::uint64_t size) {
  struct statfs file_system {};
  if (fstatfs(fd, &file_system) != 0) return failed(errno, path, "the file system cannot be asked what it is");
  Geometry geometry;
  geometry.size = size;
  geometry.page_bytes = kPageBytes;
  switch (static_cast<std::uint32_t>(file_system.f_type)) {
    case HUGETLBFS_MAGIC:
      geometry.kind = Kind::hugetlb_file;
      geometry.page_bytes = static_cast<std::uint64_t>(file_system.f_bsize);
      break;
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
      geometry.kind = Kind::tmpfs_file;
      geometry.makes_units = is_mounted_huge(fd);
      break;
    default:
      geometry.kind = Kind::disk_file;
      geometry.survives_reboot = true;
      break;
  }
  return geometry;
}

Result<Geometry> inspect_devdax(const std::string& path, dev_t numbers, const std::string& sysfs_root) {
  HF_ASSIGN(const DevdaxInfo info, read_devdax(sysfs_root, path, gnu_dev_major(numbers), gnu_dev_minor(numbers)));
  return Geometry{info.size, info.alignment, Kind::devdax, info.persistent};
}

}  // namespace

Result<Geometry> inspect_carrier(int fd, const std::string& path, const std::string& sysfs_root) {
  struct stat status {};
  if (fstat(fd, &status) != 0) return failed(errno, path, "cannot be examined");
  if (S_ISREG(status.st_mode)) return inspect_file(fd, path, static_cast<std::uint64_t>(status.st_size));
  if (S_ISCHR(status.st_mode)) return inspect_devdax(path, status.st_rdev, sysfs_root);
  const char* what = S_ISDIR(status.st_mode)   ? "a directory"
                     : S_ISBLK(status.st_mode) ? "a block device"
                                               : "a special file";
  return Error(EINVAL, path, fmt::format("{}, not a regular file or /dev/dax device", what),
               "give the path of a pool file or of a /dev/dax device");
}

Status check_size(const Geometry& geometry, const std::string& path) {
  const std::uint64_t unit = geometry.page_bytes;
  if (geometry.size == 0) {
    return Error(EINVAL, path, "its size is 0",
                 fmt::format("give it a size that is a multiple of {}", describe_bytes(unit)));
  }
  if (geometry.size % unit != 0) {
    return Error(
        EINVAL, path, fmt::format("its size of {} bytes is not a multiple of {}", geometry.size, describe_bytes(unit)),
        fmt::format("if it was cut or grown by mistake: truncate -s {} '{}'", round_up(geometry.size, unit), path));
  }
  if (geometry.size > kMaxDeviceBytes) {
    return Error(EFBIG, path, fmt::format("its size of {} is more than can be mapped", describe_bytes(geometry.size)),
                 fmt::format("the largest device is {}", describe_bytes(kMaxDeviceBytes)));
  }
  return {};
}

Error huge_pages_missing(const std::string& object, std::uint64_t bytes, std::uint64_t page_bytes) {
  const std::string directory = fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB", page_bytes / KiB);
  const std::uint64_t needed = round_up(bytes, page_bytes) / page_bytes;
  const std::uint64_t free = read_number(directory + "/free_hugepages").value_or(0);
  const std::uint64_t promised = read_number(directory + "/resv_hugepages").value_or(0);
  const std::uint64_t available = free > promised ? free - promised : 0;
  const std::uint64_t total = read_number(directory + "/nr_hugepages").value_or(0);
  // The well-known file speaks of the default huge page size only.
  const std::string knob = page_bytes == 2 * MiB ? "/proc/sys/vm/nr_hugepages" : directory + "/nr_hugepages";
  return {
      ENOMEM, object,
      fmt::format("{} huge pages of {} are needed, {} are available", needed, describe_bytes(page_bytes), available),
      fmt::format("echo {} > {}", total + (needed > available ? needed - available : 0), knob)};
}

}  // namespace holdfast::device
