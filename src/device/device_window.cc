#include "device/device_window.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"
#include "base/fault_point.h"
#include "device/carrier.h"
#include "device/describe.h"

namespace holdfast::device {
namespace {

std::byte* address(std::uintptr_t value) { return reinterpret_cast<std::byte*>(value); }

void unmap(std::byte* begin, std::size_t length) {
  if (length == 0) return;
  HF_CHECK(munmap(begin, length) == 0, "munmap of {} bytes: errno {}", length, errno);
}

// `length` bytes of address space that begin at a multiple of `alignment`, inaccessible. nullptr when there is no room.
std::byte* reserve_addresses(std::size_t length, std::size_t alignment) {
  const std::size_t with_slack = length + alignment;
  void* all = mmap(nullptr, with_slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  const auto first = reinterpret_cast<std::uintptr_t>(all);
  const std::uintptr_t aligned = round_up(first, alignment);
  unmap(address(first), aligned - first);
  unmap(address(aligned + length), first + with_slack - (aligned + length));
  return address(aligned);
}

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
  int code = 0;
  if (mmap(begin, geometry.size, protection, flags, fd, 0) == MAP_FAILED ||
      madvise(begin, geometry.size, MADV_DONTFORK) != 0 || madvise(begin, geometry.size, MADV_DONTDUMP) != 0) {
    code = errno;
  }
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
