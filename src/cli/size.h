// Sizes as people type and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::cli {

// "4096", "4K", "4KiB", "2M", "1G", "3T" (either case; powers of 1024) in bytes. Nothing: garbage, a sign, or more than
// a file offset can be (2^63 - 1).
std::optional<std::uint64_t> parse_size(std::string_view text);

// The same; UsageError naming `what` when it is none.
std::uint64_t size_or_usage(const std::string& text, const std::string& what);

// "0", "512", "4.0K", "1.5G": at most four digits, rounded up as df and ls -h do.
std::string human_size(std::uint64_t bytes);

}  // namespace holdfast::cli
