// Ranges of this process's addresses: reserving them, and keeping what is mapped there out of children and core dumps.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::device {

// `length` inaccessible bytes of address space that begin at `offset` modulo `alignment` (a power of two).
// nullptr with errno: no room.
std::byte* reserve_addresses(std::size_t length, std::size_t alignment, std::size_t offset = 0);

// Gives back addresses at which nothing of worth is seen, or never was: a reservation, say. At the limit of mappings
// they may have become part of a larger range: then they stay reserved, which harms nobody.
void release_addresses(std::byte* begin, std::size_t length);

// munmap(2). Fails only at the limit of mappings, when the range is part of a larger one: checked.
void unmap(std::byte* begin, std::size_t length);

// No child and no core dump gets the mappings of the range. An errno value or 0.
int keep_private(std::byte* begin, std::size_t length);

}  // namespace holdfast::device
