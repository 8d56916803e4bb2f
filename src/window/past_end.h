// What stands where a file has ended, or where there is no memory to show: a mapping of an empty memfd that cannot
// grow.
//
// A touch is SIGBUS with its exact address, a system call answers EFAULT, and nothing of ours can put a translation
// there by mistake. Neighbours are one mapping, on every kernel.
#pragma once

#include <cstddef>

namespace holdfast::window {

// Makes the memfd, of which a process needs one. An errno value (EMFILE, ENFILE, ENOMEM) or 0. From any thread.
int prepare_past_end();

// Replaces what is mapped in the range, in one step. After prepare_past_end(). An errno value or 0; on failure the
// range shows what it did, or already this, with a part of it in core dumps and forked children (ENOMEM after the
// mapping).
int show_past_end(std::byte* begin, std::size_t length);

}  // namespace holdfast::window
