#include "explore/arena.h"

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace holdfast::explore::arena {
namespace {

constexpr unsigned kNobody = ~0U;
constexpr std::size_t kRegionBytes = std::size_t{256} << 10;
constexpr std::size_t kRegions = 1024;

struct Region {
  std::size_t used = 0;
  std::size_t live = 0;  // allocations
};

// Threads take turns (explorer.h), so that nothing here is locked.
std::array<Region, kRegions> regions;
std::array<unsigned, kOwners> region_of{0, 1, 2, 3, 4, 5, 6, 7, 8};
unsigned fresh = kOwners;
thread_local unsigned current = kNobody;

std::byte* memory() {
  static std::byte* const mapped = [] {
    void* const address = mmap(nullptr, kRegions * kRegionBytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return address == MAP_FAILED ? nullptr : static_cast<std::byte*>(address);
  }();
  return mapped;
}

void* allocate(std::size_t size, std::size_t alignment) {
  if (current != kNobody && memory() != nullptr) {
    Region& region = regions.at(region_of.at(current));
    const std::size_t begin = (region.used + alignment - 1) / alignment * alignment;
    if (begin + size <= kRegionBytes) {
      region.used = begin + size;
      ++region.live;
      return memory() + region_of.at(current) * kRegionBytes + begin;
    }
  }
  return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

void release(void* address) noexcept {
  const auto* const at = static_cast<std::byte*>(address);
  if (at >= memory() && at < memory() + kRegions * kRegionBytes) {
    --regions.at(static_cast<std::size_t>(at - memory()) / kRegionBytes).live;
  } else {
    std::free(address);
  }
}

void* allocate_or_throw(std::size_t size, std::size_t alignment) {
  void* const address = allocate(size, alignment);
  if (address == nullptr) throw std::bad_alloc();
  return address;
}

}  // namespace

Scope::Scope(unsigned owner) : before_(std::exchange(current, owner)) {}
Scope::~Scope() { current = before_; }
Outside::Outside() : Scope(kNobody) {}

void take_back() {
  for (unsigned& region : region_of) {
    if (regions.at(region).live == 0) {
      regions.at(region).used = 0;
    } else if (fresh < kRegions) {
      region = fresh++;
    }
  }
}

}  // namespace holdfast::explore::arena

namespace arena = holdfast::explore::arena;

void* operator new(std::size_t size) { return arena::allocate_or_throw(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, const std::nothrow_t& /*unused*/) noexcept {
  return arena::allocate(size, alignof(std::max_align_t));
}
void* operator new(std::size_t size, std::align_val_t alignment) {
  return arena::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t& /*unused*/) noexcept {
  return arena::allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* address) noexcept { arena::release(address); }
void operator delete(void* address, std::size_t /*size*/) noexcept { arena::release(address); }
void operator delete(void* address, std::align_val_t /*alignment*/) noexcept { arena::release(address); }
void operator delete(void* address, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept {
  arena::release(address);
}
