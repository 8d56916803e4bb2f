// Threads of the library's own: they never end, and no handler of the program's signals runs on them.
#pragma once

#include <functional>

namespace holdfast::window {

// `body` does not return. False: no thread can be had.
bool start_service_thread(const char* name, std::function<void()> body);

// Gives the calling thread a table of descriptors of its own, with `fd` in it and nothing else: there `fd` stays open,
// whatever the program closes, and what the program closes ends. As long as one table holds a userfaultfd, the kernel
// tells of touches; with the last one it would fill pages by itself, and stores into them would be lost.
//
// Where a sandbox refuses it, the table stays the program's. A new table that cannot be emptied (neither close_range(2)
// nor /proc) keeps what is in it.
void keep_descriptor(int fd);

}  // namespace holdfast::window
