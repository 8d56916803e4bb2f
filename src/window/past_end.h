// What stands where a file has ended, or where there is no memory to show: a mapping of an empty memfd that cannot
// grow.
//
// A touch is SIGBUS with its exact address, a system call answers EFAULT, and nothing of ours can put a translation
// there by mistake. One mapping of any length, on every kernel.
#pragma once

#include <cstddef>

namespace holdfast::window {

// Replaces what is mapped in the range, in one step. An errno value or 0; on failure nothing has changed.
int show_past_end(std::byte* begin, std::size_t length);

}  // namespace holdfast::window
