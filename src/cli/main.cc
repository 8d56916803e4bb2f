// The process around main_with: standard streams, terminals, signals.
#include <sys/ioctl.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "cli/interrupt.h"
#include "cli/program.h"

int main(int argc, char** argv) {
  namespace cli = holdfast::cli;
  std::ios::sync_with_stdio(false);
  cli::catch_interrupts();
  cli::Io io{std::cout, std::cerr};
  io.out_is_terminal = isatty(STDOUT_FILENO) == 1;
  io.err_is_terminal = isatty(STDERR_FILENO) == 1;
  if (winsize size{}; ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) io.columns = size.ws_col;
  const int code = cli::main_with({argv + (argc > 0 ? 1 : 0), argv + argc}, io);
  cli::end_if_interrupted();
  return code;
}
