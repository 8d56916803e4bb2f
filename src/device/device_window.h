// The device window: the whole device mapped once, shared, for as long as the device is open.
//
// Its address is congruent to the device's offsets modulo 2 MiB (1 GiB for devices of 1 GiB up), so that the kernel can
// translate it in huge units. Mapping touches no page: its cost does not depend on the size.
// A forked child does not have it, core dumps leave it out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "device/bus_error.h"
#include "device/device.h"

namespace holdfast::device {

class DeviceWindow {
 public:
  // ENOMEM: no room in the address space, or the huge pages for it cannot be promised.
  static Result<std::unique_ptr<DeviceWindow>> map(int fd, const std::string& name, const Geometry& geometry,
                                                   OpenMode mode);
  ~DeviceWindow();
  DeviceWindow(const DeviceWindow&) = delete;
  DeviceWindow& operator=(const DeviceWindow&) = delete;

  std::byte* begin() const { return begin_; }

  // In a forked child there is no window, and its addresses may be somebody else's: unmap nothing.
  void forget() { begin_ = nullptr; }

 private:
  DeviceWindow(std::byte* begin, std::size_t length);

  std::byte* begin_;
  std::size_t length_;
  BusErrorRange bus_errors_;
};

}  // namespace holdfast::device
