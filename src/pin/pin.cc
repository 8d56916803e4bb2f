// The public object.
#include <holdfast/pin.h>

#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/epoch.h"
#include "base/mutex.h"
#include "pin/builder.h"
#include "pin/fast.h"
#include "pin/release.h"

namespace holdfast {

namespace pin {

[[gnu::noinline]] void release_counted(const pagemap::PageMap& pages, pagemap::PinSlot* slot,
                                       const std::vector<mapping::PinnedRun>& runs) {
  pagemap::release_slot(slot);
  HF_MARK("pin.nameless");
  for (const mapping::PinnedRun& run : runs) mapping::unpin(pages, run);
}

void undo(const pagemap::PageMap& pages, pagemap::PinSlot* slot, mapping::PinnedRun run) {
  release_counted(pages, slot, run.first, run.order);
}

}  // namespace pin

Pin& Pin::operator=(Pin&& other) noexcept {
  if (this != &other) {
    release();
    pages_ = std::exchange(other.pages_, nullptr);
    slot_ = other.slot_;
    segment_ = other.segment_;
    units_ = other.units_;
    order_ = other.order_;
    more_ = std::exchange(other.more_, nullptr);
  }
  return *this;
}

std::span<const Segment> Pin::segments() const noexcept {
  if (pages_ == nullptr) return {};
  if (more_ != nullptr) return more_->segments;
  return {&segment_, 1};
}

std::uint64_t Pin::length() const noexcept { return pages_ == nullptr ? 0 : segment_.length; }

void Pin::release() noexcept {
  const auto* const pages = static_cast<const pagemap::PageMap*>(std::exchange(pages_, nullptr));
  if (pages == nullptr) return;
  auto* const slot = static_cast<pagemap::PinSlot*>(slot_);
  const epoch::Guard guard;
  if (more_ == nullptr && units_ == 1) [[likely]] {
    return pin::release_counted(*pages, slot, PinBuilder::first_unit_of(*this), Order(order_));
  }
  if (more_ == nullptr) return pin::release_counted(*pages, slot, {PinBuilder::run_of(*this)});
  const std::unique_ptr<Units> units(std::exchange(more_, nullptr));
  pin::release_counted(*pages, slot, units->runs);
}

Purpose Purpose::intern(std::string_view text) {
  // Never freed: a report may show the text after the pin is gone.
  static Mutex mutex(LockRank::leaf);
  static auto* const texts = new std::set<std::string, std::less<>>;
  const std::string own(text);  // before the lock: it may lie in a window
  const MutexLock lock(mutex);
  const auto found = texts->insert(own).first;
  return Purpose(found->c_str());
}

}  // namespace holdfast
