// What the kernel says of mappings of this process: /proc/self/smaps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast::test {

// Bytes of the range that page-table entries of 2 MiB or more map. Mappings count that lie in the range whole.
std::uint64_t mapped_large(std::span<const std::byte> range);

}  // namespace holdfast::test
