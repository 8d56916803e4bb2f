// RawDevice: a device without a file system, as one big file in units of one size.
//
// What files have it has too: windows, and pins that drain before the memory goes. There is nothing to allocate and
// nothing to truncate: the bytes of the device are the bytes of the file, from open to remove().
//
// Every function may be called from any thread at once. Errors common to all: ENODEV (removed), ECHILD (in a forked
// child of the process that opened it).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <holdfast/device.h>
#include <holdfast/error.h>
#include <holdfast/pin.h>
#include <holdfast/types.h>
#include <holdfast/window.h>

namespace holdfast {

namespace devdax {
class Core;
}

struct RawDeviceOptions {
  PageSize unit = PageSize::base_4k;  // what is counted, pinned and mapped as one
};

struct RemoveOptions {
  std::chrono::nanoseconds deadline = kForever;  // how long to wait for pins to go
};

// Move-only.
class RawDevice {
 public:
  // Takes the device. EINVAL: its size is no multiple of the unit, or its carrier's page is larger. ENOMEM.
  static Result<RawDevice> open(Device device, const RawDeviceOptions& options = {});

  RawDevice(RawDevice&&) noexcept;
  RawDevice& operator=(RawDevice&&) noexcept;
  // Never blocks for a pin. The device lives on until the last window and pin are gone.
  ~RawDevice();

  // A window of [offset, offset + length), both multiples of the unit (EINVAL). It is shared: there are no private
  // copies. A touch makes the unit around it an entry, counted once, and translates what the carrier can of it.
  // EROFS, ENXIO (past the end), ENOMEM, EMFILE, ENFILE; with populate EIO. See Window, and remove() for its end.
  Result<Window> map(std::uint64_t offset, std::uint64_t length, const MapOptions& options = {});

  // Any bytes of the device; the units that hold them are counted. The pin may be held as long as its holder likes.
  // As File::pin, but nothing here breaks a range: EROFS, ENXIO (empty, or past the end), EAGAIN (a unit has 4,194,303
  // pins), ENOMEM, EINTR. On a sparse carrier a pin brings no memory: the first touch of its addresses does.
  Result<Pin> pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options = {});
  // The same at once or not at all: EAGAIN where a unit is no entry yet.
  Result<Pin> try_pin(std::uint64_t offset, std::uint64_t length, const PinOptions& options = {});
  // A pin by address, which lies in a window of this device: see Filesystem::pin_address.
  Result<Pin> pin_address(const void* address, std::uint64_t length, const PinOptions& options = {});
  // Every pin of this device that this process holds, at most `limit`; the path is the device's name.
  std::vector<PinInfo> pins(std::size_t limit = 100000) const;

  // Ends the device, whoever has windows or pins of it:
  //   1. nothing new begins: map and pin answer ENODEV, and faults on their way are waited for (bounded);
  //   2. every window shows nothing from here on: a touch is SIGBUS, and EFAULT to system calls;
  //   3. pins drain;
  //   4. the memory is unmapped and the lock given up: the same path may be opened again at once, by anybody.
  // Blocks for pins, until the deadline. ETIMEDOUT (names holders), EDEADLK (those left are this thread's own, and not
  // released_elsewhere), EINTR: steps 1 and 2 stand, and what is pinned stays mapped until its last unpin. May be
  // called again, and by several threads. Windows stay valid objects, and end as ever.
  Status remove(const RemoveOptions& options = {});

  std::uint64_t size() const;  // bytes
  std::uint64_t unit() const;  // bytes
  const std::string& name() const;
  std::byte* window() const;  // the device window, as Device::window; nullptr once it was removed

  // For the layers behind this interface.
  explicit RawDevice(std::shared_ptr<devdax::Core> core);
  devdax::Core& core() const { return *core_; }

 private:
  std::shared_ptr<devdax::Core> core_;
};

}  // namespace holdfast
