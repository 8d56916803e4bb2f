#include "window/service_thread.h"

#include <pthread.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigset_t is POSIX

#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/masked.h"

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

namespace {

bool close_ranges(unsigned kept) {
  if (masked("close_range")) return false;
  return (kept == 0 || close_range(0, kept - 1, 0) == 0) && close_range(kept + 1, ~0U, 0) == 0;
}

// Before Linux 5.9, and where a sandbox knows no close_range.
void close_one_by_one(int kept) {
  DIR* const listed = opendir("/proc/thread-self/fd");
  if (listed == nullptr) return;
  std::vector<int> others;
  while (const dirent* const entry = readdir(listed)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != kept && fd != dirfd(listed)) others.push_back(fd);
  }
  closedir(listed);
  for (const int fd : others) close(fd);
}

}  // namespace

void keep_descriptor(int fd) {
  if (unshare(CLONE_FILES) != 0) return;
  if (!close_ranges(static_cast<unsigned>(fd))) close_one_by_one(fd);
}

}  // namespace holdfast::window
