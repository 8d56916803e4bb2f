#include "window/mapping_reserve.h"

#include <sys/mman.h>

#include <cstddef>
#include <new>

#include "base/fork.h"
#include "base/mutex.h"
#include "base/units.h"
#include "device/address_space.h"

namespace holdfast::window {
namespace {

// A change needs two more mappings at most, and one aside while it is prepared.
constexpr std::size_t kMappings = 64;

struct Reserve {
  Mutex lock{LockRank::leaf};
  std::byte* begin HF_GUARDED_BY(lock) = nullptr;
};

Reserve& reserve() {
  static auto* const instance = new Reserve;
  return *instance;
}

// Pages that are protected by turns are a mapping each. Shared memory of its own, so that it joins no neighbour and can
// be unmapped whole.
std::byte* make() {
  constexpr std::size_t kLength = kMappings * kPageBytes;
  void* const all = mmap(nullptr, kLength, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (all == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(all);
  bool made = device::keep_private(begin, kLength) == 0;
  for (std::size_t page = 1; page < kMappings && made; page += 2) {
    made = mprotect(begin + page * kPageBytes, kPageBytes, PROT_READ) == 0;
  }
  if (made) return begin;
  device::unmap(begin, kLength);
  return nullptr;
}

}  // namespace

bool fill_mapping_reserve() {
  // A child has no windows, and whoever held the lock is not there.
  [[maybe_unused]] static const bool registered = [] {
    on_fork_in_child([] { new (&reserve()) Reserve; });
    return true;
  }();
  Reserve& mine = reserve();
  const MutexLock lock(mine.lock);
  if (mine.begin == nullptr) mine.begin = make();
  return mine.begin != nullptr;
}

void spend_mapping_reserve() {
  Reserve& mine = reserve();
  const MutexLock lock(mine.lock);
  if (mine.begin != nullptr) device::unmap(mine.begin, kMappings * kPageBytes);
  mine.begin = nullptr;
}

}  // namespace holdfast::window
