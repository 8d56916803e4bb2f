// Who serves the touches of all windows of the process.
//
// A *reader* takes touches from the kernel and serves those that need nobody else. It waits for nothing but touches: a
// mover of mappings sleeps until the reader has read of its move, and may hold any lock meanwhile; so the reader takes
// only locks under which nobody moves, and tries the others. What it cannot serve goes to the *helper*. The reader
// allocates where a file's tree of entries grows, and a request for each touch that it leaves to the helper: a program
// whose own malloc lives in a window populates that window.
//
// Windows that are served *in thread* have no reader of touches. The touching thread gets a bus error, and does in its
// handler what the reader would have done; the rest it leaves to the helper, and sleeps. So no more of its stack is
// used (it may be a small signal stack), and no lock is waited for but these:
//   - the lock of the file's windows. The toucher does not hold it: the library touches no window under a lock;
//   - leaf locks, under which nobody sleeps or touches anything.
// A handler of the program's that interrupts the library on a thread is that thread: it touches no window of either
// kind (holdfast/window.h).
// It allocates where the reader would, and when a thread faults for the first time. The moves of these windows are read
// by a second thread, which does nothing else.
//
// All of it is started by the first window that needs it, and never ends. A forked child has none of it.
#pragma once

#include <holdfast/types.h>

#include "window/userfaultfd.h"

namespace holdfast::window {

// The userfaultfd of the process for windows served so, with its threads running. What cannot be served in thread is
// served by threads; nullptr where there is no userfaultfd. EMFILE, ENFILE, ENOMEM: not now.
Result<const Userfaultfd*> fault_service(ServeFaults serve);

}  // namespace holdfast::window
