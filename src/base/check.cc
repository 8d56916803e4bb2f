#include "base/check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace holdfast {
namespace {

// Threads that serve windows have a table of descriptors of their own, without the standard streams: /proc/self names
// those of the main thread.
void say(const std::string& words) {
  if (write(STDERR_FILENO, words.data(), words.size()) >= 0) return;
  const int of_main_thread = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_CLOEXEC);
  if (of_main_thread < 0 || write(of_main_thread, words.data(), words.size()) < 0) return;
}

}  // namespace

void check_failed(const char* file, int line, const char* condition, const std::string& text) {
  say(fmt::format("holdfast: {}:{}: check failed: {}: {}\n", file, line, condition, text));
  std::abort();
}

}  // namespace holdfast
