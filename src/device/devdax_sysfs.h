// What sysfs says of a /dev/dax character device.
//
// Every function takes the root of the tree ("/sys"), so that tests show it a tree of their own.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace holdfast::device {

struct DevdaxInfo {
  std::string name;             // "dax0.0"
  std::uint64_t size = 0;       // bytes
  std::uint64_t alignment = 0;  // unit of mapping: 4 KiB, 2 MiB or 1 GiB
  bool persistent = false;      // behind an NVDIMM bus; other dax devices are ordinary memory
};

// Of the character device with these numbers.
// ENODEV: not a dax device, or the kernel uses it as ordinary memory. EIO: sysfs says something that cannot be.
Result<DevdaxInfo> read_devdax(const std::string& sysfs_root, const std::string& path, unsigned major, unsigned minor);

}  // namespace holdfast::device
