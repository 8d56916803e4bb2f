// How a touch of memory ends: well, by a signal, or by an error of a system call.
#pragma once

#include <cstddef>

namespace holdfast::test {

// Whether a load or store of the byte raises the signal on this thread.
bool dies_of_bus_error(const std::byte* address);
bool store_dies_of_bus_error(std::byte* address);
const void* bus_error_address();  // of the last of them
bool dies_of_segmentation(const std::byte* address);
// One byte from the address to a pipe by write(2), or from a pipe to it by read(2): 0 or the errno value.
int system_call_reads(const std::byte* address);
int system_call_stores(std::byte* address);

}  // namespace holdfast::test
