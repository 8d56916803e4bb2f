// The one way to copy bytes from, to and within device memory.
//
// A load or store that the carrier cannot serve (poisoned memory, a pool file cut short by another program) raises
// SIGBUS. Inside these functions it becomes EIO; anywhere else the signal goes to the handler that was there before.
// The caller's own memory may fault as it likes: a bad pointer of the caller is the caller's signal.
//
// Call them qualified (device::copy): arguments of type std::byte* would also find std::copy.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"

namespace holdfast::device {

enum class CopyOutcome : std::uint8_t { done, bus_error };

// memcpy with the above; `from` and `to` do not overlap.
[[nodiscard]] CopyOutcome copy(void* to, const void* from, std::size_t length) noexcept;
// Stores zeros.
[[nodiscard]] CopyOutcome zero(void* to, std::size_t length) noexcept;

}  // namespace holdfast::device
