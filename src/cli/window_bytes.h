// The bytes of a device window, moved by the kernel: bad memory gives an error, not a signal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <holdfast/device.h>

#include "cli/tree.h"

namespace holdfast::cli {

// The pool's bytes for reading: through the file where the carrier is one, else through the window.
Result<std::unique_ptr<SourceFile>> open_pool_bytes(const Device& device, const std::string& pool);

bool is_zero(std::span<const std::byte> bytes);

// Makes a range zeros. What is zeros already, as `bytes` (open_pool_bytes) shows, is not written, so that no memory is
// taken for it.
Status zero_window(const Device& device, const SourceFile& bytes, std::uint64_t offset, std::uint64_t length);

// Makes what was written durable, as far as the carrier can.
Status sync_window(const Device& device);

// What EFAULT on the window means: no memory, or memory that is bad.
Error window_fault(const Device& device, std::uint64_t offset);

}  // namespace holdfast::cli
