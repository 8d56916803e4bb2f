#include "cli/interrupt.h"

#include <cerrno>
#include <csignal>

namespace holdfast::cli {
namespace {

// Written by the handler and read between pieces of work: no other data depends on it.
volatile std::sig_atomic_t caught = 0;

extern "C" void note_signal(int signal) { caught = signal; }

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    // Who started us with the signal ignored (nohup) wants it ignored.
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  action.sa_flags = SA_RESTART;
  sigaction(SIGPIPE, &action, nullptr);
}

bool interrupted() { return caught != 0; }

bool nobody_listens() { return caught == SIGPIPE; }

Status check_interrupt() {
  if (!interrupted()) return {};
  return Error(EINTR, "interrupted", "ended before all was done", "what is whole stays");
}

void end_if_interrupted() {
  if (!interrupted()) return;
  const int signal = caught;
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(signal, &action, nullptr);
  raise(signal);
}

void set_interrupt(int signal) { caught = signal; }

}  // namespace holdfast::cli
