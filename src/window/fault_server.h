// The threads that serve faults, for all windows of the process.
//
// The reader takes touches from the kernel and serves those that need nobody else. It waits for nothing but touches: a
// mover of mappings sleeps until the reader has read of its move, and may hold any lock meanwhile; so the reader takes
// only locks under which nobody moves, and tries the others. What it cannot serve goes to the helper, which may wait
// for gates, locks and blocks. The reader allocates only where a file's tree of entries grows: a program whose own
// malloc lives in a window populates that window.
//
// Started by the first window; they never end. A forked child has neither.
#pragma once

#include "window/userfaultfd.h"

namespace holdfast::window {

// The userfaultfd of the process with its threads running, or nullptr where there is none (or no thread can be
// started).
const Userfaultfd* fault_service();

}  // namespace holdfast::window
