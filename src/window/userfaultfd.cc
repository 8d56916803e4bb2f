#include "window/userfaultfd.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "base/masked.h"
#include "base/units.h"

namespace holdfast::window {
namespace {

// Newer than the headers of Debian 12.
constexpr std::uint64_t kFeatureWpUnpopulated = std::uint64_t{1} << 13;

constexpr std::uint64_t kFeaturesNeeded = UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_MISSING_SHMEM |
                                          UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS |
                                          UFFD_FEATURE_MINOR_HUGETLBFS | UFFD_FEATURE_PAGEFAULT_FLAG_WP;

std::uint64_t number(const std::byte* address) { return reinterpret_cast<std::uintptr_t>(address); }
std::byte* address(std::uint64_t value) { return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(value)); }

int open_descriptor(FaultSource source) {
  const int mode = source == FaultSource::full ? 0 : UFFD_USER_MODE_ONLY;
  const auto fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | mode));
  if (fd >= 0 || source == FaultSource::user_mode) return fd;
  // Whoever may open the device gets all of it (Linux 6.1).
  const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) return -1;
  const int from_device = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  ::close(device);
  return from_device;
}

// What the last call answered. The kernel goes on to tell of touches (the readers have descriptors of their own), but
// nobody could serve them.
int code_of_failure(int fd) {
  HF_CHECK(errno != EBADF && errno != ENOTTY,
           "the program closed descriptor {}, which holdfast serves windows with: close only what you opened", fd);
  return errno;
}

bool agree(int fd, std::uint64_t features) {
  uffdio_api api{.api = UFFD_API, .features = features, .ioctls = 0};
  return ioctl(fd, UFFDIO_API, &api) == 0;
}

}  // namespace

Result<std::unique_ptr<Userfaultfd>> Userfaultfd::open(ServeFaults serve) {
  std::unique_ptr<Userfaultfd> none;
  if (masked("uffd")) return none;
  for (const FaultSource source : {FaultSource::in_thread, FaultSource::full, FaultSource::user_mode}) {
    if ((source == FaultSource::in_thread) != (serve == ServeFaults::in_thread)) continue;
    if (source == FaultSource::full && masked("uffd-full")) continue;
    const std::uint64_t features = kFeaturesNeeded | (source == FaultSource::in_thread ? UFFD_FEATURE_SIGBUS : 0);
    for (const bool arms_untouched : {true, false}) {
      if (arms_untouched && masked("uffd-unpopulated")) continue;
      // A descriptor agrees on its features once.
      const int fd = open_descriptor(source);
      if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
        return Error(errno, "userfaultfd", "cannot be opened now");
      }
      if (fd < 0) break;
      if (agree(fd, features | (arms_untouched ? kFeatureWpUnpopulated : 0))) {
        return std::unique_ptr<Userfaultfd>(new Userfaultfd(fd, source, arms_untouched));
      }
      ::close(fd);
    }
  }
  return none;
}

Userfaultfd::~Userfaultfd() { ::close(fd_); }

int Userfaultfd::watch(std::byte* begin, std::size_t length, std::uint64_t modes) const {
  uffdio_register request{.range = {.start = number(begin), .len = length}, .mode = modes, .ioctls = 0};
  return ioctl(fd_, UFFDIO_REGISTER, &request) == 0 ? 0 : code_of_failure(fd_);
}

int Userfaultfd::watch_shared(std::byte* begin, std::size_t length) const {
  return watch(begin, length, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR);
}

int Userfaultfd::watch_absent(std::byte* begin, std::size_t length) const {
  return watch(begin, length, UFFDIO_REGISTER_MODE_MISSING);
}

int Userfaultfd::protect(std::byte* begin, std::size_t length) const {
  uffdio_writeprotect request{.range = {.start = number(begin), .len = length}, .mode = UFFDIO_WRITEPROTECT_MODE_WP};
  while (ioctl(fd_, UFFDIO_WRITEPROTECT, &request) != 0) {
    if (errno != EAGAIN) return code_of_failure(fd_);  // EAGAIN: somebody else's move
  }
  return 0;
}

int Userfaultfd::arm_zeros(std::byte* begin, std::size_t length) const {
  if (arms_untouched_) {
    const int code = watch(begin, length, UFFDIO_REGISTER_MODE_WP);
    return code != 0 ? code : protect(begin, length);
  }
  // An older kernel protects only what is there: a page of zeros each.
  static constexpr std::array<std::byte, kPageBytes> kZeros{};
  if (const int code = watch(begin, length, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP); code != 0) {
    return code;
  }
  for (std::size_t at = 0; at < length; at += kPageBytes) {
    uffdio_copy request{.dst = number(begin + at),
                        .src = number(kZeros.data()),
                        .len = kPageBytes,
                        .mode = UFFDIO_COPY_MODE_WP,
                        .copy = 0};
    while (ioctl(fd_, UFFDIO_COPY, &request) != 0) {
      if (errno == EAGAIN) continue;
      if (errno != EEXIST) return code_of_failure(fd_);
      // Brought when it was mapped (mlockall): zeros, too.
      if (const int code = protect(begin + at, kPageBytes); code != 0) return code;
      break;
    }
  }
  return 0;
}

int Userfaultfd::resume(std::byte* begin, std::size_t length, std::size_t page_bytes) const {
  for (std::size_t done = 0; done < length;) {
    uffdio_continue request{.range = {.start = number(begin + done), .len = length - done}, .mode = 0, .mapped = 0};
    if (ioctl(fd_, UFFDIO_CONTINUE, &request) == 0) break;
    const int code = code_of_failure(fd_);
    if (request.mapped > 0) {
      done += static_cast<std::size_t>(request.mapped);
      continue;
    }
    if (code != EEXIST) return code;
    // Another fault was served first. Who waits for this very page has to be woken all the same.
    wake(begin + done, page_bytes);
    done += page_bytes;
  }
  return 0;
}

void Userfaultfd::wake(std::byte* begin, std::size_t length) const {
  uffdio_range range{.start = number(begin), .len = length};
  if (ioctl(fd_, UFFDIO_WAKE, &range) == 0) return;
  const int code = code_of_failure(fd_);
  HF_CHECK(false, "UFFDIO_WAKE of {} bytes at {}: errno {}", length, static_cast<void*>(begin), code);
}

std::size_t Userfaultfd::read(std::span<Touch> touches) const {
  constexpr std::size_t kAtOnce = 16;
  std::array<uffd_msg, kAtOnce> messages{};
  for (;;) {
    pollfd source{fd_, POLLIN, 0};
    if (poll(&source, 1, -1) < 0) continue;  // EINTR
    const ssize_t bytes = ::read(fd_, messages.data(), std::min(touches.size(), kAtOnce) * sizeof(uffd_msg));
    if (bytes <= 0) continue;
    std::size_t found = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(bytes) / sizeof(uffd_msg); ++i) {
      const uffd_msg& message = messages.at(i);
      if (message.event != UFFD_EVENT_PAGEFAULT) continue;  // a move: having been read is all it wants
      const std::uint64_t flags = message.arg.pagefault.flags;
      touches[found++] = {address(round_down(message.arg.pagefault.address, kPageBytes)),
                          (flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0, (flags & UFFD_PAGEFAULT_FLAG_WP) != 0};
    }
    if (found > 0) return found;
  }
}

}  // namespace holdfast::window
