#include "cli/carrier.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <fstream>

#include "base/result.h"
#include "cli/path.h"
#include "cli/size.h"

namespace holdfast::cli {
namespace {

// Device numbers are in sysfs by "major:minor"; the alignment of a dax device is the unit it is mapped in.
Result<std::uint64_t> dax_alignment(const std::string& pool, dev_t number) {
  std::ifstream file(fmt::format("/sys/dev/char/{}:{}/align", major(number), minor(number)));
  std::uint64_t bytes = 0;
  if (file >> bytes) return bytes;
  return Error(ENOTSUP, pool, "the kernel does not say its alignment", "leave --page-size away");
}

}  // namespace

Result<std::uint64_t> page_bytes_of(const std::string& pool) {
  struct stat there {};
  std::string place = pool;
  if (stat(pool.c_str(), &there) == 0) {
    if (S_ISCHR(there.st_mode)) return dax_alignment(pool, there.st_rdev);
  } else {
    place = parent_of(pool);
  }
  struct statfs carrier {};
  if (statfs(place.c_str(), &carrier) != 0) return Error(errno, place, "");
  if (carrier.f_type == HUGETLBFS_MAGIC) return static_cast<std::uint64_t>(carrier.f_bsize);
  return 4 * KiB;
}

Status require_page_size(const std::string& pool, std::uint64_t bytes) {
  HF_ASSIGN(const std::uint64_t has, page_bytes_of(pool));
  if (has == bytes) return {};
  return Error(EINVAL, pool, fmt::format("its pages have {}, not {}", human_size(has), human_size(bytes)),
               bytes == 4 * KiB
                   ? "choose a folder on another file system"
                   : fmt::format("put it on hugetlbfs: mount -t hugetlbfs -o pagesize={}M none DIR", bytes / MiB));
}

bool readable_by_tools(Carrier carrier) { return carrier == Carrier::tmpfs_file || carrier == Carrier::disk_file; }

const char* carrier_text(Carrier carrier) {
  switch (carrier) {
    case Carrier::memory:
      return "memory";
    case Carrier::tmpfs_file:
      return "tmpfs file";
    case Carrier::hugetlb_file:
      return "hugetlbfs file";
    case Carrier::disk_file:
      return "disk file";
    case Carrier::devdax:
      return "dax device";
  }
  return "unknown";
}

}  // namespace holdfast::cli
