// Ctrl-C in the middle of a command: the command ends at the next safe place, closes the pool, and then the process
// ends by the signal. A second signal of the same kind ends it at once.
#pragma once

#include <holdfast/error.h>

namespace holdfast::cli {

// Installs the handlers (SIGINT, SIGTERM, SIGHUP) and ignores SIGPIPE, so that a closed pipe is an error to report
// and never a pool left open. For main.
void catch_interrupts();

// Whether a signal came. Loops that may last ask this between pieces.
bool interrupted();

// EINTR when a signal came.
Status check_interrupt();

// Ends the process by the signal that came, if one did.
void end_if_interrupted();

// For tests: as if `signal` had come; 0 forgets it.
void set_interrupt(int signal);

}  // namespace holdfast::cli
