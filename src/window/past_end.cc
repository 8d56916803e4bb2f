#include "window/past_end.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>

#include "base/check.h"
#include "device/address_space.h"
#include "device/descriptor_identity.h"
#include "device/sanitizer.h"

namespace holdfast::window {
namespace {

constexpr const char* kName = "windows (the memory past the end)";

struct EmptyMemory {
  int fd;
  device::DescriptorIdentity identity;
};

// Of the process, for ever; a forked child has it, too.
std::atomic<const EmptyMemory*> empty_memory{nullptr};

}  // namespace

int prepare_past_end() {
  // acquire: partner is the exchange below.
  if (empty_memory.load(std::memory_order_acquire) != nullptr) return 0;
  const int fd = memfd_create("holdfast-past-end", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return errno;
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
    const int code = errno;
    close(fd);
    return code;
  }
  auto made = std::make_unique<const EmptyMemory>(EmptyMemory{fd, device::DescriptorIdentity(fd)});
  const EmptyMemory* before = nullptr;
  // release: partners are the loads here. Of two threads one keeps its own.
  if (empty_memory.compare_exchange_strong(before, made.get(), std::memory_order_release, std::memory_order_relaxed)) {
    static_cast<void>(made.release());
  } else {
    close(fd);
  }
  return 0;
}

int show_past_end(std::byte* begin, std::size_t length) {
  constexpr int kFlags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  // acquire: partner is the exchange in prepare_past_end.
  const EmptyMemory& memory = *empty_memory.load(std::memory_order_acquire);
  // Offsets that go on as the addresses do: neighbours become one mapping.
  const auto offset = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(begin));
  memory.identity.check(kName);  // before anybody can touch what comes
  const void* const mapped = device::sanitizer::map_over(begin, length, kProtection, kFlags, memory.fd, offset);
  const int code = mapped == MAP_FAILED ? errno : 0;
  memory.identity.check(kName);  // and the program has not closed it meanwhile
  if (code != 0) return code;
  return device::keep_private(begin, length);
}

}  // namespace holdfast::window
