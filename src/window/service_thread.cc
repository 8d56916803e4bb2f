#include "window/service_thread.h"

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigset_t is POSIX

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace holdfast::window {

bool start_service_thread(const char* name, std::function<void()> body) {
  // A handler of the program may touch a window. Bus errors of device memory are ours.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = true;
  try {
    std::thread([name, body = std::move(body)] {
      pthread_setname_np(pthread_self(), name);
      // Its heap is there before it is needed: at the limit of mappings there is none to be had.
      delete new std::string(4096, ' ');
      body();
    }).detach();
  } catch (const std::system_error&) {
    started = false;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void keep_descriptor(int fd) {
  constexpr unsigned kFirst = 3;
  const auto kept = static_cast<unsigned>(fd);
  // A table of its own first. Where that is refused (a sandbox) the table stays shared.
  if (unshare(CLONE_FILES) != 0) return;
  if (kept > kFirst) close_range(kFirst, kept - 1, 0);
  close_range(std::max(kept, kFirst - 1) + 1, ~0U, 0);
}

}  // namespace holdfast::window
