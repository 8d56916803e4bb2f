// Ctrl-C in the middle of a command: the command ends at the next safe place, closes the pool, and then the process
// ends by the signal. A second signal of the same kind ends it at once.
#pragma once

#include <holdfast/error.h>

namespace holdfast::cli {

// Installs the handlers (SIGINT, SIGTERM, SIGHUP, and SIGPIPE, so that a closed pipe never leaves a pool open). For
// main.
void catch_interrupts();

// Whether a signal came. Loops that may last ask this between pieces.
bool interrupted();

// Whether nobody listens any more: there is nobody to complain to.
bool nobody_listens();

// EINTR when a signal came.
Status check_interrupt();

// Ends the process by the signal that came, if one did.
void end_if_interrupted();

// For tests: as if `signal` had come; 0 forgets it.
void set_interrupt(int signal);

}  // namespace holdfast::cli
