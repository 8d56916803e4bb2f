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

// What the copy of this thread that failed last met.
struct BusError {
  const std::byte* address = nullptr;
  bool memory_lost = false;  // a machine check (BUS_MCEERR_AR of sigaction(2)), not a page that is not there
};
BusError last_bus_error() noexcept;

// memcpy with the above; `from` and `to` do not overlap.
[[nodiscard]] CopyOutcome copy(void* to, const void* from, std::size_t length) noexcept;
// copy between a file's pages (`page`) and other memory. What a file's bytes race with is their users' affair: who
// reads what another one writes gets a mixture, as with read(2) and write(2), and holders of pins store when they like.
// So ThreadSanitizer is told of the other memory alone.
[[nodiscard]] CopyOutcome store(void* page, const void* from, std::size_t length) noexcept;
[[nodiscard]] CopyOutcome load(void* to, const void* page, std::size_t length) noexcept;
// Stores zeros.
[[nodiscard]] CopyOutcome zero(void* to, std::size_t length) noexcept;

}  // namespace holdfast::device
