// What the kernel says of mappings of this process: /proc/self/smaps and pagemap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace holdfast::test {

// Bytes of the range that page-table entries of 2 MiB or more map. Mappings count that lie in the range whole.
std::uint64_t mapped_large(std::span<const std::byte> range);
// The parts of the range that no userfaultfd watches and that are not the mapping behind the end of a file, as lines of
// smaps; empty where there are none.
std::string unwatched_parts(std::span<const std::byte> range);
// Whether the page of the address has a translation.
bool is_present(const std::byte* address);

}  // namespace holdfast::test
