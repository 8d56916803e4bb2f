// Pins of a raw device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <holdfast/pin.h>

#include "devdax/core.h"

namespace holdfast::devdax {

// See holdfast::RawDevice. No lock is held.
Result<Pin> pin(Core& core, std::uint64_t offset, std::uint64_t length, const PinOptions& options);
Result<Pin> try_pin(Core& core, std::uint64_t offset, std::uint64_t length, const PinOptions& options);

std::vector<PinInfo> pin_report(const Core& core, std::size_t limit);

}  // namespace holdfast::devdax
