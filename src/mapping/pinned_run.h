// A run of pinned units of one order: what a pin must give back.
#pragma once

#include <cstdint>

#include "base/trace.h"
#include "base/units.h"
#include "pagemap/pagemap.h"

namespace holdfast::mapping {

struct PinnedRun {
  Pfn first;
  std::uint32_t units = 0;
  Order order;

  constexpr PageCount pages() const { return PageCount(std::uint64_t{units} << order.raw()); }
  constexpr bool operator==(const PinnedRun&) const = default;
};

// Gives the counts of a run back; wakes breaks that wait for them. Any thread, never blocks.
[[gnu::always_inline]] inline void unpin(const pagemap::PageMap& pages, PinnedRun run) {
  HF_TRACE3(unpin, run.first.raw(), run.units, run.order.raw());
  Pfn unit = run.first;
  for (std::uint32_t i = 0; i < run.units; ++i, unit += run.order.pages()) pages.unpin(unit, run.order);
}

}  // namespace holdfast::mapping
