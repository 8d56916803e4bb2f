// What the kernel says of this process's mappings.
#pragma once

#include <cstddef>
#include <string>

namespace holdfast::test {

// Whether the page of the address has a translation (/proc/self/pagemap).
bool is_present(const std::byte* address);

// The parts of the range that no userfaultfd watches and that are not the mapping behind the end of a file, as lines of
// /proc/self/smaps; empty where there are none.
std::string unwatched_parts(const std::byte* begin, std::size_t length);

}  // namespace holdfast::test
