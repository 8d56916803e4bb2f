// The fast way to a pin: an identity slot of the thread, one count, one look at the entry. No lock, no metadata.
//
// It is inlined with all it calls where pins are taken, and says no word why it cannot: the slow way finds out. At this
// length each value that passes through memory shows. So the target is asked for each of its parts when that is needed:
// an AnyTarget is a Target, or has the same functions and looks the parts up.
#pragma once

#include <cstdint>

#include <holdfast/pin.h>

#include "base/epoch.h"
#include "base/mark.h"
#include "pagemap/pin_table.h"
#include "pin/builder.h"
#include "pin/release.h"
#include "pin/source.h"

namespace holdfast::pin {

template <typename AnyTarget>
[[gnu::always_inline]] inline pagemap::PinIdentity identity_of(const AnyTarget& target, std::uint64_t offset,
                                                               std::uint64_t length, const PinOptions& options) {
  return {.file = target.mapping().file(),
          .offset = offset,
          .length = length,
          .purpose = options.purpose.text(),
          .deadline = options.deadline,
          .access = options.access,
          .released_elsewhere = options.released_elsewhere};
}

template <typename AnyTarget>
[[gnu::always_inline]] inline bool inside(const AnyTarget& target, std::uint64_t offset, std::uint64_t length) {
  // acquire: partner is the store where the size changes (grow_to and take_out of a file).
  const std::uint64_t size = target.size().load(std::memory_order_acquire);
  return offset < size && length - 1 < size - offset;  // length 0 wraps: never inside
}

template <typename AnyTarget>
[[gnu::always_inline]] inline Segment segment_of(const AnyTarget& target, std::uint64_t device_offset,
                                                 std::uint64_t length) {
  return {target.window() + device_offset, device_offset, length};
}

// What was counted, and where it is.
struct PinnedUnit {
  pagemap::PinSlot* slot = nullptr;
  mapping::PinnedRun run;
  Segment segment;
};

[[gnu::noinline, gnu::cold]] void undo(const pagemap::PageMap& pages, pagemap::PinSlot* slot, mapping::PinnedRun run);

// Inside an epoch: one unit covers the range, always so for one page, else where the entry is large. What it cannot do
// it leaves undone.
template <typename AnyTarget>
[[gnu::always_inline]] inline bool take_unit(const AnyTarget& target, std::uint64_t offset, std::uint64_t length,
                                             const PinOptions& options, PinnedUnit& taken) {
  const PageIndex index = page_holding(offset);
  const PageIndex end = page_after(offset + length);
  if (end - index > PageCount(1) && end > index.align_down(kOrder2M) + kOrder2M.pages()) return false;
  pagemap::PinSlot* const slot = pagemap::take_slot(identity_of(target, offset, length, options));
  if (slot == nullptr) [[unlikely]] {
    return false;
  }
  mapping::PinnedRun run;
  if (target.mapping().try_pin_unit(index, run, options.access).outcome != mapping::Mapping::PinOutcome::pinned)
      [[unlikely]] {
    pagemap::release_slot(slot);
    return false;
  }
  HF_MARK("pin.counted");
  const PageIndex unit = index.align_down(run.order);
  // A unit may reach past the end of the file: whether the range does is known only now that it stays in place.
  if (end > unit + run.order.pages() || !inside(target, offset, length)) [[unlikely]] {
    undo(target.mapping().pages(), slot, run);
    return false;
  }
  pagemap::confirm_slot(slot);
  taken = {slot, run, segment_of(target, run.first.bytes() + (offset - unit.bytes()), length)};
  return true;
}

// The fast way, where the target may be used at all; else, or where it did not do, slow().
template <typename AnyTarget, typename Slow>
[[gnu::always_inline]] inline Result<Pin> take(bool usable, const AnyTarget& target, std::uint64_t offset,
                                               std::uint64_t length, const PinOptions& options, Slow slow) {
  if (usable) [[likely]] {
    PinnedUnit taken;
    const epoch::Guard guard;
    if (take_unit(target, offset, length, options, taken)) [[likely]] {
      return PinBuilder::make(target.mapping().pages(), taken.slot, taken.run, taken.segment);
    }
  }
  return slow();
}

}  // namespace holdfast::pin
