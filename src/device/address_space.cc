#include "device/address_space.h"

#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"

namespace holdfast::device {

std::byte* reserve_addresses(std::size_t length, std::size_t alignment, std::size_t offset) {
  const std::size_t with_slack = length + alignment;
  void* const all = mmap(nullptr, with_slack, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(all);
  const std::size_t skip = (offset - reinterpret_cast<std::uintptr_t>(all)) & (alignment - 1);
  release_addresses(first, skip);
  release_addresses(first + skip + length, alignment - skip);
  return first + skip;
}

void release_addresses(std::byte* begin, std::size_t length) {
  if (length > 0) static_cast<void>(munmap(begin, length));
}

void unmap(std::byte* begin, std::size_t length) {
  if (length == 0) return;
  HF_CHECK(munmap(begin, length) == 0, "munmap of {} bytes: errno {}", length, errno);
}

int keep_private(std::byte* begin, std::size_t length) {
  return madvise(begin, length, MADV_DONTFORK) == 0 && madvise(begin, length, MADV_DONTDUMP) == 0 ? 0 : errno;
}

}  // namespace holdfast::device
