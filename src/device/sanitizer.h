// Tells the sanitizers what they cannot see by themselves: memory that assembly reads and writes, and mappings that
// change under loads and stores. In every other build that is nothing, or the plain call.
#pragma once

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#if defined(__has_feature)
#define HF_HAS_FEATURE(name) __has_feature(name)
#else
#define HF_HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_THREAD__) || HF_HAS_FEATURE(thread_sanitizer)
#define HF_THREAD_SANITIZER 1
extern "C" void __tsan_read_range(void* address, unsigned long length);   // NOLINT(bugprone-reserved-identifier)
extern "C" void __tsan_write_range(void* address, unsigned long length);  // NOLINT(bugprone-reserved-identifier)
#elif defined(__SANITIZE_ADDRESS__) || HF_HAS_FEATURE(address_sanitizer)
#define HF_ADDRESS_SANITIZER 1
#include <sanitizer/asan_interface.h>
#endif

namespace holdfast::device::sanitizer {

#if defined(HF_ADDRESS_SANITIZER)
// An access of the poisoned byte itself makes AddressSanitizer write its report.
inline void touch_poisoned(const void* begin, std::size_t length) {
  void* poisoned = length == 0 ? nullptr : __asan_region_is_poisoned(const_cast<void*>(begin), length);
  if (poisoned != nullptr) static_cast<void>(*static_cast<volatile char*>(poisoned));
}
#endif

inline void reads([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t length) {
#if defined(HF_THREAD_SANITIZER)
  if (length > 0) __tsan_read_range(const_cast<void*>(begin), length);
#elif defined(HF_ADDRESS_SANITIZER)
  touch_poisoned(begin, length);
#endif
}

inline void writes([[maybe_unused]] void* begin, [[maybe_unused]] std::size_t length) {
#if defined(HF_THREAD_SANITIZER)
  if (length > 0) __tsan_write_range(begin, length);
#elif defined(HF_ADDRESS_SANITIZER)
  touch_poisoned(begin, length);
#endif
}

// mmap(2) over addresses that others load from and store to meanwhile. The kernel orders it with each of their accesses
// by the page fault, which ThreadSanitizer does not see: its own mmap counts as a store to the whole range.
inline void* map_over(void* at, std::size_t length, int protection, int flags, int fd, off_t offset) {
#if defined(HF_THREAD_SANITIZER)
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, length, long{protection}, long{flags}, long{fd}, offset));
#else
  return mmap(at, length, protection, flags, fd, offset);
#endif
}

}  // namespace holdfast::device::sanitizer
