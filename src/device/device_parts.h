// What a Device is made of behind its header.
#pragma once

#include <cstdint>
#include <memory>

#include "base/fork.h"
#include "device/backing.h"
#include "device/device.h"
#include "device/device_window.h"
#include "device/durability.h"
#include "device/file_descriptor.h"

namespace holdfast::device {

// Members are ended in reverse order: nothing outlives the window, and the window not the descriptor.
struct Device::Parts {
  FileDescriptor file;
  bool locked = false;
  std::uint32_t generation = fork_generation();  // a forked child is of another one
  std::unique_ptr<DeviceWindow> window;
  std::unique_ptr<Backing> backing;        // none: read-only, or a carrier that is always there (/dev/dax)
  std::unique_ptr<Durability> durability;  // disk files that are written, and simulated devices

  bool is_inherited() const { return generation != fork_generation(); }
};

}  // namespace holdfast::device
