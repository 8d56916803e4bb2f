// What an open file is made of: which kind of carrier, in which unit it maps, how large it is.
#pragma once

#include <string>

#include "base/result.h"
#include "device/device.h"

namespace holdfast::device {

// Larger devices do not fit beside a program into 47 bits of address space.
inline constexpr std::uint64_t kMaxDeviceBytes = 64 * TiB;

// The carrier behind an open regular file or /dev/dax device. `fd` must not be a memfd: what is anonymous is known by
// who made it. Size 0 is reported, not refused: a new file has it. EINVAL: neither of the two. Errors of sysfs: see
// devdax_sysfs.h.
Result<Geometry> inspect_carrier(int fd, const std::string& path, const std::string& sysfs_root = "/sys");

// EINVAL: size 0 or not whole pages; EFBIG: more than kMaxDeviceBytes. The remedy says which size would do.
Status check_size(const Geometry& geometry, const std::string& path);

// "4 huge pages of 2 MiB are needed, 1 is free" and the file to raise it in.
Error huge_pages_missing(const std::string& object, std::uint64_t bytes, std::uint64_t page_bytes);

}  // namespace holdfast::device
