#include "window/past_end.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"
#include "device/address_space.h"
#include "device/sanitizer.h"

namespace holdfast::window {
namespace {

int empty_memory() {
  static const int fd = [] {
    const int made = memfd_create("holdfast-past-end", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    HF_CHECK(made >= 0 && fcntl(made, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK) == 0,
             "an empty memfd cannot be made: errno {}", errno);
    return made;
  }();
  return fd;
}

}  // namespace

int show_past_end(std::byte* begin, std::size_t length) {
  constexpr int kFlags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  if (device::sanitizer::map_over(begin, length, kProtection, kFlags, empty_memory(), 0) == MAP_FAILED) return errno;
  return device::keep_private(begin, length);
}

}  // namespace holdfast::window
