// Reads the small text files through which the kernel tells what it knows (/proc, /sys).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace holdfast::device {

// The whole file, or nothing when it cannot be read.
std::optional<std::string> read_text(const std::string& path);

// A file that holds one number, decimal or 0x-hexadecimal, with or without a newline. Nothing when it holds anything
// else.
std::optional<std::uint64_t> read_number(const std::string& path);

}  // namespace holdfast::device
