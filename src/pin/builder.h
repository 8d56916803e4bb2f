// Makes holdfast::Pin from what was counted. The only code besides Pin that knows its members.
#pragma once

#include <utility>
#include <vector>

#include <holdfast/pin.h>

#include "mapping/pinned_run.h"
#include "pagemap/pagemap.h"
#include "pagemap/pin_table.h"

namespace holdfast {

// What was counted, where it is more than one run of adjacent units.
struct Pin::Units {
  std::vector<mapping::PinnedRun> runs;
  std::vector<Segment> segments;
};

class PinBuilder {
 public:
  // All in one run of adjacent units. The slot is confirmed; the counts are the pin's from now on.
  static Pin make(const pagemap::PageMap& pages, pagemap::PinSlot* slot, const mapping::PinnedRun& run,
                  const Segment& segment) noexcept {
    Pin pin;
    pin.pages_ = const_cast<pagemap::PageMap*>(&pages);  // NOLINT: opaque in the public header
    pin.slot_ = slot;
    pin.segment_ = segment;
    pin.units_ = run.units;
    pin.order_ = static_cast<std::uint8_t>(run.order.raw());
    return pin;
  }

  // What `make` was given; for a pin in one run.
  static Pfn first_unit_of(const Pin& pin) noexcept {
    return Pfn(pin.segment_.device_offset >> kPageShift).align_down(Order(pin.order_));
  }
  static mapping::PinnedRun run_of(const Pin& pin) noexcept {
    return {first_unit_of(pin), pin.units_, Order(pin.order_)};
  }

  // Several runs. `segment_` carries the whole length.
  static Pin make(const pagemap::PageMap& pages, pagemap::PinSlot* slot, std::vector<mapping::PinnedRun> runs,
                  std::vector<Segment> segments, std::uint64_t length) {
    Pin pin;
    pin.more_ = new Pin::Units{std::move(runs), std::move(segments)};
    pin.pages_ = const_cast<pagemap::PageMap*>(&pages);  // NOLINT: opaque in the public header
    pin.slot_ = slot;
    pin.segment_.length = length;
    return pin;
  }
};

}  // namespace holdfast
