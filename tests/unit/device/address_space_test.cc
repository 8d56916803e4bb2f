// Goal: at the limit of mappings addresses are had or refused, and the process goes on.
// Method: a child that takes every mapping; before, it has reserved addresses that new ones join.
#include "device/address_space.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdint>
#include <string>

#include "base/units.h"
#include "support/child.h"

namespace holdfast::test {
namespace {

TEST(AddressSpace, ReservesOrRefusesAtTheLimitOfMappings) {
  const ChildEnd end = run_in_child([]() -> std::string {
    constexpr std::uint64_t kPages = 300000;
    auto* const all = static_cast<std::byte*>(
        mmap(nullptr, kPages * kPageBytes, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (all == MAP_FAILED) return "no room for the mappings";
    if (device::reserve_addresses(2 * MiB, 2 * MiB) == nullptr) return "no room for the first";
    std::uint64_t page = 1;
    while (page < kPages && mprotect(all + page * kPageBytes, kPageBytes, PROT_READ) == 0) page += 2;
    if (page >= kPages) return {};  // the limit is higher than ours
    for (std::uint64_t i = 0; i < 16; ++i) {
      const std::byte* const begin = device::reserve_addresses(2 * MiB, 2 * MiB, i * 64 * KiB);
      if (begin != nullptr && reinterpret_cast<std::uintptr_t>(begin) % (2 * MiB) != i * 64 * KiB) return "misplaced";
    }
    return {};
  });
  EXPECT_EQ(end.message, "");
  EXPECT_TRUE(end.exited) << "signal " << end.signal;
}

}  // namespace
}  // namespace holdfast::test
