// Giving counted pages back, in the order that reports and breaks rely on.
//
// The identity goes first: nobody is named who holds nothing. The counts come last: after the last of them nothing of
// the map is touched. Inside an epoch: a break by `fail` lets those in between finish before it counts.
#pragma once

#include <vector>

#include "base/mark.h"
#include "base/trace.h"
#include "mapping/pinned_run.h"
#include "pagemap/pagemap.h"
#include "pagemap/pin_table.h"

namespace holdfast::pin {

[[gnu::always_inline]] inline void release_counted(const pagemap::PageMap& pages, pagemap::PinSlot* slot, Pfn unit,
                                                   Order order) {
  pagemap::release_slot(slot);
  HF_MARK("pin.nameless");
  HF_TRACE3(unpin, unit.raw(), 1, order.raw());
  pages.unpin(unit, order);
}

void release_counted(const pagemap::PageMap& pages, pagemap::PinSlot* slot,
                     const std::vector<mapping::PinnedRun>& runs);

}  // namespace holdfast::pin
