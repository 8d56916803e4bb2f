// What a device holds already, so that nothing is overwritten by mistake.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "device/device.h"

namespace holdfast::ext4 {

// "an ext4 file system labelled "data"", "an XFS file system", ... Nothing: none of the known signatures. EIO.
Result<std::optional<std::string>> find_contents(device::Device& device);

}  // namespace holdfast::ext4
