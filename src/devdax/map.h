// Windows of a raw device.
#pragma once

#include <cstdint>
#include <memory>

#include <holdfast/types.h>

#include "devdax/core.h"
#include "window/view.h"

namespace holdfast::devdax {

struct MapRequest {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  Access access = Access::write;
  bool populate = false;
  ServeFaults faults = ServeFaults::thread;  // a wish
  bool synchronous = false;                  // or EOPNOTSUPP
};
// See holdfast::RawDevice::map. Nothing is left behind on an error.
Result<std::shared_ptr<window::View>> map(const std::shared_ptr<Core>& core, const MapRequest& request);

}  // namespace holdfast::devdax
