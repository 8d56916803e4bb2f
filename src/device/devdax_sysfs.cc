#include "device/devdax_sysfs.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/units.h"
#include "device/describe.h"
#include "device/small_file.h"

namespace holdfast::device {
namespace {

std::string last_component(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// The last component of what a symbolic link points to; empty when there is no such link.
std::string link_target_name(const std::string& link) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = readlink(link.c_str(), target.data(), target.size());
  if (length <= 0) return {};
  return last_component(std::string(target.data(), static_cast<std::size_t>(length)));
}

std::optional<std::string> resolve(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), std::free);
  if (resolved == nullptr) return std::nullopt;
  return std::string(resolved.get());
}

// `align` stands beside the device since kernel 5.10; before, with its region.
std::optional<std::uint64_t> read_alignment(const std::string& directory) {
  for (const char* place : {"/align", "/dax_region/align", "/device/align", "/../dax_region/align"}) {
    if (const std::optional<std::uint64_t> alignment = read_number(directory + place)) return alignment;
  }
  return std::nullopt;
}

}  // namespace

Result<DevdaxInfo> read_devdax(const std::string& sysfs_root, const std::string& path, unsigned major, unsigned minor) {
  const std::string numbers = fmt::format("{}:{}", major, minor);
  const std::optional<std::string> directory = resolve(fmt::format("{}/dev/char/{}", sysfs_root, numbers));
  if (!directory) {
    return Error(ENODEV, path, fmt::format("character device {} is not known to sysfs", numbers),
                 "is /sys mounted and of the same kernel?");
  }
  if (link_target_name(*directory + "/subsystem") != "dax") {
    return Error(ENODEV, path, "a character device, but not a dax device", "give a /dev/dax device or a regular file");
  }
  DevdaxInfo info;
  info.name = last_component(*directory);
  if (link_target_name(*directory + "/driver") == "kmem") {
    return Error(ENODEV, path, "the kernel uses it as ordinary memory (driver kmem)",
                 fmt::format("daxctl reconfigure-device --mode=devdax {}", info.name));
  }
  const std::optional<std::uint64_t> size = read_number(*directory + "/size");
  if (!size || *size == 0) {
    return Error(EIO, path, fmt::format("sysfs names no size for {}", info.name),
                 fmt::format("daxctl list -d {}: is the device configured?", info.name));
  }
  const std::optional<std::uint64_t> alignment = read_alignment(*directory);
  if (!alignment) return Error(EIO, path, fmt::format("sysfs names no alignment for {}", info.name));
  if (*alignment != kPageBytes && *alignment != 2 * MiB && *alignment != GiB) {
    return Error(
        EIO, path,
        fmt::format("alignment of {} is {}, not 4 KiB, 2 MiB or 1 GiB", info.name, describe_bytes(*alignment)));
  }
  info.alignment = *alignment;
  info.size = round_down(*size, *alignment);
  if (info.size == 0) {
    return Error(EIO, path, fmt::format("size of {} is {}, less than its alignment", info.name, describe_bytes(*size)));
  }
  info.persistent = directory->find("/ndbus") != std::string::npos;
  return info;
}

}  // namespace holdfast::device
