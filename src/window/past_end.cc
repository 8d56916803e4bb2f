#include "window/past_end.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"
#include "device/address_space.h"
#include "device/descriptor_identity.h"
#include "device/sanitizer.h"

namespace holdfast::window {
namespace {

struct EmptyMemory {
  int fd;
  device::DescriptorIdentity identity;
};

const EmptyMemory& empty_memory() {
  static const EmptyMemory memory = [] {
    const int made = memfd_create("holdfast-past-end", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    HF_CHECK(made >= 0 && fcntl(made, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK) == 0,
             "an empty memfd cannot be made: errno {}", errno);
    return EmptyMemory{made, device::DescriptorIdentity(made)};
  }();
  return memory;
}

}  // namespace

int show_past_end(std::byte* begin, std::size_t length) {
  constexpr int kFlags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  const EmptyMemory& memory = empty_memory();
  const void* const mapped = device::sanitizer::map_over(begin, length, kProtection, kFlags, memory.fd, 0);
  const int code = mapped == MAP_FAILED ? errno : 0;
  memory.identity.check("windows (the memory past the end)");
  if (code != 0) return code;
  return device::keep_private(begin, length);
}

}  // namespace holdfast::window
