#include "support/touch.h"

#include <fcntl.h>
#include <setjmp.h>  // NOLINT(modernize-deprecated-headers): sigsetjmp is POSIX
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaction is POSIX
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include <gtest/gtest.h>

namespace holdfast::test {
namespace {

thread_local sigjmp_buf landing;
thread_local volatile std::sig_atomic_t landing_is_set = 0;

thread_local const void* landed_at = nullptr;

void land(int signal, siginfo_t* info, void* /*context*/) {
  landed_at = info->si_addr;
  if (landing_is_set != 0) siglongjmp(landing, signal);
  std::signal(signal, SIG_DFL);  // and the instruction once more
}

// The signals that a touch of the byte raises are caught by handlers that were there before the library's: it passes
// bus errors on that are not its own.
[[maybe_unused]] const bool handlers_are_set = [] {
  struct sigaction action {};
  action.sa_sigaction = land;
  action.sa_flags = SA_NODEFER | SA_SIGINFO;
  return sigaction(SIGBUS, &action, nullptr) == 0 && sigaction(SIGSEGV, &action, nullptr) == 0;
}();

// That signal, or 0.
template <typename Touch>
int signal_of(Touch touch) {
  const int caught = sigsetjmp(landing, 1);
  if (caught == 0) {
    landing_is_set = 1;
    touch();
  }
  landing_is_set = 0;
  return caught;
}

int signal_of_load(const std::byte* address) {
  return signal_of([address] { static_cast<void>(*const_cast<const volatile std::byte*>(address)); });
}

}  // namespace

bool dies_of_bus_error(const std::byte* address) { return signal_of_load(address) == SIGBUS; }
bool store_dies_of_bus_error(std::byte* address) {
  return signal_of([address] { *const_cast<volatile std::byte*>(address) = std::byte{1}; }) == SIGBUS;
}
const void* bus_error_address() { return landed_at; }
bool dies_of_segmentation(const std::byte* address) { return signal_of_load(address) == SIGSEGV; }

int system_call_reads(const std::byte* address) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const int code = ::write(ends[1], address, 1) == 1 ? 0 : errno;
  ::close(ends[0]);
  ::close(ends[1]);
  return code;
}

int system_call_stores(std::byte* address) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  EXPECT_EQ(::write(ends[1], "c", 1), 1);
  const int code = ::read(ends[0], address, 1) == 1 ? 0 : errno;
  ::close(ends[0]);
  ::close(ends[1]);
  return code;
}

}  // namespace holdfast::test
