#include "device/device_window.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/fault_point.h"
#include "device/address_space.h"
#include "device/carrier.h"
#include "device/describe.h"

namespace holdfast::device {
namespace {

Error cannot_map(int code, const std::string& name, const Geometry& geometry) {
  if (code == ENOMEM && geometry.page_bytes > kPageBytes && geometry.kind != Kind::devdax) {
    return huge_pages_missing(name, geometry.size, geometry.page_bytes);
  }
  return failed(code, name, fmt::format("cannot map {}", describe_bytes(geometry.size)),
                code == ENOMEM ? "raise the limit of address space (ulimit -v) or use a smaller device" : "");
}

}  // namespace

Result<std::unique_ptr<DeviceWindow>> DeviceWindow::map(int fd, const std::string& name, const Geometry& geometry,
                                                        OpenMode mode) {
  if (HF_FAULT_POINT("device.map")) return cannot_map(ENOMEM, name, geometry);
  const std::size_t alignment = geometry.size >= GiB ? GiB : 2 * MiB;
  std::byte* begin = reserve_addresses(geometry.size, alignment);
  if (begin == nullptr) return cannot_map(errno, name, geometry);

  // A writer of huge pages has the whole device promised to it (no MAP_NORESERVE), so that running out is an error here
  // and not a bus error later.
  const bool writer = mode == OpenMode::read_write;
  const int protection = writer ? PROT_READ | PROT_WRITE : PROT_READ;
  const int flags = MAP_SHARED | MAP_FIXED | (writer ? 0 : MAP_NORESERVE);
  const bool mapped = mmap(begin, geometry.size, protection, flags, fd, 0) != MAP_FAILED;
  const int code = mapped ? keep_private(begin, geometry.size) : errno;
  if (code != 0) {
    unmap(begin, geometry.size);
    return cannot_map(code, name, geometry);
  }
  return std::unique_ptr<DeviceWindow>(new DeviceWindow(begin, geometry.size));
}

DeviceWindow::DeviceWindow(std::byte* begin, std::size_t length)
    : begin_(begin), length_(length), bus_errors_(begin, length) {}

DeviceWindow::~DeviceWindow() {
  if (begin_ != nullptr) unmap(begin_, length_);
}

}  // namespace holdfast::device
